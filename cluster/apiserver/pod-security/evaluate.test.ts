/** Each control of the Pod Security Standards: what it forbids, in upstream's words, and what it lets be. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { PodSpec } from '../../kinds/types/core.ts';
import { describe as describeViolations, type Level, policyOf, PRIVILEGED, violations } from './evaluate.ts';

/** A pod that `restricted` allows. */
const GOOD: PodSpec = {
  securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
  containers: [
    {
      name: 'a',
      image: 'i',
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    },
  ],
};

interface Example {
  control: string;
  level: Exclude<Level, 'privileged'>;
  /** Merged over the good pod; `a` over its container, `pod` over its security context. */
  spec?: Partial<PodSpec>;
  pod?: object;
  a?: object;
  container?: object;
  annotations?: Record<string, string>;
  version?: string;
  /** Undefined: allowed. */
  forbidden?: string;
}

const MUST = (what: string) => `container "a" must not ${what}`;
const EXAMPLES: Example[] = [
  {
    control: 'hostProcess',
    level: 'baseline',
    a: { windowsOptions: { hostProcess: true } },
    forbidden: `hostProcess (${MUST('set securityContext.windowsOptions.hostProcess=true')})`,
  },
  {
    control: 'hostProcess',
    level: 'baseline',
    pod: { windowsOptions: { hostProcess: true } },
    forbidden: 'hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)',
  },
  { control: 'hostProcess', level: 'baseline', a: { windowsOptions: { hostProcess: false } } },
  {
    control: 'host namespaces',
    level: 'baseline',
    spec: { hostNetwork: true, hostPID: true, hostIPC: true },
    forbidden: 'host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)',
  },
  { control: 'host namespaces', level: 'baseline', spec: { hostNetwork: false } },
  {
    control: 'privileged',
    level: 'baseline',
    a: { privileged: true },
    forbidden: `privileged (${MUST('set securityContext.privileged=true')})`,
  },
  { control: 'privileged', level: 'baseline', a: { privileged: false } },
  {
    control: 'capabilities',
    level: 'baseline',
    a: { capabilities: { drop: ['ALL'], add: ['SYS_ADMIN', 'CHOWN', 'NET_RAW'] } },
    forbidden: `non-default capabilities (${MUST('include "NET_RAW", "SYS_ADMIN" in securityContext.capabilities.add')})`,
  },
  { control: 'capabilities', level: 'baseline', a: { capabilities: { add: ['CHOWN', 'KILL', 'NET_BIND_SERVICE'] } } },
  {
    control: 'hostPath',
    level: 'baseline',
    spec: {
      volumes: [
        { name: 'v', hostPath: { path: '/' } },
        { name: 'w', hostPath: { path: '/' } },
      ],
    },
    forbidden: 'hostPath volumes (volumes "v", "w")',
  },
  { control: 'hostPath', level: 'baseline', spec: { volumes: [{ name: 'v', nfs: { path: '/', server: 's' } }] } },
  {
    control: 'hostPort',
    level: 'baseline',
    container: {
      ports: [
        { containerPort: 80, hostPort: 80 },
        { containerPort: 81, hostPort: 443 },
      ],
    },
    forbidden: 'hostPort (container "a" uses hostPorts 443, 80)',
  },
  { control: 'hostPort', level: 'baseline', container: { ports: [{ containerPort: 80, hostPort: 0 }] } },
  {
    control: 'AppArmor',
    level: 'baseline',
    pod: { appArmorProfile: { type: 'Unconfined' } },
    forbidden: 'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")',
  },
  {
    control: 'AppArmor',
    level: 'baseline',
    annotations: { 'container.apparmor.security.beta.kubernetes.io/a': 'unconfined' },
    forbidden:
      'forbidden AppArmor profile (annotation must not set AppArmor profile type to "container.apparmor.security.beta.kubernetes.io/a=\\"unconfined\\"")',
  },
  {
    control: 'AppArmor',
    level: 'baseline',
    a: { appArmorProfile: { type: 'Localhost', localhostProfile: 'x' } },
    annotations: { 'container.apparmor.security.beta.kubernetes.io/a': 'localhost/x' },
  },
  {
    control: 'SELinux',
    level: 'baseline',
    pod: { seLinuxOptions: { type: 'spc_t', user: 'u', role: 'r' } },
    forbidden:
      'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set; role may not be set)',
  },
  {
    control: 'SELinux',
    level: 'baseline',
    a: { seLinuxOptions: { user: 'u' } },
    forbidden: 'seLinuxOptions (container "a" set forbidden securityContext.seLinuxOptions: user may not be set)',
  },
  { control: 'SELinux', level: 'baseline', a: { seLinuxOptions: { type: 'container_t', level: 's0:c1' } } },
  {
    control: 'procMount',
    level: 'baseline',
    a: { procMount: 'Unmasked' },
    forbidden: `procMount (${MUST('set securityContext.procMount to "Unmasked"')})`,
  },
  { control: 'procMount', level: 'baseline', a: { procMount: 'Default' } },
  {
    control: 'seccomp',
    level: 'baseline',
    pod: { seccompProfile: { type: 'Unconfined' } },
    forbidden: 'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
  },
  { control: 'seccomp', level: 'baseline', pod: { seccompProfile: undefined } },
  {
    control: 'seccomp',
    level: 'baseline',
    version: 'v1.18',
    annotations: { 'seccomp.security.alpha.kubernetes.io/pod': 'unconfined' },
    forbidden: 'seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")',
  },
  {
    control: 'sysctls',
    level: 'baseline',
    pod: {
      sysctls: [
        { name: 'kernel.msgmax', value: '1' },
        { name: 'net.ipv4.tcp_syncookies', value: '1' },
      ],
    },
    forbidden: 'forbidden sysctls (kernel.msgmax)',
  },
  { control: 'sysctls', level: 'baseline', pod: { sysctls: [{ name: 'net.ipv4.tcp_keepalive_time', value: '1' }] } },
  {
    control: 'sysctls',
    level: 'baseline',
    version: 'v1.28',
    pod: {
      sysctls: [
        { name: 'net.ipv4.tcp_keepalive_time', value: '1' },
        { name: 'net.ipv4.ip_local_reserved_ports', value: '1' },
      ],
    },
    forbidden: 'forbidden sysctls (net.ipv4.tcp_keepalive_time)',
  },
  {
    control: 'volume types',
    level: 'restricted',
    spec: {
      volumes: [
        { name: 'v', hostPath: { path: '/' } },
        { name: 'w', nfs: { path: '/', server: 's' } },
      ],
    },
    forbidden: 'restricted volume types (volumes "v", "w" use restricted volume types "hostPath", "nfs")',
  },
  {
    control: 'volume types',
    level: 'restricted',
    spec: {
      volumes: [
        { name: 'v', emptyDir: {} },
        { name: 'w', projected: {} },
        { name: 'x', persistentVolumeClaim: { claimName: 'c' } },
        { name: 'y', csi: { driver: 'd' } },
      ],
    },
  },
  {
    control: 'privilege escalation',
    level: 'restricted',
    a: { allowPrivilegeEscalation: undefined },
    forbidden:
      'allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)',
  },
  {
    control: 'privilege escalation',
    level: 'restricted',
    spec: { os: { name: 'windows' } },
    a: { allowPrivilegeEscalation: undefined },
  },
  {
    control: 'privilege escalation',
    level: 'restricted',
    version: 'v1.24',
    spec: { os: { name: 'windows' } },
    a: { allowPrivilegeEscalation: true },
    forbidden:
      'allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)',
  },
  { control: 'privilege escalation', level: 'restricted', version: 'v1.7', a: { allowPrivilegeEscalation: true } },
  {
    control: 'running as non-root',
    level: 'restricted',
    pod: { runAsNonRoot: undefined },
    forbidden: 'runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true)',
  },
  {
    control: 'running as non-root',
    level: 'restricted',
    a: { runAsNonRoot: false },
    forbidden: `runAsNonRoot != true (${MUST('set securityContext.runAsNonRoot=false')})`,
  },
  { control: 'running as non-root', level: 'restricted', pod: { runAsNonRoot: undefined }, a: { runAsNonRoot: true } },
  {
    control: 'non-root user',
    level: 'restricted',
    pod: { runAsUser: 0 },
    a: { runAsUser: 0 },
    forbidden: 'runAsUser=0 (pod and container "a" must not set runAsUser=0)',
  },
  { control: 'non-root user', level: 'restricted', pod: { runAsUser: 1000 } },
  {
    control: 'seccomp',
    level: 'restricted',
    pod: { seccompProfile: undefined },
    forbidden:
      'seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
  },
  {
    control: 'seccomp',
    level: 'restricted',
    a: { seccompProfile: { type: 'Unconfined' } },
    forbidden: `seccompProfile (${MUST('set securityContext.seccompProfile.type to "Unconfined"')})`,
  },
  {
    control: 'seccomp',
    level: 'restricted',
    pod: { seccompProfile: undefined },
    a: { seccompProfile: { type: 'Localhost' } },
  },
  {
    control: 'capabilities',
    level: 'restricted',
    a: { capabilities: undefined },
    forbidden: 'unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"])',
  },
  {
    control: 'capabilities',
    level: 'restricted',
    a: { capabilities: { drop: ['KILL'], add: ['CHOWN'] } },
    forbidden: `unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]; ${MUST('include "CHOWN" in securityContext.capabilities.add')})`,
  },
  { control: 'capabilities', level: 'restricted', a: { capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] } } },
];

function podOf({ spec, pod, a, container, annotations }: Example) {
  const [first] = GOOD.containers;
  const made = {
    ...GOOD,
    ...spec,
    securityContext: { ...GOOD.securityContext, ...pod },
    containers: [{ ...first, ...container, securityContext: { ...first?.securityContext, ...a } }],
  } as unknown as PodSpec;
  // As it would be read from JSON: what is undefined is not there.
  return { spec: JSON.parse(JSON.stringify(made)) as PodSpec, annotations: annotations ?? {} };
}

describe('Pod Security Standards', () => {
  for (const example of EXAMPLES) {
    const { control, level, version = 'latest', forbidden } = example;
    test(`${level}:${version}, ${control}: ${forbidden ?? 'allowed'}`, () => {
      const pod = podOf(example);
      assert.equal(describeViolations(violations(pod, { level, version })), forbidden ?? '');
      assert.deepEqual(violations(pod, { level: 'privileged', version }), []);
    });
  }

  test('init and ephemeral containers are containers', () => {
    const privileged = { name: 'x', image: 'i', securityContext: { privileged: true } };
    const spec: PodSpec = {
      ...GOOD,
      initContainers: [privileged],
      ephemeralContainers: [{ ...privileged, name: 'y' }],
    };
    assert.equal(
      describeViolations(violations({ spec, annotations: {} }, { level: 'baseline', version: 'latest' })),
      'privileged (containers "x", "y" must not set securityContext.privileged=true)',
    );
  });

  test('several violations: baseline first, each in the order of its name', () => {
    const spec: PodSpec = {
      hostNetwork: true,
      containers: [{ name: 'a', image: 'i', securityContext: { privileged: true } }],
      volumes: [{ name: 'h', hostPath: { path: '/' } }],
    };
    assert.deepEqual(
      violations({ spec, annotations: {} }, { level: 'restricted', version: 'latest' }).map(({ reason }) => reason),
      [
        'host namespaces',
        'privileged',
        'allowPrivilegeEscalation != false',
        'unrestricted capabilities',
        'restricted volume types',
        'runAsNonRoot != true',
        'seccompProfile',
      ],
    );
  });

  test('labels: levels, versions, and what cannot be read', () => {
    const of = (labels: Record<string, string>) =>
      policyOf(
        Object.fromEntries(Object.entries(labels).map(([key, value]) => [`pod-security.kubernetes.io/${key}`, value])),
        PRIVILEGED,
      );
    assert.deepEqual(of({}).policy, PRIVILEGED);
    const { policy } = of({ enforce: 'baseline', 'enforce-version': 'v1.25', audit: 'restricted' });
    assert.deepEqual(policy.enforce, { level: 'baseline', version: 'v1.25' });
    assert.deepEqual(policy.audit, { level: 'restricted', version: 'latest' });
    assert.deepEqual(policy.warn, { level: 'baseline', version: 'v1.25' }, 'templates are warned of what is enforced');
    const bad = of({ enforce: 'strict', warn: 'loud', 'warn-version': '1.25' });
    assert.deepEqual([bad.policy.enforce.level, bad.policy.warn.level], ['restricted', 'privileged']);
    assert.deepEqual(
      bad.errors.map(({ field, message }) => `${field}: ${message}`),
      [
        'metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted',
        'metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: "loud": must be one of privileged, baseline, restricted',
        'metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: "1.25": must be "latest" or "v1.x"',
      ],
    );
  });
});
