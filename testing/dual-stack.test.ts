/** Pods and Services with addresses of both families, as their users meet them: real pods, the kernel's own rules, kubectl, a neighbour outside. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { createEndpointSliceController } from '#cluster/controllers/endpoint-slice.ts';
import { createLoadBalancerController } from '#cluster/controllers/load-balancer.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { endpointSlices, networkPolicies, pods, services } from '#cluster/kinds/resources.ts';
import type { Container, PodSpec, Service } from '#cluster/kinds/types/core.ts';
import type { NetworkPolicies } from '#cluster/network/policy/policy.ts';
import { purgeTables } from '#cluster/network/tables.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { openPolicies } from './agent-policies.ts';
import { claimOctet } from './claim-octet.ts';
import { hostTools } from './host-tools.ts';
import { until } from './until.ts';
import { whoContainer } from './who-container.ts';
import { isReady } from './pods.ts';

const namespace = 'default';
const octet = await claimOctet();
const host = `fd00:198:0:${octet}::1`;
const neighbour = `fd00:198:0:${octet}::2`;
const pool = [`198.18.${octet}.200/30`, `fd00:198:0:${octet}::c8/126`];
const outside = `sampan-out6-${process.pid}`;
const link = `svcsix${octet}`;
const hostPort = 31_000 + octet;
/** At one address. */
const ownPort = 31_300 + octet;
let bed: AgentFixture;
let policies: NetworkPolicies | undefined;

const program = promisify(execFile);
const ip = (...words: string[]) => program('ip', words);
const kubectl = async (...words: string[]): Promise<string> =>
  (await program('kubectl', words, { env: { ...process.env, KUBECONFIG: bed.kubeconfig } })).stdout;

before(async () => {
  bed = await agentFixture(octet, {
    inCluster: true,
    dualStack: true,
    policy: { hostPaths: ['/'] },
    loadBalancerPool: pool,
    controllers: [createEndpointSliceController(), createLoadBalancerController(pool)],
    agent: (api) => ({
      address6: host,
      // One for all starts of the agent.
      admit: (policies ??= openPolicies(api, { families: [4, 6] })).admit,
    }),
  });
  await ip('netns', 'add', outside);
  await ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', outside);
  await ip('-6', 'address', 'add', `${host}/64`, 'dev', link, 'nodad');
  await ip('link', 'set', link, 'up');
  await ip('-n', outside, '-6', 'address', 'add', `${neighbour}/64`, 'dev', 'eth0', 'nodad');
  await ip('-n', outside, 'link', 'set', 'eth0', 'up');
  await Promise.all([
    serve('one', { containers: [container({ ports: [{ name: 'web', containerPort: 8080, hostPort }] })] }),
    serve('two', { containers: [container({ ports: [{ containerPort: 8080, hostPort: ownPort, hostIP: host }] })] }),
    serve('client', hostTools({ '/curl': '/usr/bin/curl' }), { app: 'client' }),
  ]);
});

after(async () => {
  await policies?.close();
  await purgeTables(bed.network.instance);
  await bed.close();
  await ip('netns', 'delete', outside);
});

const fields = [
  { name: 'POD_IPS', valueFrom: { fieldRef: { fieldPath: 'status.podIPs' } } },
  { name: 'HOST_IPS', valueFrom: { fieldRef: { fieldPath: 'status.hostIPs' } } },
];
const container = (more: Partial<Container> = {}): Container => whoContainer(bed.image, { env: fields, ...more });

interface Served extends Partial<PodSpec> {
  volumeMounts?: NonNullable<Container['volumeMounts']>;
}

async function serve(
  name: string,
  { volumeMounts = [], ...spec }: Served = {},
  labels: Record<string, string> = { app: 'web' },
): Promise<void> {
  await bed.client.create(pods, {
    metadata: { name, namespace, labels },
    spec: {
      terminationGracePeriodSeconds: 0,
      nodeName: bed.nodeName,
      containers: [container({ volumeMounts })],
      ...spec,
    },
  });
  await bed.until(name, 'Ready', isReady, 60);
}

const ipsOf = async (name: string): Promise<string[]> =>
  ((await bed.client.get(pods, name, namespace)).status?.podIPs ?? []).map(({ ip: one }) => one ?? '');
const ip6Of = async (name: string): Promise<string> => (await ipsOf(name))[1] ?? '';

async function inPod(pod: string, ...command: string[]): Promise<string> {
  const session = await bed.client.exec({ name: pod, namespace }, { command });
  const [out, { code }] = await Promise.all([text(session.stdout), session.exited]);
  return code === 0 ? out.trim() : `failed: ${code}`;
}

const curlFlags = ['-sS', '-g', '--noproxy', '*', '--max-time', '5'];
const url = (address: string, port: number): string => `http://[${address}]:${port}/cgi-bin/who`;
/** busybox puts brackets around addresses of IPv6. */
const plain = (answer: string): string => answer.replace(/\[(.*)\]/, '$1').trim();
const fromPod = async (where: string): Promise<string> => plain(await inPod('client', '/curl', ...curlFlags, where));

/** curl's exit status where it fails: 7 refused, 28 no answer. */
async function curl(where: string, prefix: string[] = []): Promise<string> {
  const [command = '', ...rest] = [...prefix, 'curl', ...curlFlags, where];
  try {
    return plain((await program(command, rest)).stdout);
  } catch (error) {
    return `failed: ${(error as { code?: number }).code}`;
  }
}
const fromHost = (where: string): Promise<string> => curl(where);
const fromOutside = (where: string): Promise<string> => curl(where, ['ip', 'netns', 'exec', outside]);

/** Makes it, and resolves when the rules have both pods, of both families. */
async function service(name: string, spec: Service['spec']): Promise<Stored<Service>> {
  await bed.client.create(services, {
    metadata: { name, namespace },
    spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }], ...spec },
  });
  let endpointSlice = '0';
  const stored = await bed.client.get(services, name, namespace);
  await until(async () => {
    const { items } = await bed.client.list(endpointSlices, { namespace });
    const own = items.filter(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === name);
    endpointSlice = String(Math.max(0, ...own.map(({ metadata }) => Number(metadata.resourceVersion))));
    const full = own.filter(({ endpoints }) => endpoints.filter(({ conditions }) => conditions?.ready).length === 2);
    return full.length === stored.spec?.ipFamilies?.length;
  }, 60);
  await bed.services.settled({ service: stored.metadata.resourceVersion, endpointSlice });
  return stored;
}

test('a pod has an address of each family, the same place of both ranges, and is told both', async () => {
  const [four = '', six = ''] = await ipsOf('one');
  assert.match(four, new RegExp(`^10\\.97\\.${octet}\\.\\d+$`));
  assert.equal(six, `fd00:97:0:${octet}::${Number(four.split('.')[3]).toString(16)}`);
  const { status } = await bed.client.get(pods, 'one', namespace);
  assert.equal(status?.podIP, four);
  assert.deepEqual(status?.hostIPs, [{ ip: '127.0.0.1' }, { ip: host }]);
  assert.equal(await inPod('one', 'sh', '-c', 'echo $POD_IPS $HOST_IPS'), `${four},${six} 127.0.0.1,${host}`);
  assert.match(await inPod('one', 'cat', '/etc/hosts'), new RegExp(`^${six}\tone$`, 'm'));
  const node = JSON.parse(await kubectl('get', 'node', bed.nodeName, '-o', 'json')) as { spec: { podCIDRs: string[] } };
  assert.deepEqual(node.spec.podCIDRs, [`10.97.${octet}.0/24`, `fd00:97:0:${octet}::/64`]);
});

test('pods reach each other by IPv6, this host reaches them, and nobody speaks as another', async () => {
  const six = await ip6Of('one');
  assert.equal(await fromPod(url(six, 8080)), `one ${await ip6Of('client')}`);
  assert.match(await fromHost(url(six, 8080)), /^one /);
  // What nobody has is answered at once.
  assert.equal(await fromHost(url(`fd00:97:0:${octet}::dead`, 80)), 'failed: 7');
  const route = await inPod('client', 'ip', '-6', 'route');
  assert.match(route, new RegExp(`default via fd00:97:0:${octet}::1 dev eth0`));
});

test('a pod that may reach the internet alone reaches no pod, no Service and not this host by IPv6 either', async () => {
  const { volumes, volumeMounts } = hostTools({ '/curl': '/usr/bin/curl' });
  await bed.client.create(pods, {
    metadata: { name: 'build', namespace, annotations: { 'node.sampan.dev/egress': 'internet' } },
    spec: {
      terminationGracePeriodSeconds: 0,
      nodeName: bed.nodeName,
      volumes,
      containers: [container({ volumeMounts })],
    },
  });
  await bed.until('build', 'Ready', isReady, 60);
  const gateway = `fd00:97:0:${octet}::1`;
  const reaches = (where: string): Promise<string> => inPod('build', '/curl', ...curlFlags, '--max-time', '1', where);
  for (const where of [url(await ip6Of('one'), 8080), url(gateway, Number(new URL(bed.url).port)), url(host, hostPort)])
    assert.equal(await reaches(where), 'failed: 28', where);
  // The same from one that may reach the cluster.
  assert.match(await fromPod(url(await ip6Of('one'), 8080)), /^one /);
  await kubectl('delete', 'pod', 'build', '--now');
});

test('a Service of both families: each leads to pods by its own, sources are kept, and a pod reaches itself', async () => {
  const { spec } = await service('both', { ipFamilyPolicy: 'PreferDualStack' });
  assert.deepEqual(spec?.ipFamilies, ['IPv4', 'IPv6']);
  const [, six = ''] = spec?.clusterIPs ?? [];
  assert.match(six, new RegExp(`^fd00:240:0:${octet}::[0-9a-f]+$`));
  const seen = new Set<string>();
  await until(async () => seen.add(await fromPod(url(six, 80))).size >= 2, 60);
  const source = await ip6Of('client');
  assert.deepEqual([...seen].sort(), [`one ${source}`, `two ${source}`]);
  const gateway = `fd00:97:0:${octet}::1`;
  assert.match(await fromHost(url(six, 80)), new RegExp(`^(one|two) ${gateway}$`));
  assert.equal(await fromHost(url(six, 81)), 'failed: 7');
  await bed.client.create(services, {
    metadata: { name: 'itself', namespace },
    spec: { selector: { app: 'client' }, ipFamilies: ['IPv6'], ports: [{ port: 80, targetPort: 8080 }] },
  });
  const itself = (await bed.client.get(services, 'itself', namespace)).spec?.clusterIP ?? '';
  await until(async () => (await fromPod(url(itself, 80))) === `client ${gateway}`, 60);
});

test('session affinity, a node port and a published port of IPv6', async () => {
  const { spec } = await service('sticky', {
    type: 'NodePort',
    sessionAffinity: 'ClientIP',
    externalTrafficPolicy: 'Local',
    ipFamilyPolicy: 'RequireDualStack',
    ipFamilies: ['IPv6', 'IPv4'],
  });
  const [six = ''] = spec?.clusterIPs ?? [];
  const first = await fromPod(url(six, 80));
  assert.match(first, /^(one|two) fd00/);
  for (let round = 0; round < 6; round++) assert.equal(await fromPod(url(six, 80)), first);
  const nodePort = spec?.ports?.[0]?.nodePort ?? 0;
  assert.match(await fromOutside(url(host, nodePort)), new RegExp(`^(one|two) ${neighbour}$`));
  assert.equal(await fromOutside(url(host, hostPort)), `one ${neighbour}`);
  assert.equal(await fromOutside(url(host, ownPort)), `two ${neighbour}`);
});

test('a load balancer of both families: an address of each, which neighbours reach on their own link, and both go with it', async () => {
  await service('balanced', {
    type: 'LoadBalancer',
    ipFamilyPolicy: 'RequireDualStack',
    externalTrafficPolicy: 'Local',
  });
  await kubectl('wait', 'service/balanced', '--for', 'jsonpath={.status.loadBalancer.ingress}', '--timeout', '60s');
  const { metadata, status } = await bed.client.get(services, 'balanced', namespace);
  await bed.services.settled({ service: metadata.resourceVersion });
  const [four = '', six = ''] = (status?.loadBalancer?.ingress ?? []).map((one) => one.ip);
  assert.deepEqual([four, six], [`198.18.${octet}.200`, `fd00:198:0:${octet}::c8`]);
  assert.match(await kubectl('get', 'service', 'balanced'), new RegExp(` ${four},${six} +80:`));
  const onLink = async (): Promise<string> => (await ip('-6', 'address', 'show', 'dev', link)).stdout;
  assert.match(await onLink(), new RegExp(`${six}/128 .*deprecated`));
  await until(async () => (await fromOutside(url(six, 80))).endsWith(` ${neighbour}`), 60);
  assert.match(await fromHost(url(six, 80)), /^(one|two) /);
  assert.match(await fromPod(url(six, 80)), /^(one|two) /);
  assert.match(await fromHost(`http://${four}/cgi-bin/who`), /^(one|two) /);
  // Nothing else of this host answers there.
  const other = createServer((_, response) => response.end('other')).listen(0, '::');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  assert.equal(await fromOutside(url(host, port)), 'other');
  assert.equal(await fromOutside(url(six, port)), 'failed: 7');
  other.close();
  // Whoever takes it away: it is back with the next change.
  await ip('-6', 'address', 'delete', `${six}/128`, 'dev', link);
  await kubectl('annotate', 'service', 'balanced', 'looked=again');
  await until(async () => (await onLink()).includes(`${six}/128`), 60);
  await until(async () => (await fromOutside(url(six, 80))).endsWith(` ${neighbour}`), 60);
  await kubectl('delete', 'service', 'balanced');
  await until(async () => !(await onLink()).includes(`${six}/128`), 60);
});

test('kubectl makes a Service of two families of one, and back', async () => {
  await service('grows', {});
  const families = async (): Promise<string> =>
    await kubectl('get', 'service', 'grows', '-o', 'jsonpath={.spec.ipFamilies} {.spec.clusterIPs[*]}');
  const before = await families();
  assert.match(before, /^\["IPv4"\] 10\.\S+$/);
  await kubectl('patch', 'service', 'grows', '-p', '{"spec":{"ipFamilyPolicy":"RequireDualStack"}}');
  assert.match(await families(), /^\["IPv4","IPv6"\] 10\.\S+ fd00:240\S+$/);
  await kubectl('patch', 'service', 'grows', '-p', '{"spec":{"ipFamilyPolicy":"SingleStack"}}');
  assert.equal(await families(), before);
});

test('a policy holds for both families, and a block for its own', async () => {
  const [four = '', six = ''] = await ipsOf('one');
  const answers = async (): Promise<string> => {
    const by = async (where: string): Promise<boolean> =>
      (await inPod('client', '/curl', ...curlFlags, '--max-time', '1', where)).startsWith('one ');
    return `${await by(`http://${four}:8080/cgi-bin/who`)} ${await by(url(six, 8080))}`;
  };
  const hold = (from: object[]): Promise<unknown> =>
    bed.client.create(networkPolicies, {
      metadata: { name: 'closed', namespace },
      spec: { podSelector: { matchLabels: { app: 'web' } }, ingress: [{ from }] },
    });
  const withdraw = () => bed.client.delete(networkPolicies, 'closed', { namespace });
  await until(async () => (await answers()) === 'true true', 60);
  await hold([{ podSelector: { matchLabels: { app: 'nobody' } } }]);
  await until(async () => (await answers()) === 'false false', 60);
  await withdraw();
  await hold([{ ipBlock: { cidr: 'fd00:97::/48' } }]);
  await until(async () => (await answers()) === 'false true', 60);
  await withdraw();
  await hold([{ podSelector: { matchLabels: { app: 'client' } } }]);
  await until(async () => (await answers()) === 'true true', 60);
  await withdraw();
});

test('pods keep both addresses when the agent comes back', async () => {
  const before = await ipsOf('one');
  await bed.stopNode();
  await bed.startNode();
  assert.deepEqual(await ipsOf('one'), before);
  assert.equal(await fromPod(url(before[1] ?? '', 8080)), `one ${await ip6Of('client')}`);
});
