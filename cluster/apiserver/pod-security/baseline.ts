/** The level `baseline`: what is known to lead out of a container (Kubernetes "Pod Security Standards"). */
import type { SELinuxOptions } from '../../kinds/types/core.ts';
import {
  type Check,
  type Checked,
  always,
  containersOf,
  named,
  plural,
  quoted,
  setters,
  sortedSet,
  type Violation,
} from './check.ts';
import { allowedProfile, profileSetters } from './seccomp.ts';

const APPARMOR_ANNOTATION = 'container.apparmor.security.beta.kubernetes.io/';
const CAPABILITIES = new Set([
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
]);
const SELINUX_TYPES = new Set(['', 'container_t', 'container_init_t', 'container_kvm_t']);
const SYSCTLS = [
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ping_group_range',
  'net.ipv4.tcp_syncookies',
];
const SYSCTLS_27 = [...SYSCTLS, 'net.ipv4.ip_local_reserved_ports'];
const SYSCTLS_29 = [
  ...SYSCTLS_27,
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_keepalive_time',
];
const SECCOMP_POD = 'seccomp.security.alpha.kubernetes.io/pod';
const SECCOMP_CONTAINER = 'container.seccomp.security.alpha.kubernetes.io/';

export const BASELINE: readonly Check[] = [
  always('appArmorProfile', appArmor),
  always('capabilities_baseline', (pod) => {
    const forbidden = (add: string[] | undefined) => (add ?? []).filter((name) => !CAPABILITIES.has(name));
    const bad = containersOf(pod).filter(
      ({ securityContext }) => forbidden(securityContext?.capabilities?.add).length > 0,
    );
    if (bad.length === 0) return undefined;
    const names = sortedSet(bad.flatMap(({ securityContext }) => forbidden(securityContext?.capabilities?.add)));
    return {
      reason: 'non-default capabilities',
      detail: `${named(bad)} must not include ${quoted(names)} in securityContext.capabilities.add`,
    };
  }),
  always('hostNamespaces', ({ spec }) => {
    const set = (['hostNetwork', 'hostPID', 'hostIPC'] as const).filter((name) => spec[name] === true);
    return set.length === 0
      ? undefined
      : { reason: 'host namespaces', detail: set.map((name) => `${name}=true`).join(', ') };
  }),
  always('hostPathVolumes', ({ spec }) => {
    const names = (spec.volumes ?? []).filter(({ hostPath }) => hostPath !== undefined).map(({ name }) => name);
    return names.length === 0
      ? undefined
      : { reason: 'hostPath volumes', detail: `${plural(names.length, 'volume')} ${quoted(names)}` };
  }),
  always('hostPorts', (pod) => {
    const bad = containersOf(pod).filter(({ ports }) => ports?.some(({ hostPort }) => (hostPort ?? 0) !== 0));
    if (bad.length === 0) return undefined;
    const ports = sortedSet(
      bad.flatMap((container) =>
        (container.ports ?? []).flatMap(({ hostPort }) => (hostPort ? [String(hostPort)] : [])),
      ),
    );
    return {
      reason: 'hostPort',
      detail: `${named(bad)} ${plural(bad.length, 'uses', 'use')} ${plural(ports.length, 'hostPort')} ${ports.join(', ')}`,
    };
  }),
  always('privileged', (pod) => {
    const bad = containersOf(pod).filter(({ securityContext }) => securityContext?.privileged === true);
    return bad.length === 0
      ? undefined
      : { reason: 'privileged', detail: `${named(bad)} must not set securityContext.privileged=true` };
  }),
  always('procMount', (pod) => {
    const bad = containersOf(pod).filter(
      ({ securityContext }) => (securityContext?.procMount ?? 'Default') !== 'Default',
    );
    if (bad.length === 0) return undefined;
    const types = sortedSet(bad.map(({ securityContext }) => securityContext?.procMount ?? ''));
    return {
      reason: 'procMount',
      detail: `${named(bad)} must not set securityContext.procMount to ${quoted(types)}`,
    };
  }),
  always('seLinuxOptions', seLinux),
  {
    id: 'seccompProfile_baseline',
    versions: [
      { since: 0, find: seccompAnnotations },
      { since: 19, find: profileSetters },
    ],
  },
  {
    id: 'sysctls',
    versions: [
      { since: 0, find: sysctls(SYSCTLS) },
      { since: 27, find: sysctls(SYSCTLS_27) },
      { since: 29, find: sysctls(SYSCTLS_29) },
    ],
  },
  always('windowsHostProcess', (pod) => {
    const bad = containersOf(pod).filter(
      ({ securityContext }) => securityContext?.windowsOptions?.hostProcess === true,
    );
    const who = setters(pod.spec.securityContext?.windowsOptions?.hostProcess === true, bad);
    return who === ''
      ? undefined
      : { reason: 'hostProcess', detail: `${who} must not set securityContext.windowsOptions.hostProcess=true` };
  }),
];

function appArmor(pod: Checked): Violation | undefined {
  const bad = (type: string | undefined) => type !== undefined && type !== 'RuntimeDefault' && type !== 'Localhost';
  const ofPod = pod.spec.securityContext?.appArmorProfile?.type;
  const containers = containersOf(pod).filter(({ securityContext }) => bad(securityContext?.appArmorProfile?.type));
  const values = sortedSet([
    ...(bad(ofPod) ? [ofPod ?? ''] : []),
    ...containers.map(({ securityContext }) => securityContext?.appArmorProfile?.type ?? ''),
  ]);
  const annotations = Object.entries(pod.annotations)
    .filter(([key, value]) => key.startsWith(APPARMOR_ANNOTATION) && !/^($|runtime\/default$|localhost\/)/.test(value))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .sort();
  values.push(...annotations);
  if (values.length === 0) return undefined;
  const who = [
    setters(bad(ofPod), containers),
    annotations.length > 0 ? plural(annotations.length, 'annotation') : '',
  ].filter((one) => one !== '');
  return {
    reason: plural(values.length, 'forbidden AppArmor profile'),
    detail: `${who.join(' and ')} must not set AppArmor profile type to ${quoted(values)}`,
  };
}

function seLinux(pod: Checked): Violation | undefined {
  const bad = (options: SELinuxOptions | undefined) =>
    options !== undefined && (!SELINUX_TYPES.has(options.type ?? '') || Boolean(options.user) || Boolean(options.role));
  const ofPod = pod.spec.securityContext?.seLinuxOptions;
  const containers = containersOf(pod).filter(({ securityContext }) => bad(securityContext?.seLinuxOptions));
  const all = [
    ...(bad(ofPod) ? [ofPod] : []),
    ...containers.map(({ securityContext }) => securityContext?.seLinuxOptions),
  ];
  if (all.length === 0) return undefined;
  const types = sortedSet(all.map((options) => options?.type ?? '').filter((type) => !SELINUX_TYPES.has(type)));
  const what = [
    ...(types.length > 0 ? [`${plural(types.length, 'type')} ${quoted(types)}`] : []),
    ...(all.some((options) => options?.user) ? ['user may not be set'] : []),
    ...(all.some((options) => options?.role) ? ['role may not be set'] : []),
  ];
  return {
    reason: 'seLinuxOptions',
    detail: `${setters(bad(ofPod), containers)} set forbidden securityContext.seLinuxOptions: ${what.join('; ')}`,
  };
}

/** How profiles were named before there was a field. */
function seccompAnnotations(pod: Checked): Violation | undefined {
  const keys = [SECCOMP_POD, ...containersOf(pod).map(({ name }) => SECCOMP_CONTAINER + name)];
  const bad = sortedSet(
    keys.flatMap((key) => {
      const value = pod.annotations[key];
      if (value === undefined || allowedProfile(value)) return [];
      return [`${key}=${JSON.stringify(value)}`];
    }),
  );
  return bad.length === 0
    ? undefined
    : { reason: 'seccompProfile', detail: `forbidden ${plural(bad.length, 'annotation')} ${bad.join(', ')}` };
}

function sysctls(allowed: readonly string[]): (pod: Checked) => Violation | undefined {
  return ({ spec }) => {
    const bad = (spec.securityContext?.sysctls ?? []).map(({ name }) => name).filter((name) => !allowed.includes(name));
    return bad.length === 0 ? undefined : { reason: 'forbidden sysctls', detail: bad.join(', ') };
  };
}
