import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Image } from '#engine/engine.ts';
import { podObject } from '#testing/agent-pod.ts';
import type { Stored } from '../kinds/kind.ts';
import type { ConfigMap, Container, Pod, PodSpec, Secret } from '../kinds/types/core.ts';
import { containerSpecOf, limitsOf, sandboxSpecOf } from './container-spec.ts';
import type { PodPlace } from './downward.ts';
import { AgentError } from './errors.ts';
import { expand } from './environment.ts';
import { credentialsFor, defaultPolicy } from './images.ts';
import { dnsOf } from './pod-dns.ts';
import { qosClassOf } from './qos.ts';
import { parseQuantity } from './quantity.ts';
import { specHash } from './records.ts';
import type { References } from './references.ts';
import { refusalOf, rejectionOf, strictPolicy } from './security.ts';
import { filesOf } from './volume-files.ts';
import type { PreparedVolume } from './volumes.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const configMaps: Record<string, ConfigMap> = {
  settings: { metadata: { name: 'settings' }, data: { COLOR: 'blue', 'bad key': 'x', file: 'content' } },
};
const secrets: Record<string, Secret> = {
  login: { metadata: { name: 'login' }, data: { PASSWORD: base64('s3cret') } },
};

function image(user?: string): Image {
  const config = { architecture: 'amd64', os: 'linux', layers: [], ...(user !== undefined && { user }) };
  return { id: 'sha256:1', digest: 'sha256:2', references: [], sizeBytes: 1, createdAt: 0, config };
}

const place: PodPlace = {
  nodeName: 'node-1',
  hostIps: ['192.0.2.1'],
  podIps: ['10.0.0.9'],
  allocatable: { cpus: 4, memoryBytes: 2 ** 30, diskBytes: 0 },
};
const references: References = {
  configMap: async (name) => configMaps[name],
  secret: async (name) => secrets[name],
  serviceAccountToken: async () => 'a-token',
  services: async () => [],
};

async function specOf(
  container: Partial<Container>,
  pod: Omit<Partial<PodSpec>, 'containers'> = {},
  imageUser?: string,
  annotations: Record<string, string> = {},
) {
  const own = { 'node.sampan.dev/pids': '64', note: 'hi', ...annotations };
  const object = podObject('a', { ...pod, containers: [container] }, own);
  const [definition] = object.spec?.containers ?? [];
  assert.ok(definition);
  const spec = await containerSpecOf({
    pod: object,
    container: definition,
    image: image(imageUser),
    sandbox: 'f'.repeat(64),
    attempt: 2,
    crashes: 1,
    place,
    references,
    volumes: await preparedOf(object),
  });
  return spec;
}

/** As `pod-volumes.ts` does, for what needs no host. */
async function preparedOf(pod: Stored<Pod>): Promise<Map<string, PreparedVolume>> {
  const prepared = new Map<string, PreparedVolume>();
  for (const volume of pod.spec?.volumes ?? []) {
    const files = await filesOf({ pod, place, references }, volume);
    if (files) prepared.set(volume.name, { kind: 'files', files });
    else if (volume.emptyDir?.medium === 'Memory') prepared.set(volume.name, { kind: 'memory', sizeBytes: 2 ** 24 });
    else prepared.set(volume.name, { kind: 'path', path: `/host/${volume.name}` });
  }
  return prepared;
}

const rejectsWith = (code: string, message: RegExp) => (error: unknown) =>
  error instanceof AgentError && error.code === code && message.test(error.message);

test('environment: every kind of source, in order, with expansion', async () => {
  const { env, command, args } = await specOf({
    envFrom: [{ configMapRef: { name: 'settings' }, prefix: 'C_' }, { secretRef: { name: 'gone', optional: true } }],
    env: [
      { name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      { name: 'NOTE', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['note']" } } },
      { name: 'PASS', valueFrom: { secretKeyRef: { name: 'login', key: 'PASSWORD' } } },
      { name: 'MEMORY', valueFrom: { resourceFieldRef: { resource: 'limits.memory', divisor: '1Mi' } } },
      { name: 'CPU', valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } } },
      { name: 'URL', value: 'http://$(NAME)@$(IP)/$(UNKNOWN)/$$(NAME)' },
      { name: 'NONE', valueFrom: { configMapKeyRef: { name: 'settings', key: 'none', optional: true } } },
    ],
    command: ['run', '$(C_COLOR)'],
    args: ['$(URL)'],
    resources: { limits: { memory: '64Mi' } },
  });
  assert.deepEqual(env, [
    'C_COLOR=blue',
    'C_file=content',
    'NAME=a',
    'IP=10.0.0.9',
    'NOTE=hi',
    'PASS=s3cret',
    'MEMORY=64',
    'CPU=4',
    'URL=http://a@10.0.0.9/$(UNKNOWN)/$(NAME)',
  ]);
  assert.deepEqual(command, ['run', 'blue']);
  assert.deepEqual(args, ['http://a@10.0.0.9/$(UNKNOWN)/$(NAME)']);
  assert.equal(expand('$$$(A) $ $(', new Map([['A', '1']])), '$1 $ $(');
});

test('environment: what is missing and not optional is named', async () => {
  const secretKey = { name: 'X', valueFrom: { secretKeyRef: { name: 'login', key: 'none' } } };
  await assert.rejects(
    specOf({ env: [secretKey] }),
    rejectsWith('CreateContainerConfigError', /couldn't find key none in Secret default\/login/),
  );
  await assert.rejects(
    specOf({ envFrom: [{ secretRef: { name: 'gone' } }] }),
    rejectsWith('CreateContainerConfigError', /secret "gone" not found/),
  );
});

test('volumes: each kind becomes its mount', async () => {
  const { mounts } = await specOf(
    {
      volumeMounts: [
        { name: 'scratch', mountPath: '/scratch' },
        { name: 'memory', mountPath: '/memory' },
        { name: 'settings', mountPath: '/settings' },
        { name: 'settings', mountPath: '/etc/file', subPath: 'file' },
        { name: 'all', mountPath: '/all' },
      ],
    },
    {
      volumes: [
        { name: 'scratch', emptyDir: {} },
        { name: 'memory', emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } },
        { name: 'settings', configMap: { name: 'settings', items: [{ key: 'file', path: 'file', mode: 0o400 }] } },
        {
          name: 'all',
          projected: {
            sources: [
              { secret: { name: 'login', items: [{ key: 'PASSWORD', path: 'deep/password' }] } },
              { downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.annotations' } }] } },
              { serviceAccountToken: { path: 'token' } },
            ],
          },
        },
      ],
    },
  );
  assert.deepEqual(mounts, [
    { kind: 'bind', source: '/host/scratch', target: '/scratch' },
    { kind: 'shared', name: 'memory', target: '/memory', sizeBytes: 2 ** 24, memory: true },
    {
      kind: 'files',
      target: '/settings',
      files: [{ path: 'file', content: Buffer.from('content'), mode: 0o400 }],
      readOnly: true,
    },
    {
      kind: 'files',
      target: '/etc/file',
      subPath: 'file',
      files: [{ path: 'file', content: Buffer.from('content'), mode: 0o400 }],
      readOnly: true,
    },
    {
      kind: 'files',
      target: '/all',
      readOnly: true,
      files: [
        { path: 'deep/password', content: Buffer.from('s3cret'), mode: 0o644 },
        { path: 'labels', content: Buffer.from('node.sampan.dev/pids="64"\nnote="hi"'), mode: 0o644 },
        { path: 'token', content: Buffer.from('a-token'), mode: 0o644 },
      ],
    },
  ]);
});

test('volumes: no way out, and what does not fit is named', async () => {
  const mount = { volumeMounts: [{ name: 'v', mountPath: '/v' }] };
  const escape = { name: 'v', configMap: { name: 'settings', items: [{ key: 'file', path: '../out' }] } };
  await assert.rejects(specOf(mount, { volumes: [escape] }), rejectsWith('FailedMount', /must not contain "\.\."/));
  const missing = { name: 'v', secret: { secretName: 'login', items: [{ key: 'none', path: 'x' }] } };
  await assert.rejects(
    specOf(mount, { volumes: [missing] }),
    rejectsWith('FailedMount', /references non-existent secret key: none/),
  );
  await assert.rejects(specOf(mount), rejectsWith('CreateContainerConfigError', /no volume of this name/));
  const unknown = { volumeMounts: [{ name: 'v', mountPath: '/v', subPathExpr: 'a/$(NOBODY)' }] };
  await assert.rejects(
    specOf(unknown, { volumes: [{ name: 'v', emptyDir: {} }] }),
    rejectsWith('CreateContainerConfigError', /no environment variable "NOBODY"/),
  );
});

test('volumes: with a group its members may read; a token is private where it has one reader', async () => {
  const volumes = [
    {
      name: 'v',
      projected: { sources: [{ configMap: { name: 'settings' } }, { serviceAccountToken: { path: 'token' } }] },
    },
  ];
  const mount = { volumeMounts: [{ name: 'v', mountPath: '/v' }] };
  const modes = async (securityContext: NonNullable<PodSpec['securityContext']>) => {
    const { mounts = [] } = await specOf(mount, { volumes, securityContext });
    const [first] = mounts;
    assert.equal(first?.kind, 'files');
    return first.files
      .filter(({ path }) => /^(file|token)$/.test(path))
      .map(({ mode = 0, uid }) => [mode.toString(8), uid]);
  };
  assert.deepEqual(await modes({}), [
    ['644', undefined],
    ['644', undefined],
  ]);
  assert.deepEqual(await modes({ fsGroup: 7 }), [
    ['644', undefined],
    ['640', undefined],
  ]);
  assert.deepEqual(await modes({ runAsUser: 5 }), [
    ['644', undefined],
    ['600', 5],
  ]);
});

test('security and resources', async () => {
  const spec = await specOf(
    {
      securityContext: { runAsUser: 1000, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
      resources: { requests: { cpu: '250m' }, limits: { memory: '64Mi', cpu: '1500m', 'ephemeral-storage': '2Gi' } },
    },
    { securityContext: { runAsGroup: 2000, fsGroup: 3000, supplementalGroups: [4000], runAsNonRoot: true } },
  );
  assert.equal(spec.user, '1000:2000');
  assert.deepEqual(spec.supplementaryGroups, [4000, 3000]);
  assert.equal(spec.noNewPrivileges, true);
  const may = await specOf({ securityContext: { allowPrivilegeEscalation: true } });
  assert.equal(may.noNewPrivileges, false);
  assert.equal(spec.readOnlyRoot, true);
  assert.deepEqual(spec.capabilities, { add: [], drop: ['ALL'] });
  assert.deepEqual(spec.limits, {
    memoryBytes: 2 ** 26,
    cpuMillis: 1500,
    cpuShares: 256,
    diskBytes: 2 ** 31,
    pids: 64,
  });
  assert.equal(spec.name, 'main_2');
  assert.equal(spec.labels?.['node.sampan.dev/restart-count'], '2');
  const plain = podObject('a');
  const [container] = plain.spec?.containers ?? [];
  assert.ok(container);
  assert.deepEqual(limitsOf(plain, container), { cpuShares: 2, diskBytes: 2 ** 30 });
});

test('runAsNonRoot is checked against the image', async () => {
  const securityContext = { runAsNonRoot: true };
  await assert.rejects(
    specOf({ securityContext }),
    rejectsWith('CreateContainerConfigError', /image will run as root/),
  );
  await assert.rejects(
    specOf({ securityContext }, {}, 'app'),
    rejectsWith('CreateContainerConfigError', /non-numeric user \(app\)/),
  );
  assert.equal((await specOf({ securityContext }, {}, '1000')).user, undefined);
  const named = await specOf({ securityContext }, {}, 'app', { 'node.sampan.dev/named-users': 'true' });
  assert.deepEqual([named.user, named.nonRoot], [undefined, true], 'the engine looks it up');
});

test('what is refused is named', () => {
  const refused = (pod: Parameters<typeof podObject>[1]): string | undefined =>
    refusalOf(podObject('a', pod), strictPolicy);
  assert.equal(refused({}), undefined);
  assert.match(refused({ hostPID: true }) ?? '', /spec\.hostPID/);
  assert.match(
    refused({ containers: [{ securityContext: { privileged: true } }] }) ?? '',
    /container "main": securityContext\.privileged/,
  );
  assert.match(refused({ volumes: [{ name: 'v', hostPath: { path: '/' } }] }) ?? '', /volume "v": hostPath/);
  const hostPort = { containerPort: 80, hostPort: 80 };
  assert.equal(refused({ containers: [{ ports: [hostPort] }] }), undefined);
  assert.match(refused({ containers: [{ ports: [{ ...hostPort, protocol: 'SCTP' }] }] }) ?? '', /hostPort 80.*SCTP/);
  const sysctls = [{ name: 'net.core.somaxconn', value: '1' }];
  assert.deepEqual(rejectionOf(podObject('a', { securityContext: { sysctls } }), strictPolicy), {
    reason: 'SysctlForbidden',
    message: 'Pod was rejected: forbidden sysctl: "net.core.somaxconn" not allowlisted',
  });
  for (const risk of ['unconfined', 'host-namespaces', 'privileged'] as const) {
    const policy = { ...strictPolicy, risks: [risk] };
    const isRefused = (spec: Parameters<typeof podObject>[1]): boolean =>
      refusalOf(podObject('a', spec), policy) !== undefined;
    assert.equal(isRefused({ containers: [{ securityContext: { procMount: 'Unmasked' } }] }), false, risk);
    assert.equal(isRefused({ hostPID: true }), risk === 'unconfined', risk);
    assert.equal(isRefused({ containers: [{ securityContext: { privileged: true } }] }), risk !== 'privileged', risk);
  }
});

test('sandboxes: labels, hostname, egress, name resolution', () => {
  const pod = podObject(
    'a',
    { hostname: 'web', dnsConfig: { nameservers: ['10.0.0.1'], options: [{ name: 'ndots', value: '2' }] } },
    { 'node.sampan.dev/egress': 'internet' },
  );
  const { dns } = dnsOf(pod);
  const spec = sandboxSpecOf(pod, 'node-1', dns);
  assert.equal(spec.name, 'default/a/uid-a');
  assert.equal(spec.hostname, 'web');
  assert.equal(spec.egress, 'internet');
  assert.ok(spec.dns?.servers?.includes('10.0.0.1'));
  assert.ok(spec.dns?.options?.includes('ndots:2'));
  assert.equal(spec.labels?.['io.kubernetes.pod.uid'], 'uid-a');
});

test('images: default policies and pull secrets', () => {
  assert.equal(defaultPolicy('host:5000/app'), 'Always');
  assert.equal(defaultPolicy('host:5000/app:latest'), 'Always');
  assert.equal(defaultPolicy('host:5000/app:1'), 'IfNotPresent');
  assert.equal(defaultPolicy('host/app@sha256:1'), 'IfNotPresent');
  const auths = {
    'https://host:5000/v2/': { auth: base64('me:pass:word') },
    other: { username: 'x', password: 'y' },
    'host:5000/app': { username: 'a', password: 'b' },
  };
  const secret = { metadata: { name: 's' }, data: { '.dockerconfigjson': base64(JSON.stringify({ auths })) } };
  // The one that names more of the path first.
  for (const reference of ['host:5000/app:1', 'host:5000/app/x:1'])
    assert.deepEqual(credentialsFor(reference, secret), [
      { username: 'a', password: 'b' },
      { username: 'me', password: 'pass:word' },
    ]);
  assert.deepEqual(credentialsFor('host:5000/application:1', secret), [{ username: 'me', password: 'pass:word' }]);
  assert.deepEqual(credentialsFor('host:50001/app', secret), []);
  assert.deepEqual(credentialsFor('x/y', { metadata: {}, data: { '.dockerconfigjson': base64('{') } }), []);
});

test('quantities, quality of service, and the hash of a definition', () => {
  assert.deepEqual(['100m', '1.5Gi', '1e3', '2k', '0.5', '5E'].map(parseQuantity), [
    0.1,
    1.5 * 2 ** 30,
    1000,
    2000,
    0.5,
    5e18,
  ]);
  assert.throws(() => parseQuantity('1 GB'), /cannot read quantity "1 GB"/);
  const resources = { limits: { cpu: '1', memory: '1Gi' } };
  assert.equal(qosClassOf(podObject('a', { containers: [{ resources }] })), 'Guaranteed');
  assert.equal(qosClassOf(podObject('a', { containers: [{ resources: { requests: { cpu: '1' } } }] })), 'Burstable');
  assert.equal(specHash({ name: 'a', image: 'x' }), specHash({ image: 'x', name: 'a', resources }));
  assert.notEqual(specHash({ name: 'a', image: 'x' }), specHash({ name: 'a', image: 'y' }));
});
