/** Holds the pods of a namespace to the level that its labels say (Kubernetes "Pod Security Admission"). */
import { isDeepStrictEqual } from 'node:util';
import { namespaces, pods } from '../../kinds/resources.ts';
import type { Pod, PodSpec } from '../../kinds/types/core.ts';
import type { Core } from '../core.ts';
import { forbidden, invalidObject } from '../errors.ts';
import { type Checked, templateOf } from '../pod-security/check.ts';
import {
  compareLevels,
  describe,
  type LevelVersion,
  type Policy,
  policyOf,
  PRIVILEGED,
  violations,
} from '../pod-security/evaluate.ts';
import { all, find } from './lookup.ts';
import { type AdmissionPlugin, type AdmissionRequest, isKind } from './plugin.ts';

export interface PodSecurityOptions {
  /** Where a namespace's labels say nothing; default: privileged. */
  defaults?: Policy;
  exemptions?: { usernames?: readonly string[]; namespaces?: readonly string[]; runtimeClasses?: readonly string[] };
}

const AUDIT = 'pod-security.kubernetes.io/';
/** Of the pods that a new level would refuse, so many are looked at, and so many lines shown. */
const PODS_CHECKED = 3_000;
const LINES_SHOWN = 10;

export function podSecurity(core: Core, options: PodSecurityOptions): AdmissionPlugin {
  const defaults = options.defaults ?? PRIVILEGED;
  const { usernames = [], namespaces: exempt = [], runtimeClasses = [] } = options.exemptions ?? {};
  const isExempt = ({ namespace, user }: AdmissionRequest, spec: PodSpec) =>
    exempt.includes(namespace) ||
    (user !== undefined && usernames.includes(user.name)) ||
    (spec.runtimeClassName !== undefined && runtimeClasses.includes(spec.runtimeClassName));
  return {
    name: 'PodSecurity',
    validate(request) {
      if (request.operation === 'DELETE' || request.operation === 'CONNECT') return;
      if (isKind(request, namespaces)) return checkNamespace(core, request, defaults, exempt);
      const isPod = isKind(request, pods) || isKind(request, pods, 'ephemeralcontainers');
      const checked = isPod
        ? checkedPod(request)
        : request.subresource === ''
          ? templateOf(request.kind, request.object)
          : undefined;
      if (checked === undefined || isExempt(request, checked.spec)) return;
      const namespace = find(core, namespaces, '', request.namespace);
      const { policy } = policyOf(namespace?.metadata.labels, defaults);
      evaluate(request, checked, policy, isPod);
    },
  };
}

function evaluate(request: AdmissionRequest, checked: Checked, { enforce, audit, warn }: Policy, isPod: boolean): void {
  if (isPod) {
    request.annotate(`${AUDIT}enforce-policy`, text(enforce));
    const found = violations(checked, enforce);
    if (found.length > 0)
      throw forbidden(request.kind, request.name, `violates PodSecurity "${text(enforce)}": ${describe(found)}`);
  }
  const noted = violations(checked, audit);
  if (noted.length > 0)
    request.annotate(`${AUDIT}audit-violations`, `would violate PodSecurity "${text(audit)}": ${describe(noted)}`);
  const warned = violations(checked, warn);
  if (warned.length > 0) request.warn(`would violate PodSecurity "${text(warn)}": ${describe(warned)}`);
}

function text({ level, version }: LevelVersion): string {
  return `${level}:${version}`;
}

function ofPod(pod: Pod): Checked | undefined {
  return pod.spec === undefined ? undefined : { spec: pod.spec, annotations: pod.metadata.annotations ?? {} };
}

/** Undefined for an update that changes nothing of what is checked. */
function checkedPod({ object, old }: AdmissionRequest): Checked | undefined {
  const now = ofPod(object as Pod);
  const before = old === undefined ? undefined : ofPod(old as Pod);
  if (before === undefined || now === undefined) return now;
  return isDeepStrictEqual(significant(now), significant(before)) ? undefined : now;
}

function significant({ spec, annotations }: Checked): unknown {
  const { tolerations: _1, activeDeadlineSeconds: _2, schedulingGates: _3, nodeName: _4, ...rest } = spec;
  const withoutImages = JSON.stringify(rest, (key, value: unknown) => (key === 'image' ? undefined : value));
  const profiles = Object.entries(annotations).filter(([key]) =>
    /^(container\.(apparmor|seccomp)|seccomp)\./.test(key),
  );
  return [withoutImages, Object.fromEntries(profiles)];
}

function checkNamespace(core: Core, request: AdmissionRequest, defaults: Policy, exempt: readonly string[]): void {
  const now = policyOf(request.object.metadata.labels, defaults);
  const before = request.old === undefined ? undefined : policyOf(request.old.metadata.labels, defaults);
  if (now.errors.length > 0 && !isDeepStrictEqual(now.errors, before?.errors))
    throw invalidObject(request.kind, request.name, now.errors);
  if (before === undefined || exempt.includes(request.name)) return;
  const [enforce, old] = [now.policy.enforce, before.policy.enforce];
  if (isDeepStrictEqual(enforce, old) || enforce.level === 'privileged') return;
  if (enforce.version === old.version && compareLevels(enforce.level, old.level) < 1) return;
  warnOfPods(core, request, enforce);
}

/** Pods that are there stay; who sets the level is told which of them could not be made any more. */
function warnOfPods(core: Core, request: AdmissionRequest, enforce: LevelVersion): void {
  const byReasons = new Map<string, string[]>();
  for (const pod of all(core, pods, request.name).slice(0, PODS_CHECKED)) {
    const checked = ofPod(pod);
    const found = checked === undefined ? [] : violations(checked, enforce);
    if (found.length === 0) continue;
    const reasons = found.map(({ reason }) => reason).join(', ');
    byReasons.set(reasons, [...(byReasons.get(reasons) ?? []), pod.metadata.name ?? '']);
  }
  if (byReasons.size === 0) return;
  request.warn(
    `existing pods in namespace "${request.name}" violate the new PodSecurity enforce level "${text(enforce)}"`,
  );
  const lines = [...byReasons].map(([reasons, names]) => {
    const [first = '', ...others] = names.sort();
    const more = others.length === 0 ? '' : ` (and ${others.length} other ${others.length === 1 ? 'pod' : 'pods'})`;
    return `${first}${more}: ${reasons}`;
  });
  for (const line of lines.sort().slice(0, LINES_SHOWN)) request.warn(line);
}
