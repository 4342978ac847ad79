import { nodes } from '../../kinds/resources.ts';
import { nodeAdded } from '../node-changes.ts';
import { hint, type Plugin, unresolvable } from '../plugin.ts';

const other = unresolvable("node(s) didn't match the requested node name");

/** A pod that names its node goes there, or nowhere. */
export const nodeName: Plugin = {
  name: 'NodeName',
  filter({ pod }) {
    const wanted = pod.spec?.nodeName;
    if (!wanted) return undefined;
    return { likeness: wanted, check: ({ name }) => (name === wanted ? undefined : other) };
  },
  hints: [hint(nodes, (_pod, now, old) => nodeAdded(now, old))],
};
