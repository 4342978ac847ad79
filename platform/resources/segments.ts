/** Isolation segments: which nodes a space's instances, tasks and builds are for. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { PodSpec } from '#cluster/kinds/types/core.ts';
import type { IsolationSegment, Organization, Space } from './types.ts';

/** The nodes of no segment: everybody's. Its guid is Cloud Foundry's. */
export const SHARED_SEGMENT = '933b4c58-120b-499a-b85d-4b6fc9e2903b';

/**
 * Label and taint of a segment's nodes; the value is its name. Of the prefix that no node may say of itself (Kubernetes "NodeRestriction"): one
 * that is taken over draws nobody's apps to itself.
 */
export const SEGMENT_KEY = 'node-restriction.kubernetes.io/isolation-segment';

/** The name of the space's segment, else of its organization's; undefined: the nodes of none. */
export function segmentOf(
  { spec }: Stored<Space>,
  organization: Stored<Organization> | undefined,
  find: (guid: string) => Stored<IsolationSegment> | undefined,
): string | undefined {
  const guid = spec.segment ?? organization?.spec.segment;
  return guid === undefined || guid === SHARED_SEGMENT ? undefined : find(guid)?.spec.displayName;
}

/** Nodes of the segment and no others. Those of none have the taint of no segment. */
export function placement(segment: string | undefined): Pick<PodSpec, 'nodeSelector' | 'tolerations'> {
  if (segment === undefined) return {};
  return {
    nodeSelector: { [SEGMENT_KEY]: segment },
    tolerations: [{ key: SEGMENT_KEY, operator: 'Equal', value: segment, effect: 'NoSchedule' }],
  };
}
