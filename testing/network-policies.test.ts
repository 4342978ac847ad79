/**
 * NetworkPolicies between nine real pods, a, b and c in the namespaces x, y and z, in the cases of the published conformance tests: every pod
 * tries to reach every pod, from its own network.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createConnection } from 'node:net';
import { after, afterEach, before, test } from 'node:test';
import { ApiError } from '#cluster/client/client.ts';
import { createEndpointSliceController } from '#cluster/controllers/endpoint-slice.ts';
import { namespaces, networkPolicies, pods, services } from '#cluster/kinds/resources.ts';
import type { PodSpec } from '#cluster/kinds/types/core.ts';
import type { NetworkPolicySpec } from '#cluster/kinds/types/networking.ts';
import type { NetworkPolicies } from '#cluster/network/policy/policy.ts';
import { purgeTables, tableName } from '#cluster/network/tables.ts';
import { SystemError } from '#engine/sys/libc.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { openPolicies } from './agent-policies.ts';
import { claimOctet } from './claim-octet.ts';
import { connects, conversation, echo, exchange } from './pod-sockets.ts';
import { until } from './until.ts';

const SPACES = ['x', 'y', 'z'];
const NAMES = ['a', 'b', 'c'];
const places = SPACES.flatMap((space) => NAMES.map((name) => `${space}/${name}`));
/** A packet that was dropped is answered by nobody: for so long it is waited for. */
const PATIENCE = 150;

let bed: AgentFixture;
let policies: NetworkPolicies;
const echoes: Disposable[] = [];
const where = new Map<string, { ip: string; path: string }>();

before(async () => {
  bed = await agentFixture(await claimOctet(), {
    inCluster: true,
    controllers: [createEndpointSliceController()],
    agent: (api) => {
      policies = openPolicies(api);
      return { admit: (...words) => policies.admit(...words) };
    },
  });
  for (const name of SPACES) await bed.client.create(namespaces, { metadata: { name, labels: { ns: name } } });
  await Promise.all(places.map((place) => run(place, serving)));
  for (const { path } of where.values()) echoes.push(echo(path, 8080));
});
after(async () => {
  for (const one of echoes) one[Symbol.dispose]();
  await policies.close();
  await purgeTables(bed.api.network.instance);
  await bed.close();
});
afterEach(async () => {
  for (const namespace of SPACES) await bed.client.deleteCollection(networkPolicies, { namespace });
});

const serving: Partial<PodSpec> = {
  containers: [
    {
      name: 'main',
      command: ['sh', '-c', 'httpd -p 8080; exec httpd -f -p 8081'],
      ports: [{ name: 'web', containerPort: 8080 }],
    },
  ],
};

async function run(place: string, spec: Partial<PodSpec>): Promise<void> {
  const [namespace = '', name = ''] = place.split('/');
  const containers = (spec.containers ?? []).map((one) => ({
    image: bed.image,
    imagePullPolicy: 'IfNotPresent',
    ...one,
  }));
  const object = {
    metadata: { name, namespace, labels: { pod: name } },
    spec: { nodeName: bed.nodeName, terminationGracePeriodSeconds: 0, ...spec, containers },
  };
  // The account of a new namespace comes a little later.
  await until(() =>
    bed.client.create(pods, object).then(
      () => true,
      (error: unknown) => (error instanceof ApiError && error.code === 403 ? false : Promise.reject(error)),
    ),
  );
  await until(async () => {
    const { status } = await bed.client.get(pods, name, namespace);
    const sandbox = bed.engine.sandboxes().find((one) => one.name.startsWith(`${place}/`));
    if (sandbox === undefined || status?.podIP === undefined || status.phase === 'Pending') return false;
    where.set(place, { ip: status.podIP, path: sandbox.networkNamespacePath });
    return true;
  });
}

async function apply(place: string, spec: NetworkPolicySpec, annotations: Record<string, string> = {}): Promise<void> {
  const [namespace = '', name = ''] = place.split('/');
  await bed.client.create(networkPolicies, { metadata: { name, namespace, annotations }, spec });
}

type Protocol = 'tcp' | 'udp';

async function reaches(from: string, to: { ip: string; port: number; protocol: Protocol }): Promise<boolean> {
  const { path = '' } = where.get(from) ?? {};
  const { ip, port, protocol } = to;
  const signal = AbortSignal.timeout(PATIENCE);
  try {
    if (protocol === 'tcp') await connects(path, { ip, port, signal });
    else await exchange(path, { ip, port, signal, message: Buffer.from('hello') });
    return true;
  } catch (error) {
    // Not listening yet, at the beginning.
    if (signal.aborted || (error instanceof SystemError && ['ECONNREFUSED', 'ECONNRESET'].includes(error.code)))
      return false;
    throw error;
  }
}

/** Which of them reach which, `x/a y/b`. */
async function matrix(port: number, protocol: Protocol): Promise<string[]> {
  const pairs = places.flatMap((from) => places.map((to) => [from, to] as const));
  const found = await Promise.all(
    pairs.map(async ([from, to]) => {
      const { ip = '' } = where.get(to) ?? {};
      return (await reaches(from, { ip, port, protocol })) ? [`${from} ${to}`] : [];
    }),
  );
  return found.flat();
}

/** Pods always reach themselves. */
async function allowed(
  isAllowed: (from: string, to: string) => boolean,
  { port = 8080, protocol = 'tcp' as Protocol } = {},
): Promise<void> {
  const wanted = places.flatMap((from) =>
    places.filter((to) => from === to || isAllowed(from, to)).map((to) => `${from} ${to}`),
  );
  let last: string[] = [];
  try {
    await until(async () => {
      last = await matrix(port, protocol);
      return last.join() === wanted.join();
    }, 10);
  } catch (error) {
    const extra = last.filter((pair) => !wanted.includes(pair));
    const missing = wanted.filter((pair) => !last.includes(pair));
    throw new Error(`port ${port}: reached ${extra.join(', ')}; not reached ${missing.join(', ')}`, { cause: error });
  }
}

const all = (): boolean => true;
const inside = (space: string) => (place: string) => place.startsWith(`${space}/`);
const isX = inside('x');
const pod = (...names: string[]) => ({ matchExpressions: [{ key: 'pod', operator: 'In', values: names }] });
const ns = (name: string) => ({ matchLabels: { ns: name } });
const onlyA = { matchLabels: { pod: 'a' } };

test('without policies everybody reaches everybody, by TCP and UDP', async () => {
  await allowed(all);
  await allowed(all, { protocol: 'udp' });
});

test('deny all ingress, deny all egress, deny both', async () => {
  await apply('x/deny-in', { podSelector: {}, policyTypes: ['Ingress'] });
  await allowed((_from, to) => !isX(to));
  await apply('x/deny-out', { podSelector: {}, policyTypes: ['Egress'] });
  await allowed((from, to) => !isX(from) && !isX(to));
  await bed.client.delete(networkPolicies, 'deny-in', { namespace: 'x' });
  await allowed((from) => !isX(from));
});

test('peers by pod, by namespace, by both, by either', async () => {
  const rule = (from: NonNullable<NetworkPolicySpec['ingress']>[number]['from']): NetworkPolicySpec => ({
    podSelector: onlyA,
    ingress: [{ ...(from && { from }) }],
  });
  const toA = (is: (from: string) => boolean) => (from: string, to: string) => to !== 'x/a' || is(from);
  await apply('x/one', rule([{ podSelector: { matchLabels: { pod: 'b' } } }]));
  await allowed(toA((from) => from === 'x/b'));
  const change = async (spec: NetworkPolicySpec): Promise<void> => {
    const old = await bed.client.get(networkPolicies, 'one', 'x');
    await bed.client.update(networkPolicies, { ...old, spec });
  };
  await change(rule([{ namespaceSelector: ns('y') }]));
  await allowed(toA(inside('y')));
  await change(rule([{ namespaceSelector: ns('y'), podSelector: pod('b', 'c') }]));
  await allowed(toA((from) => from === 'y/b' || from === 'y/c'));
  await change(rule([{ namespaceSelector: ns('y') }, { podSelector: pod('c') }]));
  await allowed(toA((from) => from.startsWith('y/') || from === 'x/c'));
  await change(rule([{ namespaceSelector: { matchExpressions: [{ key: 'ns', operator: 'NotIn', values: ['x'] }] } }]));
  await allowed(toA((from) => !isX(from)));
  await change(rule(undefined));
  await allowed(all);
});

test('ports: by number, by name, in ranges; policies add up', async () => {
  await apply('x/web', { podSelector: onlyA, ingress: [{ ports: [{ port: 'web' }] }] });
  await allowed(all);
  await allowed((_from, to) => to !== 'x/a', { port: 8081 });
  await allowed((_from, to) => to !== 'x/a', { protocol: 'udp' });
  await apply('x/more', {
    podSelector: onlyA,
    ingress: [
      {
        from: [{ namespaceSelector: ns('z') }],
        ports: [
          { port: 8081, endPort: 8090 },
          { port: 8080, protocol: 'UDP' },
        ],
      },
    ],
  });
  await allowed((from, to) => to !== 'x/a' || from.startsWith('z/'), { port: 8081 });
  await allowed((from, to) => to !== 'x/a' || from.startsWith('z/'), { protocol: 'udp' });
  await allowed(all);
});

test('egress: both sides must agree; blocks of addresses without some of them', async () => {
  await apply('x/out', {
    podSelector: onlyA,
    policyTypes: ['Egress'],
    egress: [{ to: [{ namespaceSelector: ns('y') }], ports: [{ port: 'web' }] }],
  });
  await allowed((from, to) => from !== 'x/a' || to.startsWith('y/'));
  await apply('y/in', { podSelector: pod('b'), ingress: [{ from: [{ namespaceSelector: ns('z') }] }] });
  await allowed((from, to) => (to === 'y/b' ? from.startsWith('z/') : from !== 'x/a' || to.startsWith('y/')));
  await bed.client.delete(networkPolicies, 'in', { namespace: 'y' });
  const { ip = '' } = where.get('z/c') ?? {};
  await apply('x/block', {
    podSelector: onlyA,
    policyTypes: ['Egress'],
    egress: [{ to: [{ ipBlock: { cidr: bed.api.network.podCidr, except: [`${ip}/32`] } }] }],
  });
  await allowed((from, to) => from !== 'x/a' || to !== 'z/c');
});

test('labels of namespaces and pods that change', async () => {
  await apply('x/in', { podSelector: {}, ingress: [{ from: [{ namespaceSelector: ns('y'), podSelector: onlyA }] }] });
  await allowed((from, to) => !isX(to) || from === 'y/a');
  const label = (resource: 'namespace' | 'pod', value: string) =>
    resource === 'namespace'
      ? bed.client.patch(namespaces, 'y', { type: 'merge', body: { metadata: { labels: { ns: value } } } })
      : bed.client.patch(
          pods,
          'b',
          { type: 'merge', body: { metadata: { labels: { pod: value } } } },
          { namespace: 'y' },
        );
  await label('pod', 'a');
  await allowed((from, to) => !isX(to) || from === 'y/a' || from === 'y/b');
  await label('namespace', 'else');
  await allowed((_from, to) => !isX(to));
  await label('namespace', 'y');
  await label('pod', 'b');
  await allowed((from, to) => !isX(to) || from === 'y/a');
});

test('a Service is judged by the pod behind it; this host reaches its pods', async () => {
  await bed.client.create(services, {
    metadata: { name: 'web', namespace: 'x' },
    spec: { selector: { pod: 'a' }, ports: [{ port: 8000, targetPort: 8080 }] },
  });
  const { spec } = await bed.client.get(services, 'web', 'x');
  const to = { ip: spec?.clusterIP ?? '', port: 8000, protocol: 'tcp' as Protocol };
  const tried = async (from: string): Promise<boolean> => await reaches(from, to).catch(() => false);
  await until(() => tried('y/b'));
  await apply('x/in', {
    podSelector: onlyA,
    ingress: [{ from: [{ namespaceSelector: ns('z') }], ports: [{ port: 8080 }] }],
  });
  await until(async () => !(await tried('y/b')));
  assert.equal(await tried('z/b'), true);
  assert.equal(await tried('x/a'), true, 'itself, by its Service');
  const { ip: host = '' } = where.get('x/a') ?? {};
  const socket = createConnection({ host, port: 8080 });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  socket.destroy();
});

/** A port where nobody listens refuses what comes through. */
async function answers(ip: string, port: number): Promise<boolean> {
  const signal = AbortSignal.timeout(PATIENCE);
  return await connects(where.get('x/a')?.path ?? '', { ip, port, signal }).then(
    () => true,
    (error: unknown) => !signal.aborted && error instanceof SystemError && error.code === 'ECONNREFUSED',
  );
}

test('names are asked where policies let the pods of kube-dns be reached, and this node by its address', async () => {
  const { podCidr, serviceCidr } = bed.api.network;
  const [names, node] = [serviceCidr.replace(/0\/24$/, '10'), podCidr.replace(/0\/24$/, '1')];
  await until(async () => (await answers(names, 53)) && (await answers(node, 9)));
  const egress = (name: string, rules: NetworkPolicySpec['egress']): Promise<void> =>
    apply(name, { podSelector: {}, policyTypes: ['Egress'], ...(rules && { egress: rules }) });
  await egress('x/deny', []);
  await until(async () => !(await answers(names, 53)) && !(await answers(node, 9)));
  const servers = { namespaceSelector: {}, podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } } };
  await egress('x/names', [{ to: [servers], ports: [{ port: 53, protocol: 'TCP' }] }]);
  await until(() => answers(names, 53));
  assert.deepEqual([await answers(names, 54), await answers(node, 9)], [false, false]);
  await egress('x/node', [{ to: [{ ipBlock: { cidr: `${node}/32` } }] }]);
  await until(() => answers(node, 9));
});

test('what is connected is cut when nothing allows it any more, and goes on when something does', async () => {
  const { ip = '' } = where.get('y/a') ?? {};
  using talk = conversation(where.get('x/a')?.path ?? '', { ip, port: 8080 });
  await until(() => talk.isAnswered(PATIENCE));
  await apply('y/deny', { podSelector: {}, policyTypes: ['Ingress'] });
  await until(async () => !(await talk.isAnswered(PATIENCE)));
  await bed.client.delete(networkPolicies, 'deny', { namespace: 'y' });
  await until(() => talk.isAnswered(PATIENCE));
});

test('a pod that starts is closed before its first instruction', async () => {
  await apply('z/deny', { podSelector: {}, policyTypes: ['Egress'] });
  await allowed((from) => !from.startsWith('z/'));
  const { ip = '' } = where.get('y/a') ?? {};
  const command = [
    'sh',
    '-c',
    `nc -w 1 ${ip} 8080 < /dev/null 2> /dev/null && echo open || echo closed; exec sleep 1000`,
  ];
  await run('z/late', { containers: [{ name: 'main', command }] });
  const log = await bed.client.podLog({ name: 'late', namespace: 'z' }, { follow: true });
  const [line] = await Array.fromAsync(log.take(1), String);
  assert.equal(line, 'closed\n');
  assert.equal(await inTable('z/deny'), true);
  await bed.client.delete(pods, 'late', { namespace: 'z', gracePeriodSeconds: 0 });
});

async function inTable(what: string): Promise<boolean> {
  const name = `sampan-${bed.api.network.instance}.policy`;
  return execFileSync('nft', ['list', 'table', 'inet', name], { encoding: 'utf8' }).includes(what);
}

test('the rules stay while nobody is there, are taken over, and put back', async () => {
  await apply('x/deny', { podSelector: {}, policyTypes: ['Ingress'] });
  await allowed((_from, to) => !isX(to));
  await policies.close();
  await allowed((_from, to) => !isX(to));
  await bed.client.delete(networkPolicies, 'deny', { namespace: 'x' });
  await apply('y/deny', { podSelector: {}, policyTypes: ['Ingress'] });
  assert.equal(await inTable('x/deny'), true);
  policies = openPolicies(bed.api);
  await policies.ready;
  await allowed((_from, to) => !to.startsWith('y/'));
  execFileSync('nft', ['delete', 'table', 'inet', `sampan-${bed.api.network.instance}.policy`]);
  await allowed((_from, to) => !to.startsWith('y/'));
});

test('a connection that is to be logged is in the kernel’s log, and one that is not to be is not', async () => {
  const mark = `logged-${process.pid}`;
  const { ip = '' } = where.get('y/b') ?? {};
  const egress = [8080, 8081].map((port) => ({ to: [{ ipBlock: { cidr: `${ip}/32` } }], ports: [{ port }] }));
  const spec: NetworkPolicySpec = { podSelector: onlyA, policyTypes: ['Egress'], egress };
  await apply(`x/${mark}`, spec, { 'policy.sampan.dev/log-egress': '[0]' });
  const rules = () => execFileSync('nft', ['list', 'table', 'inet', tableName(bed.api.network.instance, 'policy')]);
  await until(async () => String(rules()).includes(`log prefix "OK_x/${mark} "`));
  await until(() => reaches('x/a', { ip, port: 8081, protocol: 'tcp' }));
  await until(() => reaches('x/a', { ip, port: 8080, protocol: 'tcp' }));
  // The kernel logs for its first network namespace alone, unless it is told otherwise; only that one has this file.
  const log = () => spawnSync('dmesg', { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (!existsSync('/proc/sys/net/netfilter/nf_log_all_netns') || log().status !== 0) return;
  const lines = () =>
    log()
      .stdout.split('\n')
      .filter((line) => line.includes(`OK_x/${mark} `));
  await until(async () => lines().some((line) => line.includes(`DST=${ip} `) && line.includes('DPT=8080 ')));
  assert.deepEqual(
    lines().filter((line) => line.includes('DPT=8081 ')),
    [],
  );
});
