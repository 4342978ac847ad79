/** What security contexts of pods and containers must be, with the errors of the API reference. */
import type { FieldError } from './field-error.ts';
import { duplicate, forbidden, invalid, notSupported, required } from './field-errors.ts';
import type { AppArmorProfile, PodSpec, SeccompProfile, SecurityContext } from './types/core.ts';

const MAX_ID = 2 ** 31 - 1;
const ID_TEXT = 'must be between 0 and 2147483647, inclusive';
const PROFILE_TYPES = ['Localhost', 'RuntimeDefault', 'Unconfined'];
const CHANGE_POLICIES = ['Always', 'OnRootMismatch'];
const PROC_MOUNTS = ['Default', 'Unmasked'];
const SYSCTL = /^[a-z0-9]([-_a-z0-9]*[a-z0-9])?([./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*$/;
const SYSCTL_LENGTH = 253;

export function containerSecurityErrors(context: SecurityContext, at: string): FieldError[] {
  const { privileged, allowPrivilegeEscalation, capabilities, procMount } = context;
  const errors = [
    ...idErrors(context.runAsUser, `${at}.runAsUser`),
    ...idErrors(context.runAsGroup, `${at}.runAsGroup`),
  ];
  if (procMount !== undefined && !PROC_MOUNTS.includes(procMount))
    errors.push(notSupported(`${at}.procMount`, procMount, PROC_MOUNTS));
  errors.push(...profileErrors(context, at));
  if (allowPrivilegeEscalation !== false) return errors;
  if (privileged === true)
    errors.push(invalid(at, context, 'cannot set `allowPrivilegeEscalation` to false and `privileged` to true'));
  if (capabilities?.add?.includes('CAP_SYS_ADMIN'))
    errors.push(
      invalid(at, context, 'cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN'),
    );
  return errors;
}

export function podSecurityErrors(spec: PodSpec, at: string): FieldError[] {
  const { securityContext: context = {}, shareProcessNamespace, hostPID } = spec;
  const errors: FieldError[] = [];
  if (shareProcessNamespace === true && hostPID === true)
    errors.push(
      invalid(`${at}.shareProcessNamespace`, true, 'ShareProcessNamespace and HostPID cannot both be enabled'),
    );
  const own = `${at}.securityContext`;
  for (const field of ['runAsUser', 'runAsGroup', 'fsGroup'] as const)
    errors.push(...idErrors(context[field], `${own}.${field}`));
  for (const [index, group] of (context.supplementalGroups ?? []).entries())
    errors.push(...idErrors(group, `${own}.supplementalGroups[${index}]`));
  const { fsGroupChangePolicy: policy } = context;
  if (policy !== undefined && !CHANGE_POLICIES.includes(policy))
    errors.push(notSupported(`${own}.fsGroupChangePolicy`, policy, CHANGE_POLICIES));
  return [...errors, ...sysctlErrors(spec, `${own}.sysctls`), ...profileErrors(context, own)];
}

function sysctlErrors({ securityContext, hostNetwork, hostIPC }: PodSpec, at: string): FieldError[] {
  const seen = new Set<string>();
  return (securityContext?.sysctls ?? []).flatMap(({ name }, index) => {
    const field = `${at}[${index}].name`;
    if (!name) return [required(field)];
    const canonical = name.replaceAll('/', '.');
    if (seen.has(canonical)) return [duplicate(field, name)];
    seen.add(canonical);
    if (name.length > SYSCTL_LENGTH || !SYSCTL.test(name))
      return [
        invalid(
          field,
          name,
          `must have at most ${SYSCTL_LENGTH} characters and match regex ${SYSCTL.source.replaceAll('\\/', '/')}`,
        ),
      ];
    if (hostNetwork === true && canonical.startsWith('net.'))
      return [invalid(field, name, "may not be specified when 'hostNetwork' is true")];
    if (hostIPC === true && /^(kernel\.(shm|msg|sem)|fs\.mqueue\.)/.test(canonical))
      return [invalid(field, name, "may not be specified when 'hostIPC' is true")];
    return [];
  });
}

function profileErrors(
  { seccompProfile, appArmorProfile }: { seccompProfile?: SeccompProfile; appArmorProfile?: AppArmorProfile },
  at: string,
): FieldError[] {
  const named: [string, string, SeccompProfile | AppArmorProfile | undefined][] = [
    ['seccompProfile', 'seccomp', seccompProfile],
    ['appArmorProfile', 'AppArmor', appArmorProfile],
  ];
  return named.flatMap(([field, kind, profile]) =>
    profile === undefined ? [] : oneProfileErrors(profile, kind, `${at}.${field}`),
  );
}

function oneProfileErrors({ type, localhostProfile }: SeccompProfile, kind: string, at: string): FieldError[] {
  if (!type) return [required(`${at}.type`, `${kind} type is required when ${kind}Profile is set`)];
  if (!PROFILE_TYPES.includes(type)) return [notSupported(`${at}.type`, type, PROFILE_TYPES)];
  const field = `${at}.localhostProfile`;
  if (type !== 'Localhost')
    return localhostProfile === undefined
      ? []
      : [invalid(field, localhostProfile, `can only be set when ${kind} type is Localhost`)];
  if (!localhostProfile) return [required(field, `must be set when ${kind} type is Localhost`)];
  if (localhostProfile.startsWith('/')) return [invalid(field, localhostProfile, 'must be a relative path')];
  return localhostProfile.split('/').includes('..') ? [invalid(field, localhostProfile, "must not contain '..'")] : [];
}

function idErrors(id: number | undefined, field: string): FieldError[] {
  return id === undefined || (id >= 0 && id <= MAX_ID) ? [] : [invalid(field, id, ID_TEXT)];
}

/** A pod of another system than Linux has nothing of these; and `os` names one of two. */
export function osErrors({ os, hostNetwork, hostPID, hostIPC }: PodSpec, at: string): FieldError[] {
  if (os === undefined) return [];
  const field = `${at}.os.name`;
  if (!os.name) return [required(field)];
  if (os.name !== 'linux' && os.name !== 'windows') return [notSupported(field, os.name, ['linux', 'windows'])];
  if (os.name !== 'windows') return [];
  return Object.entries({ hostPID, hostIPC, hostNetwork }).flatMap(([name, value]) =>
    value === true ? [forbidden(`${at}.${name}`, 'cannot be set for a windows pod')] : [],
  );
}
