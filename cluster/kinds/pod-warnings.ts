/** What is odd about a pod, or the template of one, that is valid: shown to whoever writes it, in upstream's words. */
import type { ApiObject } from './kind.ts';
import { dnsLabelProblems } from './names.ts';
import { nodeLabelsWarnings, nodeLabelWarning, nodeTermsWarnings, nodeTermWarnings } from './node-label-warnings.ts';
import { portWarnings } from './port-warnings.ts';
import type { Affinity, Container, EnvVar, Pod, PodSpec, PodTemplateSpec } from './types/core.ts';
import { fractionWarnings, podVolumeWarnings } from './volume-warnings.ts';

const ANNOTATIONS = {
  'scheduler.alpha.kubernetes.io/critical-pod': 'non-functional in v1.16+; use the "priorityClassName" field instead',
  'security.alpha.kubernetes.io/sysctls': 'non-functional in v1.11+; use the "sysctls" field instead',
  'security.alpha.kubernetes.io/unsafe-sysctls': 'non-functional in v1.11+; use the "sysctls" field instead',
};
const POD_SECCOMP = 'seccomp.security.alpha.kubernetes.io/pod';
const CONTAINER_SECCOMP = 'container.seccomp.security.alpha.kubernetes.io/';
const SECCOMP_TEXT = 'non-functional in v1.27+; use the "seccompProfile" field instead';
const APP_ARMOR = 'container.apparmor.security.beta.kubernetes.io/';
const APP_ARMOR_TEXT = 'deprecated since v1.30; use the "appArmorProfile" field instead';
/** Counted in bytes, of which there is no part. */
const BYTES = ['memory', 'ephemeral-storage'];

/** Of new pods alone: what changes of one is written by programs. */
export function podWarnings(pod: Pod, old: Pod | undefined): string[] {
  if (old !== undefined) return [];
  return [
    ...hostnameWarnings(pod.metadata.name, "the Pod's hostname"),
    ...templateWarnings({ metadata: pod.metadata, ...(pod.spec && { spec: pod.spec }) }, ''),
  ];
}

/** Of a kind that makes pods, whose names begin with its own: of its name when it is new, of its template when it is another. */
export function workloadWarnings(
  object: ApiObject,
  old: ApiObject | undefined,
  template: PodTemplateSpec | undefined,
  at = 'spec.template',
): string[] {
  return [
    ...(old === undefined ? hostnameWarnings(object.metadata.name, 'Pod names and hostnames') : []),
    ...templateChangeWarnings(object, old, template, at),
  ];
}

/** Of a template that is new, or may be another. */
export function templateChangeWarnings(
  object: ApiObject,
  old: ApiObject | undefined,
  template: PodTemplateSpec | undefined,
  at = 'spec.template',
): string[] {
  if (old !== undefined && old.metadata.generation === object.metadata.generation) return [];
  return templateWarnings(template ?? {}, `${at}.`);
}

function hostnameWarnings(name: string | undefined, use: string): string[] {
  const problems = dnsLabelProblems(name ?? '');
  if (problems.length === 0) return [];
  return [
    `metadata.name: this is used in ${use}, which can result in surprising behavior; a DNS label is recommended: [${problems.join(' ')}]`,
  ];
}

/** @param at  empty of a pod, `spec.template.` of a template */
function templateWarnings({ metadata, spec }: PodTemplateSpec, at: string): string[] {
  if (spec === undefined) return [];
  const { annotations = {} } = metadata ?? {};
  const here = `${at}spec`;
  const noted = (key: string, text: string): string[] =>
    Object.hasOwn(annotations, key) ? [`${at}metadata.annotations[${key}]: ${text}`] : [];
  const containers = containersOf(spec, here);
  const hasAppArmor = spec.securityContext?.appArmorProfile !== undefined;
  return [
    ...placeWarnings(spec, here),
    ...Object.entries(ANNOTATIONS).flatMap(([key, text]) => noted(key, text)),
    ...(spec.volumes ?? []).flatMap((volume, index) => podVolumeWarnings(volume, `${here}.volumes[${index}]`)),
    ...listWarnings(spec, here),
    ...fractionWarnings(spec.overhead, BYTES, `${here}.overhead`),
    ...(spec.securityContext?.seccompProfile === undefined ? noted(POD_SECCOMP, SECCOMP_TEXT) : []),
    ...containers.flatMap(([field, { name, securityContext, resources, env }]) => [
      ...(securityContext?.seccompProfile === undefined ? noted(`${CONTAINER_SECCOMP}${name}`, SECCOMP_TEXT) : []),
      ...(hasAppArmor || securityContext?.appArmorProfile !== undefined
        ? []
        : noted(`${APP_ARMOR}${name}`, APP_ARMOR_TEXT)),
      ...BYTES.flatMap((unit) => [
        ...fractionWarnings(resources?.limits, [unit], `${field}.resources.limits`),
        ...fractionWarnings(resources?.requests, [unit], `${field}.resources.requests`),
      ]),
      ...hiddenWarnings(env ?? [], `${field}.env`),
    ]),
    ...portWarnings(containers),
    ...((spec.terminationGracePeriodSeconds ?? 0) < 0
      ? [`${here}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1`]
      : []),
    ...podAffinityWarnings(spec.affinity, `${here}.affinity`),
  ];
}

/** Of all kinds, with their paths, as upstream goes through them. */
function containersOf(
  spec: PodSpec,
  at: string,
): [string, Pick<Container, 'name' | 'securityContext' | 'resources' | 'env' | 'ports'>][] {
  return (['initContainers', 'containers', 'ephemeralContainers'] as const).flatMap((list) =>
    (spec[list] ?? []).map((one, index): [string, Container] => [`${at}.${list}[${index}]`, one]),
  );
}

function placeWarnings({ nodeSelector, affinity, topologySpreadConstraints }: PodSpec, at: string): string[] {
  const { requiredDuringSchedulingIgnoredDuringExecution: must, preferredDuringSchedulingIgnoredDuringExecution: may } =
    affinity?.nodeAffinity ?? {};
  const path = `${at}.affinity.nodeAffinity`;
  return [
    ...nodeLabelsWarnings(nodeSelector, (label) => `${at}.nodeSelector[${label}]`),
    ...nodeTermsWarnings(
      must?.nodeSelectorTerms,
      `${path}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms`,
    ),
    ...(may ?? []).flatMap(({ preference }, index) =>
      nodeTermWarnings(preference, `${path}.preferredDuringSchedulingIgnoredDuringExecution[${index}].preference`),
    ),
    ...(topologySpreadConstraints ?? []).flatMap(({ topologyKey, labelSelector }, index) => {
      const field = `${at}.topologySpreadConstraints[${index}]`;
      const text = nodeLabelWarning(topologyKey);
      return [
        ...(text === undefined ? [] : [`${field}.topologyKey: ${topologyKey} is ${text}`]),
        ...(labelSelector === undefined ? [noneWarning(field)] : []),
      ];
    }),
  ];
}

function podAffinityWarnings(affinity: Affinity | undefined, at: string): string[] {
  return (['podAffinity', 'podAntiAffinity'] as const).flatMap((side) => {
    const {
      requiredDuringSchedulingIgnoredDuringExecution: must,
      preferredDuringSchedulingIgnoredDuringExecution: may,
    } = affinity?.[side] ?? {};
    return [
      ...(must ?? []).flatMap(({ labelSelector }, index) =>
        labelSelector === undefined
          ? [noneWarning(`${at}.${side}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`)]
          : [],
      ),
      ...(may ?? []).flatMap(({ podAffinityTerm: { labelSelector } }, index) =>
        labelSelector === undefined
          ? [noneWarning(`${at}.${side}.preferredDuringSchedulingIgnoredDuringExecution[${index}].podAffinityTerm`)]
          : [],
      ),
    ];
  });
}

function noneWarning(at: string): string {
  return `${at}.labelSelector: a null labelSelector results in matching no pod`;
}

/** Lists whose items have a name that is there twice. */
function listWarnings({ hostAliases, imagePullSecrets }: PodSpec, at: string): string[] {
  return [
    ...twice((hostAliases ?? []).map(({ ip }) => ip)).map(
      ([index, ip]) => `${at}.hostAliases[${index}].ip: duplicate ip ${JSON.stringify(ip)}`,
    ),
    ...twice((imagePullSecrets ?? []).map(({ name = '' }) => name)).map(
      ([index, name]) => `${at}.imagePullSecrets[${index}].name: duplicate name ${JSON.stringify(name)}`,
    ),
    ...(imagePullSecrets ?? []).flatMap(({ name }, index) =>
      name ? [] : [`${at}.imagePullSecrets[${index}].name: invalid empty name ""`],
    ),
  ];
}

function twice(names: readonly string[]): [number, string][] {
  return [...names.entries()].filter(([index, name]) => names.indexOf(name) < index);
}

/** A variable that is there twice keeps what it was only where it builds upon it. */
function hiddenWarnings(env: readonly EnvVar[], at: string): string[] {
  const seen = new Set<string>();
  return env.flatMap(({ name, value = '', valueFrom }, index) => {
    if (!seen.has(name)) {
      seen.add(name);
      return [];
    }
    const former = `$(${name})`;
    if (valueFrom === undefined && value !== former && value.includes(former)) return [];
    return [
      `${at}[${index}]: hides previous definition of ${JSON.stringify(name)}, which may be dropped when using apply`,
    ];
  });
}
