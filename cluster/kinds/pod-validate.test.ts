import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultPodSpec } from './pod-defaults.ts';
import { validatePodUpdate } from './pod-update-validate.ts';
import { validatePodSpec } from './pod-validate.ts';
import type { Container, PodSpec } from './types/core.ts';

const main: Container = { name: 'main', image: 'app:1' };

function errorsOf(container: Partial<Container>, spec: Partial<PodSpec> = {}): string[] {
  const whole: PodSpec = structuredClone({ containers: [{ ...main, ...container }], ...spec });
  defaultPodSpec(whole);
  return validatePodSpec(whole, 'spec').map(({ field, message }) => `${field}: ${message}`);
}

/** The error, as upstream words it, of each container that is wrong. */
const containers: [Partial<Container>, string][] = [
  [
    { terminationMessagePolicy: 'Shout' },
    'spec.containers[0].terminationMessagePolicy: Unsupported value: "Shout": supported values: "FallbackToLogsOnError", "File"',
  ],
  [{ ports: [{ containerPort: 0 }] }, 'spec.containers[0].ports[0].containerPort: Required value'],
  [
    { ports: [{ containerPort: 80, name: 'a-far-too-long-name' }] },
    'spec.containers[0].ports[0].name: Invalid value: "a-far-too-long-name": must be no more than 15 characters',
  ],
  [
    {
      ports: [
        { containerPort: 80, name: 'web' },
        { containerPort: 81, name: 'web' },
      ],
    },
    'spec.containers[0].ports[1].name: Duplicate value: "web"',
  ],
  [
    {
      ports: [
        { containerPort: 80, hostPort: 8080 },
        { containerPort: 81, hostPort: 8080 },
      ],
    },
    'spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//8080"',
  ],
  [
    { env: [{ name: 'A', valueFrom: {} }] },
    'spec.containers[0].env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`',
  ],
  [
    { env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'metadata.labels' } } }] },
    'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"',
  ],
  [
    { env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'spec.color' } } }] },
    'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.color": error converting fieldPath: field label not supported: spec.color',
  ],
  [
    { env: [{ name: 'A', valueFrom: { resourceFieldRef: { resource: 'limits.gold' } } }] },
    'spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gold": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"',
  ],
  [
    { env: [{ name: 'A', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '2' } } }] },
    `spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "divisor": only divisor's values 1m and 1 are supported with the cpu resource`,
  ],
  [
    { env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: '' } } }] },
    'spec.containers[0].env[0].valueFrom.secretKeyRef.key: Required value',
  ],
  [
    { envFrom: [{}] },
    'spec.containers[0].envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`',
  ],
  [
    { envFrom: [{ configMapRef: { name: 'Upper' } }] },
    'spec.containers[0].envFrom[0].configMapRef.name: Invalid value: "Upper": a lowercase RFC 1123 subdomain',
  ],
  [
    { resources: { limits: { cpu: '1' }, requests: { cpu: '2' } } },
    'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
  ],
  [
    { resources: { limits: { gold: '1' } } },
    'spec.containers[0].resources.limits[gold]: Invalid value: "gold": must be a standard resource for containers',
  ],
  [
    { resources: { limits: { 'example.com/gpu': '500m' } } },
    'spec.containers[0].resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer',
  ],
  [
    { resources: { requests: { 'example.com/gpu': '1' } } },
    'spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources',
  ],
  [
    { resources: { limits: { memory: '-1' } } },
    'spec.containers[0].resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0',
  ],
  [
    { resources: { limits: { 'hugepages-2Mi': '4Mi' } } },
    'spec.containers[0].resources: Forbidden: HugePages require cpu or memory',
  ],
  [
    { securityContext: { runAsUser: -1 } },
    'spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive',
  ],
  [
    { securityContext: { privileged: true, allowPrivilegeEscalation: false } },
    'cannot set `allowPrivilegeEscalation` to false and `privileged` to true',
  ],
  [
    { securityContext: { seccompProfile: { type: 'Localhost' } } },
    'spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost',
  ],
  [{ securityContext: { procMount: 'All' } }, 'spec.containers[0].securityContext.procMount: Unsupported value: "All"'],
  [{ restartPolicy: 'Always' }, 'spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers'],
  [
    { livenessProbe: { exec: { command: ['true'] }, successThreshold: 2 } },
    'spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1',
  ],
  [
    { readinessProbe: { exec: { command: ['true'] }, terminationGracePeriodSeconds: 2 } },
    'spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 2: must not be set for readinessProbes',
  ],
  [{ readinessProbe: { exec: {} } }, 'spec.containers[0].readinessProbe.exec.command: Required value'],
  [
    { readinessProbe: { httpGet: { port: 'no port' } } },
    'spec.containers[0].readinessProbe.httpGet.port: Invalid value: "no port"',
  ],
  [
    { readinessProbe: { httpGet: { port: 80, scheme: 'FTP' } } },
    'spec.containers[0].readinessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"',
  ],
  [
    { readinessProbe: { httpGet: { port: 80, httpHeaders: [{ name: 'a b', value: '' }] } } },
    'spec.containers[0].readinessProbe.httpGet.httpHeaders[0].name: Invalid value: "a b"',
  ],
  [{ lifecycle: { preStop: {} } }, 'spec.containers[0].lifecycle.preStop: Required value: must specify a handler type'],
  [
    { lifecycle: { preStop: { sleep: { seconds: 31 } } } },
    'spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be greater than 0 and less than terminationGracePeriodSeconds (30)',
  ],
  [
    { volumeDevices: [{ name: 'v', devicePath: '/dev/x' }] },
    'spec.containers[0].volumeDevices[0].name: Not found: "v"',
  ],
];

const volumes = [
  { name: 'data', persistentVolumeClaim: { claimName: 'data' } },
  { name: 'scratch', emptyDir: {} },
];
const device = (name: string, devicePath: string, more: Partial<Container> = {}): Partial<PodSpec> => ({
  volumes,
  containers: [{ ...main, volumeDevices: [{ name, devicePath }], ...more }],
});

const pods: [Partial<PodSpec>, string][] = [
  [
    device('data', '/dev/x', { volumeMounts: [{ name: 'data', mountPath: '/data' }] }),
    'spec.containers[0].volumeMounts[0].name: Invalid value: "data": must not already exist in volumeDevices',
  ],
  [
    device('data', '/dev/x', { volumeMounts: [{ name: 'data', mountPath: '/data' }] }),
    'spec.containers[0].volumeDevices[0].name: Invalid value: "data": must not already exist in volumeMounts',
  ],
  [
    device('data', '/x', { volumeMounts: [{ name: 'scratch', mountPath: '/x' }] }),
    'spec.containers[0].volumeMounts[0].mountPath: Invalid value: "/x": must not already exist as a path in volumeDevices',
  ],
  [
    device('data', '/x', { volumeMounts: [{ name: 'scratch', mountPath: '/x' }] }),
    'spec.containers[0].volumeDevices[0].devicePath: Invalid value: "/x": must not already exist as a path in volumeMounts',
  ],
  [
    device('scratch', '/dev/x'),
    'spec.containers[0].volumeDevices[0].name: Invalid value: "scratch": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode',
  ],
  [
    device('data', '/dev/../x'),
    `spec.containers[0].volumeDevices[0].devicePath: Invalid value: "/dev/../x": can not contain backsteps ('..')`,
  ],
  [
    { initContainers: [{ name: 'first', image: 'a', readinessProbe: { exec: { command: ['true'] } } }] },
    'spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always',
  ],
  [
    { initContainers: [{ name: 'first', image: 'a', restartPolicy: 'Never' }] },
    'spec.initContainers[0].restartPolicy: Unsupported value: "Never": supported values: "Always"',
  ],
  [
    { hostNetwork: true, containers: [{ ...main, ports: [{ containerPort: 80, hostPort: 81 }] }] },
    'spec.containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true',
  ],
  [{ dnsPolicy: 'None' }, 'spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None'],
  [
    { dnsConfig: { nameservers: ['1.1.1.1', '2.2.2.2', '3.3.3.3', '4.4.4.4'] } },
    'must not have more than 3 nameservers',
  ],
  [
    { dnsConfig: { nameservers: ['one'] } },
    'spec.dnsConfig.nameservers[0]: Invalid value: "one": must be a valid IP address',
  ],
  [{ dnsConfig: { searches: ['-'] } }, 'spec.dnsConfig.searches[0]: Invalid value: "-"'],
  [{ hostAliases: [{ ip: '1.2.3', hostnames: ['a'] }] }, 'spec.hostAliases[0].ip: Invalid value: "1.2.3"'],
  [
    { shareProcessNamespace: true, hostPID: true },
    'spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled',
  ],
  [
    { securityContext: { fsGroupChangePolicy: 'Never' } },
    'spec.securityContext.fsGroupChangePolicy: Unsupported value: "Never"',
  ],
  [{ securityContext: { supplementalGroups: [-5] } }, 'spec.securityContext.supplementalGroups[0]: Invalid value: -5'],
  [
    { securityContext: { sysctls: [{ name: 'a..b', value: '' }] } },
    'spec.securityContext.sysctls[0].name: Invalid value: "a..b": must have at most 253 characters',
  ],
  [
    { hostNetwork: true, securityContext: { sysctls: [{ name: 'net.core.somaxconn', value: '1' }] } },
    "may not be specified when 'hostNetwork' is true",
  ],
  [{ os: { name: 'plan9' } }, 'spec.os.name: Unsupported value: "plan9": supported values: "linux", "windows"'],
  [{ nodeSelector: { 'a b': 'c' } }, 'spec.nodeSelector: Invalid value: "a b"'],
  [{ preemptionPolicy: 'Always' }, 'spec.preemptionPolicy: Unsupported value: "Always"'],
  [{ readinessGates: [{ conditionType: '/' }] }, 'spec.readinessGates[0].conditionType: Invalid value: "/"'],
  [{ runtimeClassName: 'Upper' }, 'spec.runtimeClassName: Invalid value: "Upper"'],
  [
    { volumes: [{ name: 'v', downwardAPI: { items: [{ path: 'p', fieldRef: { fieldPath: 'status.podIP' } }] } }] },
    'spec.volumes[0].downwardAPI.items[0].fieldRef.fieldPath: Unsupported value: "status.podIP"',
  ],
];

test('what is wrong with a pod is said of its field, in upstream’s words', () => {
  assert.deepEqual(errorsOf({}), []);
  for (const [container, message] of containers) {
    const errors = errorsOf(container);
    assert.ok(
      errors.some((error) => error.includes(message)),
      `${message}\n${errors.join('\n')}`,
    );
  }
  for (const [spec, message] of pods) {
    const errors = errorsOf({}, spec);
    assert.ok(
      errors.some((error) => error.includes(message)),
      `${message}\n${errors.join('\n')}`,
    );
  }
});

test('what is right with a pod is taken', () => {
  const right: Partial<Container> = {
    ports: [
      { name: 'web', containerPort: 80, hostPort: 8080 },
      { name: 'dns', containerPort: 80, hostPort: 8080, protocol: 'UDP' },
      { containerPort: 81, hostPort: 8080, hostIP: '127.0.0.1' },
    ],
    env: [
      { name: 'A', valueFrom: { fieldRef: { fieldPath: "metadata.labels['example.com/A']" } } },
      { name: 'B', valueFrom: { resourceFieldRef: { resource: 'limits.memory', divisor: '1Mi' } } },
    ],
    envFrom: [{ prefix: 'P_', secretRef: { name: 's' } }],
    resources: {
      limits: { cpu: '2', memory: '1Gi', 'example.com/gpu': '1', 'hugepages-2Mi': '4Mi' },
      requests: { cpu: '2000m', 'example.com/gpu': '1', 'hugepages-2Mi': '4Mi' },
    },
    securityContext: {
      allowPrivilegeEscalation: false,
      seccompProfile: { type: 'Localhost', localhostProfile: 'a/b' },
    },
    livenessProbe: { httpGet: { port: 'web' }, terminationGracePeriodSeconds: 5 },
    lifecycle: { preStop: { sleep: { seconds: 30 } } },
  };
  assert.deepEqual(
    errorsOf(right, {
      dnsPolicy: 'None',
      dnsConfig: { nameservers: ['1.1.1.1', '::1'], searches: ['.', 'a.b.'], options: [{ name: 'ndots', value: '2' }] },
    }).filter((error) => !error.startsWith('spec.containers')),
    [],
  );
  assert.deepEqual(errorsOf(right), []);
});

test('of a pod that is there little may change', () => {
  const toleration = { key: 'a', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 5 };
  const old = {
    metadata: {},
    spec: { containers: [main], activeDeadlineSeconds: 60, tolerations: [toleration] },
  };
  const changed = (spec: Partial<PodSpec>): string =>
    validatePodUpdate({ metadata: {}, spec: { ...old.spec, ...spec } }, old)
      .map(({ field, message }) => `${field}: ${message}`)
      .join('\n');
  assert.equal(changed({ containers: [{ ...main, image: 'app:2' }], activeDeadlineSeconds: 30 }), '');
  assert.equal(changed({ tolerations: [{ ...toleration, tolerationSeconds: 9 }, { operator: 'Exists' }] }), '');
  assert.match(changed({ tolerations: [] }), /^spec.tolerations: Forbidden: existing toleration can not be modified/);
  assert.match(changed({ activeDeadlineSeconds: 61 }), /must be less than or equal to previous value$/);
  const { activeDeadlineSeconds: _none, ...without } = old.spec;
  assert.match(
    validatePodUpdate({ metadata: {}, spec: without }, old)
      .map(({ message }) => message)
      .join(),
    /must not update from a positive integer to nil value/,
  );
  assert.match(changed({ containers: [main, main] }), /^spec.containers: Forbidden: pod updates may not add or remove/);
  assert.match(
    changed({ containers: [{ ...main, args: ['x'] }] }),
    /^spec: Forbidden: pod updates may not change fields/,
  );
});
