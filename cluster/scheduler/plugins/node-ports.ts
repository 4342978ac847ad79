import { nodes, pods } from '../../kinds/resources.ts';
import { nodeAdded } from '../node-changes.ts';
import type { NodeInfo } from '../node-info.ts';
import { hint, type Plugin, rejection } from '../plugin.ts';
import type { HostPort } from '../pod-info.ts';

const taken = rejection("node(s) didn't have free ports for the requested pod ports");
const every = '0.0.0.0';

/** Of one port and protocol, an address is given once, and every address at once only when none is. */
function conflicts({ ports }: NodeInfo, { protocol, ip, port }: HostPort): boolean {
  const addresses = ports.get(`${protocol}/${port}`);
  if (addresses === undefined) return false;
  return ip === every || addresses.has(ip) || addresses.has(every);
}

export const nodePorts: Plugin = {
  name: 'NodePorts',
  filter({ ports }) {
    if (ports.length === 0) return undefined;
    return {
      likeness: JSON.stringify(ports),
      check: (node) => (ports.some((port) => conflicts(node, port)) ? taken : undefined),
    };
  },
  hints: [
    hint(
      pods,
      ({ ports }, now, old) =>
        now === undefined &&
        (old?.spec?.containers ?? []).some((container) =>
          container.ports?.some(({ hostPort, containerPort }) =>
            ports.some(({ port }) => port === (hostPort || containerPort)),
          ),
        ),
    ),
    hint(nodes, (_pod, now, old) => nodeAdded(now, old)),
  ],
};
