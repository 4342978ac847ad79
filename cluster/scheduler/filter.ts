/** Which nodes can take a pod, and why the others cannot, in the words that Kubernetes uses. */
import type { NodeSelectorTerm, NodeSelectorRequirement, Pod, Taint, Toleration } from '../kinds/types/core.ts';
import type { NodeState } from './nodes.ts';
import type { PodUsage } from './resources.ts';

export function tolerates(tolerations: Toleration[] | undefined, taint: Taint): boolean {
  return (tolerations ?? []).some(({ key, operator = 'Equal', value = '', effect }) => {
    if (effect && effect !== taint.effect) return false;
    if (key && key !== taint.key) return false;
    if (!key && operator !== 'Exists') return false;
    return operator === 'Exists' || value === (taint.value ?? '');
  });
}

function matchesRequirement(
  { key, operator, values = [] }: NodeSelectorRequirement,
  fields: Record<string, string>,
): boolean {
  const value = Object.hasOwn(fields, key) ? fields[key] : undefined;
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return value !== undefined && Number(value) > Number(values[0]);
    case 'Lt':
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}

/** A term without requirements matches nothing. */
export function matchesTerm(term: NodeSelectorTerm, node: Pick<NodeState, 'name' | 'node'>): boolean {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length + matchFields.length === 0) return false;
  const labels = node.node?.metadata.labels ?? {};
  return (
    matchExpressions.every((requirement) => matchesRequirement(requirement, labels)) &&
    matchFields.every((requirement) => matchesRequirement(requirement, { 'metadata.name': node.name }))
  );
}

/** By the pod's node selector and required node affinity. */
export function matchesNodeSelection(pod: Pick<Pod, 'spec'>, node: Pick<NodeState, 'name' | 'node'>): boolean {
  const labels = node.node?.metadata.labels ?? {};
  for (const [name, value] of Object.entries(pod.spec?.nodeSelector ?? {})) if (labels[name] !== value) return false;
  const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return !required || required.nodeSelectorTerms.some((term) => matchesTerm(term, node));
}

function portsConflict(usage: PodUsage, node: NodeState): boolean {
  if (usage.hostPorts.length === 0) return false;
  for (const other of node.pods.values()) {
    for (const theirs of other.hostPorts) {
      const clash = usage.hostPorts.some(
        ({ protocol, ip, port }) =>
          port === theirs.port &&
          protocol === theirs.protocol &&
          (ip === theirs.ip || ip === '0.0.0.0' || theirs.ip === '0.0.0.0'),
      );
      if (clash) return true;
    }
  }
  return false;
}

/** What of the node's resources does not suffice. */
function missingResources(usage: PodUsage, node: NodeState): string[] {
  const missing: string[] = [];
  if (node.pods.size + 1 > (node.allocatable.get('pods') ?? Number.POSITIVE_INFINITY)) missing.push('Too many pods');
  for (const [name, value] of usage.requests) {
    if (value > 0 && value > (node.allocatable.get(name) ?? 0) - (node.used.get(name) ?? 0)) {
      missing.push(`Insufficient ${name}`);
    }
  }
  return missing;
}

const unschedulableTaint: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

/** Empty when the node can take the pod. */
export function reasonsAgainst(pod: Pod, usage: PodUsage, node: NodeState): string[] {
  const tolerations = pod.spec?.tolerations;
  if (node.node?.spec?.unschedulable && !tolerates(tolerations, unschedulableTaint)) {
    return ['node(s) were unschedulable'];
  }
  const taint = node.taints.find((one) => !tolerates(tolerations, one));
  if (taint) return [`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`];
  if (!node.ready) return ['node(s) were not ready'];
  if (!matchesNodeSelection(pod, node)) return ["node(s) didn't match Pod's node affinity/selector"];
  if (portsConflict(usage, node)) return ["node(s) didn't have free ports for the requested pod ports"];
  return missingResources(usage, node);
}

/** `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.` */
export function describeReasons(nodeCount: number, reasons: ReadonlyMap<string, number>): string {
  if (nodeCount === 0) return 'no nodes available to schedule pods';
  const parts = [...reasons].map(([reason, count]) => `${count} ${reason}`).sort();
  return `0/${nodeCount} nodes are available: ${parts.join(', ')}.`;
}
