/** In which order clients find groups and versions: upstream's own numbers. Greater ones come first. */
import { compareVersions } from '../../kinds/version-order.ts';

export interface Priorities {
  group: number;
  version: number;
}

/** By group: the group's priority, and those of its versions where they are not 15. */
const BUILTIN: Readonly<Record<string, { group: number; versions?: Readonly<Record<string, number>> }>> = {
  '': { group: 18_000, versions: { v1: 1 } },
  apps: { group: 17_800 },
  'events.k8s.io': { group: 17_750 },
  'authentication.k8s.io': { group: 17_700 },
  'authorization.k8s.io': { group: 17_600 },
  autoscaling: { group: 17_500, versions: { v2: 30 } },
  batch: { group: 17_400 },
  'certificates.k8s.io': { group: 17_300 },
  'networking.k8s.io': { group: 17_200 },
  policy: { group: 17_100 },
  'rbac.authorization.k8s.io': { group: 17_000 },
  'storage.k8s.io': { group: 16_800 },
  'apiextensions.k8s.io': { group: 16_700 },
  'admissionregistration.k8s.io': { group: 16_700 },
  'scheduling.k8s.io': { group: 16_600 },
  'coordination.k8s.io': { group: 16_500 },
  'node.k8s.io': { group: 16_300 },
  'discovery.k8s.io': { group: 16_200 },
  'flowcontrol.apiserver.k8s.io': { group: 16_100, versions: { v1: 21 } },
  // Served by the aggregating part itself, which has no APIService of its own.
  'apiregistration.k8s.io': { group: 20_000 },
  'metrics.k8s.io': { group: 100, versions: { v1beta1: 100 } },
};
const OF_CUSTOM: Priorities = { group: 1000, version: 100 };

/** Of what is served here. */
export function prioritiesOf(group: string, version: string): Priorities {
  const found = BUILTIN[group];
  return found === undefined ? OF_CUSTOM : { group: found.group, version: found.versions?.[version] ?? 15 };
}

export function isBuiltin(group: string): boolean {
  return BUILTIN[group] !== undefined;
}

/** For versions of one group: the greater priority first, else as versions go. */
export function byVersion(a: { version: string; priority: number }, b: { version: string; priority: number }): number {
  return b.priority - a.priority || compareVersions(a.version, b.version);
}
