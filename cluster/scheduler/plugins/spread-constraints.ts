/** A pod's topology spread constraints, worked out ("Pod Topology Spread Constraints"). */
import type { Informer } from '../../client/client.ts';
import type { Stored } from '../../kinds/kind.ts';
import { replicaSets, replicationControllers, services, statefulSets } from '../../kinds/resources.ts';
import { labelSelectorRequirements, matchesLabels, type Requirement } from '../../kinds/selector.ts';
import type { ReplicaSet, StatefulSet } from '../../kinds/types/apps.ts';
import type { ReplicationController, Service, TopologySpreadConstraint } from '../../kinds/types/core.ts';
import type { Cluster } from '../cluster.ts';
import type { NodeInfo } from '../node-info.ts';
import { matchesNodeSelection, selectsNodes } from '../node-selection.ts';
import type { PluginContext } from '../plugin.ts';
import type { PodInfo } from '../pod-info.ts';
import type { Tally } from '../tally.ts';
import { tolerates } from '../tolerates.ts';

export const hostnameKey = 'kubernetes.io/hostname';

export interface SpreadConstraint {
  topologyKey: string;
  maxSkew: number;
  minDomains: number;
  selector: Requirement[];
  /** Does the constraint select the pod itself? */
  selectsItself: boolean;
  /** Do pods on the node count, and does its domain? */
  includes: (node: NodeInfo) => boolean;
  /** Every node is included. */
  includesAll: boolean;
  /** The pods that count. */
  tally: (cluster: Cluster) => Tally;
}

export interface Spreading {
  constraints: SpreadConstraint[];
  /** Nodes without all of the keys are left out. Not so for what the cluster assumes: most have no zones. */
  needsEveryKey: boolean;
}

const nothing: Requirement[] = [{ key: 'x', operator: 'In', values: [] }];

function worked(pod: PodInfo, constraint: TopologySpreadConstraint, ofSet?: Requirement[]): SpreadConstraint {
  const { topologyKey, maxSkew, minDomains = 1, labelSelector, matchLabelKeys = [] } = constraint;
  const { nodeAffinityPolicy = 'Honor', nodeTaintsPolicy = 'Ignore' } = constraint;
  const selector = ofSet ?? (labelSelector ? labelSelectorRequirements(labelSelector) : [...nothing]);
  for (const key of matchLabelKeys) {
    const value = pod.labels[key];
    if (value !== undefined) selector.push({ key, operator: 'In', values: [value] });
  }
  return {
    topologyKey,
    maxSkew,
    minDomains,
    selector,
    selectsItself: matchesLabels(selector, pod.labels),
    tally: (cluster) =>
      cluster.selected.tally(
        pod.namespace,
        `staying ${JSON.stringify(selector)}`,
        (other) => other.pod.metadata.deletionTimestamp === undefined && matchesLabels(selector, other.labels),
      ),
    includesAll: (nodeAffinityPolicy === 'Ignore' || !selectsNodes(pod.pod)) && nodeTaintsPolicy === 'Ignore',
    includes: (node) =>
      (nodeAffinityPolicy === 'Ignore' || matchesNodeSelection(pod.pod, node)) &&
      (nodeTaintsPolicy === 'Ignore' || node.hardTaints.every((taint) => tolerates(pod.pod.spec?.tolerations, taint))),
  };
}

/** What the cluster assumes for pods that say nothing: as upstream's default profile. */
const assumed: TopologySpreadConstraint[] = [
  { topologyKey: hostnameKey, maxSkew: 3, whenUnsatisfiable: 'ScheduleAnyway' },
  { topologyKey: 'topology.kubernetes.io/zone', maxSkew: 5, whenUnsatisfiable: 'ScheduleAnyway' },
];

export type SpreadingOf = (
  pod: PodInfo,
  whenUnsatisfiable: 'DoNotSchedule' | 'ScheduleAnyway',
) => Spreading | undefined;

export function createSpreading(context: PluginContext): SpreadingOf {
  const byNamespace = { namespace: ({ metadata }: Stored<Service>): string[] => [metadata.namespace ?? ''] };
  const serviceInformer: Informer<Service> = context.informer(services, byNamespace);
  const controllers: Informer<ReplicationController> = context.informer(replicationControllers);
  const sets: Informer<ReplicaSet> = context.informer(replicaSets);
  const statefuls: Informer<StatefulSet> = context.informer(statefulSets);

  /** What the pod's services and its owner select by: pods like it. */
  function groupOf({ pod, namespace, labels }: PodInfo): Requirement[] {
    const group: Requirement[] = [];
    for (const { spec } of serviceInformer.byIndex('namespace', namespace)) {
      const selector = Object.entries(spec?.selector ?? {});
      if (selector.length > 0 && selector.every(([key, value]) => labels[key] === value))
        group.push(...selector.map(([key, value]) => ({ key, operator: 'In' as const, values: [value] })));
    }
    const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller);
    if (owner?.kind === 'ReplicationController') {
      for (const [key, value] of Object.entries(controllers.get(owner.name, namespace)?.spec?.selector ?? {}))
        group.push({ key, operator: 'In', values: [value] });
    } else if (owner?.kind === 'ReplicaSet' || owner?.kind === 'StatefulSet') {
      const informer: Informer<ReplicaSet> | Informer<StatefulSet> = owner.kind === 'ReplicaSet' ? sets : statefuls;
      const selector = informer.get(owner.name, namespace)?.spec?.selector;
      if (selector) group.push(...labelSelectorRequirements(selector));
    }
    return group;
  }

  return (pod, whenUnsatisfiable) => {
    const own = pod.pod.spec?.topologySpreadConstraints ?? [];
    if (own.length > 0) {
      const constraints = own
        .filter((constraint) => constraint.whenUnsatisfiable === whenUnsatisfiable)
        .map((constraint) => worked(pod, constraint));
      return constraints.length === 0 ? undefined : { constraints, needsEveryKey: true };
    }
    if (whenUnsatisfiable === 'DoNotSchedule') return undefined;
    const group = groupOf(pod);
    if (group.length === 0) return undefined;
    return { constraints: assumed.map((constraint) => worked(pod, constraint, group)), needsEveryKey: false };
  };
}
