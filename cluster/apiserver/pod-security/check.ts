/**
 * The Pod Security Standards as checks, in upstream's words: each looks at a pod's spec and says what it forbids.
 * `baseline.ts` and `restricted.ts` hold them, `evaluate.ts` runs those of a level and version.
 */
import type { ApiObject } from '../../kinds/kind.ts';
import type { Container, PodSpec } from '../../kinds/types/core.ts';

export interface Checked {
  spec: PodSpec;
  annotations: Record<string, string>;
}

export interface Violation {
  /** Shown always: `host namespaces`. */
  reason: string;
  /** Shown for one pod: `hostNetwork=true`. */
  detail: string;
}

export interface Check {
  /** They are shown in the order of these. */
  id: string;
  /** The check of `baseline` that this one of `restricted` stands for. */
  replaces?: string;
  /** By the minor version of the policy from which on it is so, ascending: 1.0 is 0. */
  versions: readonly { since: number; find: (pod: Checked) => Violation | undefined }[];
}

export function always(id: string, find: (pod: Checked) => Violation | undefined): Check {
  return { id, versions: [{ since: 0, find }] };
}

export function containersOf({ spec }: Checked): Container[] {
  return [
    ...(spec.initContainers ?? []),
    ...(spec.containers ?? []),
    ...((spec.ephemeralContainers ?? []) as Container[]),
  ];
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return count === 1 ? one : many;
}

export function quoted(values: readonly string[]): string {
  return values.map((value) => JSON.stringify(value)).join(', ');
}

export function sortedSet(values: Iterable<string>): string[] {
  return [...new Set(values)].sort();
}

/** `container "a"`, `containers "a", "b"` */
export function named(containers: readonly { name: string }[]): string {
  return `${plural(containers.length, 'container')} ${quoted(containers.map(({ name }) => name))}`;
}

/** Who set it: `pod`, `container "a"`, or `pod and containers "a", "b"`; empty when nobody did. */
export function setters(pod: boolean, containers: readonly { name: string }[]): string {
  return [...(pod ? ['pod'] : []), ...(containers.length > 0 ? [named(containers)] : [])].join(' and ');
}

/** Where kinds keep the pods that they make; undefined when an object makes none. */
export function templateOf(kind: { group: string; resource: string }, object: ApiObject): Checked | undefined {
  const path = TEMPLATES[kind.group === '' ? kind.resource : `${kind.resource}.${kind.group}`];
  let at: unknown = object;
  for (const key of path ?? []) at = (at as Record<string, unknown> | undefined)?.[key];
  if (path === undefined || at === undefined) return undefined;
  const { metadata, spec } = at as { metadata?: { annotations?: Record<string, string> }; spec?: PodSpec };
  return spec === undefined ? undefined : { spec, annotations: metadata?.annotations ?? {} };
}

const TEMPLATES: Record<string, string[]> = {
  replicationcontrollers: ['spec', 'template'],
  podtemplates: ['template'],
  'replicasets.apps': ['spec', 'template'],
  'deployments.apps': ['spec', 'template'],
  'statefulsets.apps': ['spec', 'template'],
  'daemonsets.apps': ['spec', 'template'],
  'jobs.batch': ['spec', 'template'],
  'cronjobs.batch': ['spec', 'jobTemplate', 'spec', 'template'],
};
