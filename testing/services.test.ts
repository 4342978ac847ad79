/** Services as their users meet them: real pods, the kernel's own rules, stock kubectl, and a neighbour outside. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { createEndpointSliceController } from '#cluster/controllers/endpoint-slice.ts';
import { createEndpointSliceMirroring } from '#cluster/controllers/endpoint-slice-mirroring.ts';
import { createLoadBalancerController } from '#cluster/controllers/load-balancer.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { endpointSlices, pods, services } from '#cluster/kinds/resources.ts';
import type { Container, Pod, PodSpec, Service } from '#cluster/kinds/types/core.ts';
import { tableName } from '#cluster/network/services/rules.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { hostTools } from './host-tools.ts';
import { until } from './until.ts';
import { whoContainer, whoServer } from './who-container.ts';
import { isReady } from './pods.ts';

const namespace = 'default';
const octet = await claimOctet();
const pool = `198.18.${octet}.200/30`;
const host = `198.18.${octet}.1`;
const neighbour = `198.18.${octet}.2`;
const outside = `sampan-out-${process.pid}`;
const link = `svcout${octet}`;
let bed: AgentFixture;

const program = promisify(execFile);
const ip = (...words: string[]) => program('ip', words);

before(async () => {
  bed = await agentFixture(octet, {
    inCluster: true,
    policy: { hostPaths: ['/'] },
    loadBalancerPool: [pool],
    controllers: [
      createEndpointSliceController(),
      createEndpointSliceMirroring(),
      createLoadBalancerController([pool]),
    ],
  });
  await ip('netns', 'add', outside);
  await ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', outside);
  await ip('address', 'add', `${host}/24`, 'dev', link);
  await ip('link', 'set', link, 'up');
  await ip('-n', outside, 'address', 'add', `${neighbour}/24`, 'dev', 'eth0');
  await ip('-n', outside, 'link', 'set', 'eth0', 'up');
  await ip('-n', outside, 'route', 'add', 'default', 'via', host);
  await Promise.all([
    serve('one'),
    serve('two'),
    serve('client', hostTools({ '/curl': '/usr/bin/curl' }), { app: 'client' }),
  ]);
});

after(async () => {
  await bed.close();
  await ip('netns', 'delete', outside);
});

const kubectl = async (...words: string[]): Promise<string> =>
  (await program('kubectl', words, { env: { ...process.env, KUBECONFIG: bed.kubeconfig } })).stdout;

const container = (more: Partial<Container> = {}): Container => whoContainer(bed.image, more);

interface Served extends Partial<PodSpec> {
  volumeMounts?: NonNullable<Container['volumeMounts']>;
}

async function serve(
  name: string,
  { volumeMounts = [], ...spec }: Served = {},
  labels: Record<string, string> = { app: 'web' },
): Promise<Stored<Pod>> {
  const containers = [container({ volumeMounts })];
  await bed.client.create(pods, {
    metadata: { name, namespace, labels },
    spec: { terminationGracePeriodSeconds: 0, nodeName: bed.nodeName, containers, ...spec },
  });
  return await bed.until(name, 'Ready', isReady);
}

const podIp = async (name: string): Promise<string> =>
  (await bed.client.get(pods, name, namespace)).status?.podIP ?? '';

/** Makes it, and resolves when the rules have as many endpoints. */
async function service(name: string, spec: Service['spec'], endpoints: number): Promise<Stored<Service>> {
  await bed.client.create(services, { metadata: { name, namespace }, spec: { selector: { app: 'web' }, ...spec } });
  return await settled(name, endpoints);
}

async function settled(name: string, endpoints: number): Promise<Stored<Service>> {
  let endpointSlice = '0';
  await until(async () => {
    const { items } = await bed.client.list(endpointSlices, { namespace });
    const own = items.filter(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === name);
    const ready = own.flatMap((slice) => slice.endpoints).filter(({ conditions }) => conditions?.ready);
    endpointSlice = String(Math.max(0, ...own.map(({ metadata }) => Number(metadata.resourceVersion))));
    return own.length > 0 && ready.length === endpoints;
  });
  const stored = await bed.client.get(services, name, namespace);
  await bed.services.settled({ service: stored.metadata.resourceVersion, endpointSlice });
  return stored;
}

const curlFlags = ['-sS', '--noproxy', '*', '--max-time', '3'];

/** busybox writes addresses of IPv4 as IPv6 knows them. */
const plain = (answer: string): string => answer.replace(/\[::ffff:(.*)\]/, '$1').trim();

async function fromPod(pod: string, url: string): Promise<string> {
  const command = ['/curl', ...curlFlags, url];
  const session = await bed.client.exec({ name: pod, namespace }, { command });
  const [out, { code }] = await Promise.all([text(session.stdout), session.exited]);
  return code === 0 ? plain(out) : `failed: ${code}`;
}

/** curl's exit status where it fails: 7 refused, 28 no answer. */
async function curl(words: string[], prefix: string[] = []): Promise<string> {
  const [command = '', ...rest] = [...prefix, 'curl', ...curlFlags, ...words];
  try {
    return plain((await program(command, rest)).stdout);
  } catch (error) {
    return `failed: ${(error as { code?: number }).code}`;
  }
}
/** Not for long: an answer that is dropped never comes. */
const dropped = async (url: string): Promise<boolean> =>
  (await curl(['--max-time', '1', url], ['ip', 'netns', 'exec', outside])) === 'failed: 28';
const fromHost = (url: string): Promise<string> => curl([url]);
const fromOutside = (url: string): Promise<string> => curl([url], ['ip', 'netns', 'exec', outside]);
const who = (address: string, port: number): string => `http://${address}:${port}/cgi-bin/who`;

test('kubectl expose: both pods serve, to a pod and to this host, and sources are kept between pods', async () => {
  await kubectl(
    'expose',
    'pod',
    'one',
    '--name',
    'exposed',
    '--port',
    '80',
    '--target-port',
    'web',
    '--selector',
    'app=web',
  );
  const { spec } = await settled('exposed', 2);
  const url = who(spec?.clusterIP ?? '', 80);
  const answers = await Promise.all(Array.from({ length: 24 }, () => fromHost(url)));
  const gateway = bed.network.podCidr.replace('0/24', '1');
  assert.deepEqual([...new Set(answers)].sort(), [`one ${gateway}`, `two ${gateway}`]);
  const source = await podIp('client');
  const seen = new Set<string>();
  await until(async () => seen.add(await fromPod('client', url)).size === 2);
  assert.deepEqual([...seen].sort(), [`one ${source}`, `two ${source}`]);
});

test('a pod reaches itself through its service', async () => {
  await bed.client.create(services, {
    metadata: { name: 'itself', namespace },
    spec: { selector: { app: 'client' }, ports: [{ port: 80, targetPort: 8080 }] },
  });
  const { spec } = await settled('itself', 1);
  assert.equal(
    await fromPod('client', who(spec?.clusterIP ?? '', 80)),
    `client ${bed.network.podCidr.replace('0/24', '1')}`,
  );
});

test('what nobody serves is refused at once, and so is an address that no service has', async () => {
  const ports = [
    { name: 'web', port: 80 },
    { name: 'dns', port: 53, protocol: 'UDP' },
  ];
  const { spec } = await service('empty', { selector: { app: 'nobody' }, ports }, 0);
  for (const address of [spec?.clusterIP ?? '', bed.network.serviceCidr.replace('0/24', '77')]) {
    assert.equal(await fromHost(`http://${address}/`), 'failed: 7', address);
    assert.equal(await fromPod('client', `http://${address}/`), 'failed: 7', address);
    const socket = createSocket('udp4');
    const refused = once(socket, 'error', { signal: AbortSignal.timeout(30_000) });
    socket.connect(53, address, () => socket.send('?'));
    assert.match(String((await refused)[0]), /ECONNREFUSED/, address);
    socket.close();
  }
});

test('UDP: a client that goes on sending is led to another pod when its own is gone', async () => {
  const { volumes, volumeMounts } = hostTools({ '/node': process.execPath });
  const program = `const s = require('dgram').createSocket('udp4').bind(5353);
    s.on('message', (_, from) => s.send(require('os').hostname(), from.port, from.address));`;
  const {
    ports: _web,
    readinessProbe: _probe,
    ...plain
  } = container({ command: ['/node', '-e', program], volumeMounts });
  const start = (name: string) => serve(name, { containers: [plain], volumes }, { app: 'udp' });
  await Promise.all([start('udp-a'), start('udp-b')]);
  const ports = [{ name: 'echo', port: 53, targetPort: 5353, protocol: 'UDP' }];
  const { spec } = await service('udp', { selector: { app: 'udp' }, ports }, 2);
  const socket = createSocket('udp4');
  const ask = async (): Promise<string> => {
    const send = () => socket.send('?', 53, spec?.clusterIP ?? '');
    // What comes before the program listens is lost.
    const timer = setInterval(send, 200);
    try {
      const answer = once(socket, 'message', { signal: AbortSignal.timeout(60_000) });
      send();
      return String((await answer)[0]).trim();
    } finally {
      clearInterval(timer);
    }
  };
  const first = await ask();
  assert.equal(await ask(), first);
  await kubectl('delete', 'pod', first, '--now');
  await settled('udp', 1);
  await until(async () => (await ask()) === (first === 'udp-a' ? 'udp-b' : 'udp-a'));
  socket.close();
});

test('session affinity keeps a source with its pod, also when others come and go and when the rules are taken over', async () => {
  const ports = [{ port: 80, targetPort: 8080 }];
  const { spec } = await service('sticky', { sessionAffinity: 'ClientIP', ports }, 2);
  const url = who(spec?.clusterIP ?? '', 80);
  const first = await fromPod('client', url);
  assert.match(first, /^(one|two) /);
  await serve('three');
  await settled('sticky', 3);
  for (let round = 0; round < 6; round++) assert.equal(await fromPod('client', url), first);
  await bed.stopNode();
  await bed.startNode();
  for (let round = 0; round < 6; round++) assert.equal(await fromPod('client', url), first);
  await kubectl('delete', 'pod', 'three', '--now');
  await settled('sticky', 2);
});

test('node ports: from outside, from a pod and from this host; with the policy Local the source is kept', async () => {
  const ports = [{ port: 80, targetPort: 8080 }];
  const cluster = await service('node-port', { type: 'NodePort', ports }, 2);
  const port = cluster.spec?.ports?.[0]?.nodePort ?? 0;
  const gateway = bed.network.podCidr.replace('0/24', '1');
  for (const answer of [
    await fromOutside(who(host, port)),
    await fromHost(who(host, port)),
    await fromPod('client', who(host, port)),
  ])
    assert.match(answer, new RegExp(`^(one|two) ${gateway}$`));
  const local = await service('node-port-local', { type: 'NodePort', externalTrafficPolicy: 'Local', ports }, 2);
  const second = local.spec?.ports?.[0]?.nodePort ?? 0;
  assert.match(await fromOutside(who(host, second)), new RegExp(`^(one|two) ${neighbour}$`));
  assert.equal(await fromHost(who('127.0.0.1', second)), 'failed: 7');
  // All of its pods are on another node: outside it drops, inside it serves.
  await bed.client.create(services, {
    metadata: { name: 'far', namespace },
    spec: { type: 'NodePort', externalTrafficPolicy: 'Local', ports: [{ port: 80, targetPort: 8080 }] },
  });
  await bed.client.create(endpointSlices, {
    metadata: { name: 'far-1', namespace, labels: { 'kubernetes.io/service-name': 'far' } },
    addressType: 'IPv4',
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    endpoints: [{ addresses: [await podIp('one')], conditions: { ready: true }, nodeName: 'elsewhere' }],
  });
  const far = await settled('far', 1);
  assert.ok(await dropped(who(host, far.spec?.ports?.[0]?.nodePort ?? 0)));
  assert.match(await fromPod('client', who(far.spec?.clusterIP ?? '', 80)), /^one /);
  await kubectl('patch', 'service', 'far', '-p', '{"spec":{"internalTrafficPolicy":"Local"}}');
  await settled('far', 1);
  assert.equal(await fromPod('client', who(far.spec?.clusterIP ?? '', 80)), 'failed: 28');
});

test('a load balancer of the pool: reached by its neighbours as one of them, from its ranges alone, with a health check', async () => {
  // The neighbour has known another node with the address: it is told at once that it is here now.
  const first = `198.18.${octet}.200`;
  const known = ['neighbour', 'replace', first, 'lladdr', '02:00:00:00:00:01', 'dev', 'eth0', 'nud', 'stale'];
  await ip('-n', outside, ...known);
  await bed.client.create(services, {
    metadata: { name: 'balanced', namespace },
    spec: {
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
      selector: { app: 'web' },
      ports: [{ port: 80, targetPort: 8080 }],
    },
  });
  await kubectl('wait', 'service/balanced', '--for', 'jsonpath={.status.loadBalancer.ingress}', '--timeout', '20s');
  const { spec, status } = await settled('balanced', 2);
  const address = status?.loadBalancer?.ingress?.[0]?.ip ?? '';
  assert.equal(address, first);
  const { stdout: shown } = await ip('-json', 'link', 'show', 'dev', link);
  const [{ address: mac } = { address: '' }] = JSON.parse(shown) as { address: string }[];
  await until(async () => (await ip('-n', outside, 'neighbour', 'show', first)).stdout.includes(mac), 30);
  await until(async () => /^(one|two) /.test(await fromOutside(who(address, 80))));
  assert.match(await fromOutside(who(address, 80)), new RegExp(`^(one|two) ${neighbour}$`));
  assert.match(await fromHost(who(address, 80)), /^(one|two) /);
  assert.match(await fromPod('client', who(address, 80)), /^(one|two) /);
  // Nothing else of this host answers there.
  assert.equal(await fromOutside(`http://${address}:${new URL(bed.url).port}/`), 'failed: 7');
  const health = JSON.parse(await fromOutside(`http://${host}:${spec?.healthCheckNodePort}/`)) as object;
  assert.deepEqual(health, { service: { namespace, name: 'balanced' }, localEndpoints: 2, serviceProxyHealthy: true });
  await kubectl('patch', 'service', 'balanced', '-p', '{"spec":{"loadBalancerSourceRanges":["203.0.113.0/24"]}}');
  await settled('balanced', 2);
  assert.ok(await dropped(who(address, 80)));
  await kubectl('delete', 'service', 'balanced');
  await until(async () => !(await ip('address', 'show', 'dev', 'lo')).stdout.includes(address));
});

test('external addresses, and Endpoints written by hand for a service without a selector', async () => {
  const address = `203.0.113.${octet}`;
  const spec = { externalIPs: [address], ports: [{ name: 'http', port: 8000 }] };
  await bed.client.create(services, { metadata: { name: 'by-hand', namespace }, spec });
  await bed.client.request({
    method: 'POST',
    path: `/api/v1/namespaces/${namespace}/endpoints`,
    body: {
      metadata: { name: 'by-hand' },
      subsets: [{ addresses: [{ ip: await podIp('two') }], ports: [{ name: 'http', port: 8080 }] }],
    },
  });
  await settled('by-hand', 1);
  assert.match(await fromOutside(who(address, 8000)), /^two /);
  await bed.client.request({ method: 'DELETE', path: `/api/v1/namespaces/${namespace}/endpoints/by-hand` });
  await until(async () => (await fromOutside(who(address, 8000))) === 'failed: 7');
});

test('a pod that ends serves on while nobody else does, and keeps the connections that it has', async () => {
  const ending = container({
    command: ['sh', '-c', `(while :; do nc -l -p 9000 -e cat; done) & ${whoServer}`],
    lifecycle: { preStop: { exec: { command: ['sleep', '20'] } } },
  });
  await serve('ending', { terminationGracePeriodSeconds: 30, containers: [ending] }, { app: 'ending' });
  const ports = [
    { name: 'web', port: 80, targetPort: 8080 },
    { name: 'echo', port: 90, targetPort: 9000 },
  ];
  const { spec } = await service('ending', { selector: { app: 'ending' }, ports }, 1);
  const address = spec?.clusterIP ?? '';
  const socket = connect(90, address);
  const echo = async (line: string): Promise<string> => {
    socket.write(line);
    return String((await once(socket, 'data', { signal: AbortSignal.timeout(30_000) }))[0]);
  };
  assert.equal(await echo('before'), 'before');
  await kubectl('delete', 'pod', 'ending', '--wait=false');
  await settled('ending', 0);
  assert.match(await fromHost(who(address, 80)), /^ending /);
  await serve('fresh', {}, { app: 'ending' });
  await settled('ending', 1);
  for (let round = 0; round < 6; round++) assert.match(await fromHost(who(address, 80)), /^fresh /);
  assert.equal(await echo('after'), 'after');
  socket.destroy();
});

test('a pod is told of the services of its namespace, unless it asks not to be, and of the API server', async () => {
  const { spec } = await bed.client.get(services, 'exposed', namespace);
  const variables = async (name: string, enableServiceLinks: boolean): Promise<string> => {
    await serve(name, { enableServiceLinks }, { app: 'told' });
    const session = await bed.client.exec({ name, namespace }, { command: ['env'] });
    return await text(session.stdout);
  };
  const told = await variables('told', true);
  assert.ok(told.includes(`EXPOSED_PORT_80_TCP_ADDR=${spec?.clusterIP}\n`), told);
  assert.match(told, new RegExp(`^KUBERNETES_SERVICE_HOST=10\\.240\\.${octet}\\.1$`, 'm'));
  const untold = await variables('untold', false);
  assert.doesNotMatch(untold, /EXPOSED/);
});

test('a port of this host leads to a pod, for itself too; who comes second is refused', async () => {
  const port = 31_000 + octet;
  const ports = [{ name: 'web', containerPort: 8080, hostPort: port }];
  const holder = container({ ports });
  const url = who(host, port);
  await serve('holder', { ...hostTools({ '/curl': '/usr/bin/curl' }), containers: [holder] }, { app: 'holder' });
  assert.equal(await fromOutside(url), `holder ${neighbour}`);
  assert.match(await fromPod('client', url), /^holder /);
  assert.match(await fromHost(who('127.0.0.1', port)), /^holder /);
  const after = async (name: string): Promise<void> => {
    await bed.client.create(pods, {
      metadata: { name, namespace },
      spec: { terminationGracePeriodSeconds: 0, nodeName: bed.nodeName, containers: [holder] },
    });
  };
  await after('second');
  const { status } = await bed.until('second', 'refused', (pod) => pod?.status?.phase === 'Failed');
  assert.deepEqual([status?.reason, status?.message], ['NodePorts', 'Pod was rejected: Predicate NodePorts failed']);
  await kubectl('delete', 'pod', 'holder', '--now');
  await bed.until('holder', 'gone', (pod) => pod === undefined);
  await after('third');
  await bed.until('third', 'Ready', isReady);
  assert.match(await fromOutside(url), /^third /);
  await kubectl('delete', 'pod', 'second', 'third', '--now');
  await bed.until('third', 'gone', (pod) => pod === undefined);
  assert.equal(await fromOutside(url), 'failed: 7');
});

test('rules that somebody takes out are put back: one, or all', async () => {
  const { spec } = await bed.client.get(services, 'exposed', namespace);
  const url = who(spec?.clusterIP ?? '', 80);
  const table = tableName(bed.network.instance);
  for (const command of [
    ['flush', 'chain', 'inet', table, 'frontends'],
    ['flush', 'map', 'inet', table, 'services'],
    ['delete', 'table', 'inet', table],
  ]) {
    await program('nft', command);
    await until(async () => /^(one|two) /.test(await fromHost(url)), 30);
  }
});
