/** A pod with what the scheduler asks of it, worked out once. */
import type { Stored } from '../kinds/kind.ts';
import { labelSelectorRequirements, matchesLabels, type Requirement } from '../kinds/selector.ts';
import type { Pod, PodAffinityTerm } from '../kinds/types/core.ts';
import type { NodeInfo } from './node-info.ts';
import { podRequests, type Resources } from './resources.ts';

export interface HostPort {
  protocol: string;
  ip: string;
  port: number;
}

/** A term of pod affinity or anti-affinity of one pod. */
export interface AffinityTerm {
  /** The same for terms that say the same. */
  text: string;
  topologyKey: string;
  weight: number;
  namespaces: ReadonlySet<string>;
  /** Of more namespaces, by their labels; empty: all. */
  namespaceSelector: Requirement[] | undefined;
  /** Undefined: matches no pod. */
  selector: Requirement[] | undefined;
}

export interface PodInfo {
  /** As it was seen last. Its spec and its labels are those that all else here was worked out from. */
  pod: Stored<Pod>;
  readonly uid: string;
  /** `namespace/name` */
  readonly key: string;
  readonly name: string;
  readonly namespace: string;
  readonly labels: Record<string, string>;
  readonly priority: number;
  readonly requests: Resources;
  /** With assumed values for containers that name none: for scores. */
  readonly scoredCpu: number;
  readonly scoredMemory: number;
  readonly ports: readonly HostPort[];
  readonly affinity: readonly AffinityTerm[];
  readonly antiAffinity: readonly AffinityTerm[];
  readonly preferredAffinity: readonly AffinityTerm[];
  readonly preferredAntiAffinity: readonly AffinityTerm[];
  /** Where it counts. */
  node: NodeInfo | undefined;
}

const none: readonly never[] = [];
const noLabels: Record<string, string> = {};

function affinityTerm(namespace: string, term: PodAffinityTerm, weight: number): AffinityTerm {
  const { namespaces = [], namespaceSelector, labelSelector, topologyKey } = term;
  const own = namespaces.length === 0 && namespaceSelector === undefined;
  const meant = own ? [namespace] : namespaces;
  return {
    text: JSON.stringify([topologyKey, meant, namespaceSelector, labelSelector]),
    topologyKey,
    weight,
    namespaces: new Set(meant),
    namespaceSelector: namespaceSelector && labelSelectorRequirements(namespaceSelector),
    selector: labelSelector && labelSelectorRequirements(labelSelector),
  };
}

/** @param labelsOf  a namespace's labels, for terms that select namespaces by them */
export function termMatches(
  term: AffinityTerm,
  pod: PodInfo,
  labelsOf: (namespace: string) => Record<string, string> | undefined,
): boolean {
  if (term.selector === undefined || !matchesLabels(term.selector, pod.labels)) return false;
  if (term.namespaces.has(pod.namespace)) return true;
  if (term.namespaceSelector === undefined) return false;
  return term.namespaceSelector.length === 0 || matchesLabels(term.namespaceSelector, labelsOf(pod.namespace));
}

export function hostPorts({ spec }: Pod): readonly HostPort[] {
  let found: HostPort[] | undefined;
  for (const { ports } of spec?.containers ?? []) {
    for (const { hostPort, containerPort, hostIP, protocol = 'TCP' } of ports ?? []) {
      const port = hostPort || (spec?.hostNetwork ? containerPort : 0);
      if (port) (found ??= []).push({ protocol, ip: hostIP || '0.0.0.0', port });
    }
  }
  return found ?? none;
}

export function podInfo(pod: Stored<Pod>): PodInfo {
  const { metadata, spec } = pod;
  const { namespace = '', name } = metadata;
  const { podAffinity, podAntiAffinity } = spec?.affinity ?? {};
  const term = (one: PodAffinityTerm): AffinityTerm => affinityTerm(namespace, one, 1);
  const preferred = (one: { weight: number; podAffinityTerm: PodAffinityTerm }): AffinityTerm =>
    affinityTerm(namespace, one.podAffinityTerm, one.weight);
  const scored = podRequests(pod, true);
  return {
    pod,
    uid: metadata.uid,
    key: `${namespace}/${name}`,
    name,
    namespace,
    labels: metadata.labels ?? noLabels,
    priority: spec?.priority ?? 0,
    requests: podRequests(pod),
    scoredCpu: scored.cpu,
    scoredMemory: scored.memory,
    ports: hostPorts(pod),
    affinity: podAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.map(term) ?? none,
    antiAffinity: podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.map(term) ?? none,
    preferredAffinity: podAffinity?.preferredDuringSchedulingIgnoredDuringExecution?.map(preferred) ?? none,
    preferredAntiAffinity: podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution?.map(preferred) ?? none,
    node: undefined,
  };
}

export function isOver({ status }: Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

export function sameLabels(a: Record<string, string> = noLabels, b: Record<string, string> = noLabels): boolean {
  if (a === b) return true;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
