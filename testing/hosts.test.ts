/** Two hosts that know of each other and of the server by the network alone: a cluster on both, one flat network between their pods. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { after, before, test } from 'node:test';
import { certificateSigningRequests, networkPolicies, nodes, pods, services } from '#cluster/kinds/resources.ts';
import type { NetworkPolicySpec } from '#cluster/kinds/types/networking.ts';
import { holderOf } from '#cluster/network/services/load-balancers.ts';
import { overlaps } from '#lib/routes.ts';
import { run } from '#lib/run.ts';
import { until as untilObjects } from './control-plane.ts';
import { CLUSTER, type Host, type Hosts, openHosts } from './hosts.ts';
import { image, isReady, namespace, request } from './hosts-apps.ts';
import { type HostsServer, startHostsServer } from './hosts-server.ts';
import { kubectlMissing } from './kubectl.ts';
import { until } from './until.ts';

let hosts: Hosts;
let server: HostsServer;
let one: Host;
let two: Host;

before(async () => {
  hosts = await openHosts(2);
  server = await startHostsServer({
    address: hosts.address,
    leaseInterval: 1000,
    leaseGrace: 20_000,
    tolerationSeconds: 300,
    loadBalancerPool: [pool()],
    dualStack: true,
  });
  [one, two] = hosts.list as [Host, Host];
  // As where Docker is: what nobody accepts is not forwarded.
  await Promise.all(hosts.list.map((host) => host.run('iptables', '-P', 'FORWARD', 'DROP')));
  await Promise.all(hosts.list.map((host) => host.start(server.node)));
  await Promise.all(hosts.list.map((host) => runPod(`web-${host.name}`, host)));
});
after(async () => {
  await hosts[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** Of the hosts' own network. */
const pool = (): string => hosts.address.replace(/\.1$/, '.240/29');

/** Serves its own name over HTTP on 8080, and echoes lines on 7000. */
async function runPod(name: string, host: Host, annotations: Record<string, string> = {}): Promise<void> {
  const script = `mkdir /tmp/w; echo ${name} > /tmp/w/name; echo hello from ${name}; head -c 3000000 /dev/zero > /tmp/w/large; exec httpd -f -p 8080 -h /tmp/w`;
  await server.client.create(pods, {
    metadata: { name, namespace, annotations, labels: { app: 'web', host: host.name } },
    spec: {
      nodeName: host.name,
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'main',
          image,
          imagePullPolicy: 'IfNotPresent',
          command: ['sh', '-c', script],
          readinessProbe: { tcpSocket: { port: 8080 } },
        },
      ],
    },
  });
  await untilObjects(server.client, pods, namespace, (list) =>
    list.some((pod) => pod.metadata.name === name && isReady(pod)),
  );
}

async function ipOf(name: string): Promise<string> {
  return (await server.client.get(pods, name, namespace)).status?.podIP ?? '';
}

/** Runs a line of sh in a pod; its output, errors included. */
async function inPod(name: string, script: string): Promise<string> {
  const session = await server.client.exec({ name, namespace }, { command: ['sh', '-c', `{ ${script}; } 2>&1`] });
  let said = '';
  for await (const chunk of session.stdout) said += String(chunk);
  await session.exited;
  return said.trim();
}

/** What the pod at an address serves below a path. */
function get(from: string, ip: string, path: string): Promise<string> {
  return inPod(from, request(ip, path));
}

test('each node has its certificate, its range and its address from nobody but the server', async () => {
  const list = (await server.client.list(nodes)).items;
  assert.deepEqual(
    list.map(({ metadata, status }) => [metadata.name, status?.addresses?.[0]?.address]),
    hosts.list.map(({ name, address }) => [name, address]),
  );
  const ranges = list.map(({ spec }) => spec?.podCIDR);
  assert.deepEqual(ranges.toSorted(), ['10.96.0.0/24', '10.96.1.0/24']);
  const requests = (await server.client.list(certificateSigningRequests)).items;
  assert.deepEqual(
    requests
      .map(({ spec, status }) => `${spec.username} ${spec.signerName} ${Boolean(status?.certificate)}`)
      .toSorted(),
    [
      'system:bootstrap:abcdef kubernetes.io/kube-apiserver-client-kubelet true',
      'system:bootstrap:abcdef kubernetes.io/kube-apiserver-client-kubelet true',
      'system:node:host-1 kubernetes.io/kubelet-serving true',
      'system:node:host-2 kubernetes.io/kubelet-serving true',
    ],
  );
});

test('pods of two hosts reach each other by their own addresses, with packets as large as their links carry', async () => {
  const [a, b] = [await ipOf('web-host-1'), await ipOf('web-host-2')];
  assert.equal(await get('web-host-1', b, '/name'), 'web-host-2');
  assert.equal(await get('web-host-2', a, '/name'), 'web-host-1');
  assert.equal(await inPod('web-host-1', `${request(b, '/large')} | wc -c`), '3000000');
  assert.equal(await inPod('web-host-1', 'cat /sys/class/net/eth0/mtu'), '1450');
});

test('by IPv6 too: pods, with packets as large; a Service of both families; its name; and a policy', async () => {
  const ip6Of = async (name: string): Promise<string> =>
    (await server.client.get(pods, name, namespace)).status?.podIPs?.[1]?.ip ?? '';
  const [a, b] = [await ip6Of('web-host-1'), await ip6Of('web-host-2')];
  for (const [ip, host] of [
    [a, one],
    [b, two],
  ] as const) {
    const range = (await server.client.get(nodes, host.name)).spec?.podCIDRs?.[1] ?? '';
    assert.ok(overlaps(ip, range), `${ip} of ${host.name} is not of ${range}`);
  }
  assert.equal(await get('web-host-1', b, '/name'), 'web-host-2');
  assert.equal(await get('web-host-2', a, '/name'), 'web-host-1');
  assert.equal(await inPod('web-host-1', `${request(b, '/large')} | wc -c`), '3000000');
  assert.equal((await one.run('sh', '-c', request(b, '/name'))).trim(), 'web-host-2');
  assert.match(await inPod('web-host-1', 'nc -w 5 fd00:96:0:77::5 80'), /unreachable|refused|No route/i);
  const { spec } = await server.client.create(services, {
    metadata: { name: 'dual', namespace },
    spec: {
      ipFamilyPolicy: 'RequireDualStack',
      selector: { app: 'web' },
      ports: [{ port: 8080, targetPort: 8080 }],
    },
  });
  const [, six = ''] = spec?.clusterIPs ?? [];
  for (const from of ['web-host-1', 'web-host-2']) {
    const seen = new Set<string>();
    await until(async () => seen.add(await get(from, six, '/name')).has('web-host-1') && seen.has('web-host-2'), 60);
    const names = await inPod(from, 'nslookup -type=aaaa dual.default.svc.cluster.local');
    assert.ok(names.includes(six), names);
    const pointer = await inPod(from, `nslookup ${six}`);
    assert.match(pointer, /dual\.default\.svc\.cluster\.local/);
  }
  const isReached = async (): Promise<boolean> =>
    (await inPod('web-host-1', `nc -w 1 ${b} 8080 < /dev/null && echo open`)) === 'open';
  const name = 'six';
  const podSelector = { matchLabels: { host: two.name } };
  const closed = { podSelector, ingress: [{ from: [{ ipBlock: { cidr: '10.96.0.0/16' } }] }] };
  await server.client.create(networkPolicies, { metadata: { name, namespace }, spec: closed });
  await until(async () => !(await isReached()), 60);
  await server.client.delete(networkPolicies, name, { namespace });
  const opened = { podSelector, ingress: [{ from: [{ podSelector: { matchLabels: { host: one.name } } }] }] };
  await server.client.create(networkPolicies, { metadata: { name, namespace }, spec: opened });
  await until(isReached, 60);
  await server.client.delete(networkPolicies, name, { namespace });
});

test('a host reaches pods of the other, which see it as their own network’s', async () => {
  const b = await ipOf('web-host-2');
  assert.equal((await one.run('sh', '-c', request(b, '/name'))).trim(), 'web-host-2');
  // And the other host itself, at its address in the pods' network.
  await one.run('busybox', 'ping', '-c', '1', '-W', '5', b.replace(/\d+$/, '1'));
  const route = await one.run('ip', 'route', 'get', b);
  assert.match(route, /via 10\.96\.[01]\.0 dev so\S+ src 10\.96\.[01]\.1/);
});

test('nothing is flooded or learned, and what nobody has is unreachable at once', async () => {
  const details = await one.run('sh', '-c', 'ip -d link show type vxlan; bridge fdb show; ip neighbour');
  assert.match(details, /vxlan id 4711 local \S+ (srcport 0 0 )?dstport 8472 nolearning/);
  assert.match(details, new RegExp(`02:73:0a:60:\\S+ dev so\\S+ dst ${two.address} self permanent`));
  assert.doesNotMatch(details, /00:00:00:00:00:00 dev so/);
  assert.match(details, /10\.96\.[01]\.0 dev so\S+ lladdr 02:73:0a:60:\S+ PERMANENT/);
  assert.match(await inPod('web-host-1', 'nc -w 5 10.96.77.5 80'), /unreachable|refused|No route/i);
});

test('a Service is served by pods of both hosts, to pods of both', async () => {
  const ip = await createService('web', { app: 'web' });
  for (const from of ['web-host-1', 'web-host-2']) {
    const seen = new Set<string>();
    for (let attempt = 0; attempt < 60 && seen.size < 2; attempt += 1) seen.add(await get(from, ip, '/name'));
    assert.deepEqual([...seen].toSorted(), ['web-host-1', 'web-host-2'], `from ${from}`);
  }
});

test('pods of both hosts find it by its name', async () => {
  const { spec } = await server.client.get(services, 'web', namespace);
  for (const from of ['web-host-1', 'web-host-2'])
    assert.match(
      await inPod(from, 'nslookup web.default.svc.cluster.local'),
      new RegExp(`${spec?.clusterIP}\\b`),
      from,
    );
});

test('a policy holds for pods of the other host, on whichever side it is', async () => {
  const b = await ipOf('web-host-2');
  const isReached = async (): Promise<boolean> =>
    (await inPod('web-host-1', `nc -w 1 ${b} 8080 < /dev/null && echo open`)) === 'open';
  const hold = (spec: NetworkPolicySpec): Promise<unknown> =>
    server.client.create(networkPolicies, { metadata: { name: 'between', namespace }, spec });
  const withdraw = () => server.client.delete(networkPolicies, 'between', { namespace });
  await until(isReached);
  await hold({ podSelector: { matchLabels: { host: two.name } }, policyTypes: ['Ingress'] });
  await until(async () => !(await isReached()));
  await withdraw();
  await until(isReached);
  await hold({ podSelector: { matchLabels: { host: one.name } }, policyTypes: ['Egress'] });
  await until(async () => !(await isReached()));
  await withdraw();
  await until(isReached);
});

test('a node port of either host leads to a pod of the other, for more than one packet', async () => {
  for (const [at, where] of [
    [one, two],
    [two, one],
  ] as const) {
    await createService(`only-${where.name}`, { host: where.name }, 'NodePort');
    const { spec } = await server.client.get(services, `only-${where.name}`, namespace);
    const port = spec?.ports?.[0]?.nodePort ?? 0;
    assert.equal((await text(at.address, port, '/name')).trim(), `web-${where.name}`);
    assert.equal((await text(at.address, port, '/large')).length, 3_000_000);
  }
});

/** Its address, when every host has its rules. */
async function createService(name: string, selector: Record<string, string>, type = 'ClusterIP'): Promise<string> {
  const { spec } = await server.client.create(services, {
    metadata: { name, namespace },
    spec: { type, selector, ports: [{ port: 8080, targetPort: 8080 }] },
  });
  const ip = spec?.clusterIP ?? '';
  for (const host of hosts.list) await until(async () => (await host.run('sh', '-c', request(ip, '/name'))) !== '');
  return ip;
}

async function text(host: string, port: number, path: string): Promise<string> {
  return (await fetch(`http://${host}:${port}${path}`)).text();
}

test('kubectl reads logs of pods on both hosts and runs commands in them', { skip: kubectlMissing }, async () => {
  for (const name of ['web-host-1', 'web-host-2']) {
    assert.equal(await server.kubectl('logs', name), `hello from ${name}\n`);
    assert.equal(await server.kubectl('exec', name, '--', 'cat', '/tmp/w/name'), `${name}\n`);
  }
});

test('the overlay takes nothing from strangers, and carries nothing that a pod made up', async () => {
  const made = encapsulated(await ipOf('web-host-1'));
  const received = async (): Promise<number> =>
    Number(await one.run('sh', '-c', 'cat /sys/class/net/so*/statistics/rx_packets'));
  const program = `const s = require('dgram').createSocket('udp4');
    s.send(Buffer.from('${made.toString('base64')}', 'base64'), ${CLUSTER.port}, '${one.address}', () => s.close());`;
  const before = await received();
  // This process is on the switch, and no host of the cluster. What a pod sends leaves with its host's address, which is.
  for (const to of [one.address, one.address.replace(/\d+$/, '255')]) await sendFrom(hosts.address, made, to);
  const pod = (await two.run('pidof', 'httpd')).trim();
  await two.run('nsenter', '--target', pod, '--net', '--', process.execPath, '-e', program);
  assert.equal(await received(), before);
  // The same packet, from the host itself.
  await two.run(process.execPath, '-e', program);
  assert.equal(await received(), before + 1);
});

test('a pod that may reach the internet alone reaches neither the other host nor its pods', async () => {
  await runPod('build', two, { 'node.sampan.dev/egress': 'internet' });
  const node = await server.client.get(nodes, one.name);
  const agent = `${one.address} ${node.status?.daemonEndpoints?.kubeletEndpoint?.Port}`;
  const opens = async (from: string, to: string): Promise<boolean> =>
    (await inPod(from, `nc -w 2 ${to} < /dev/null > /dev/null && echo open`)).includes('open');
  assert.equal(await opens('web-host-2', agent), true);
  assert.equal(await opens('build', agent), false);
  assert.equal(await opens('build', `${await ipOf('web-host-1')} 8080`), false);
  await server.client.delete(pods, 'build', { namespace, gracePeriodSeconds: 0 });
});

test('a policy knows pods of the other host by their labels, and holds for what comes from there', async () => {
  const b = await ipOf('web-host-2');
  const answers = async (): Promise<boolean> => (await get('web-host-1', b, '/name')) === 'web-host-2';
  const policy = (from: string) => ({
    metadata: { name: 'closed', namespace },
    spec: {
      podSelector: { matchLabels: { host: two.name } },
      ingress: [{ from: [{ podSelector: { matchLabels: { host: from } } }] }],
    },
  });
  await server.client.create(networkPolicies, policy('nobody'));
  await until(async () => !(await answers()));
  const { metadata } = await server.client.get(networkPolicies, 'closed', namespace);
  await server.client.update(networkPolicies, { ...policy(one.name), metadata });
  await until(answers);
  await server.client.delete(networkPolicies, 'closed', { namespace });
});

test('an agent that is killed leaves its pods and the ways between them, and comes back to both', async () => {
  const [a, b] = [await ipOf('web-host-1'), await ipOf('web-host-2')];
  await two.kill();
  assert.equal(await get('web-host-1', b, '/name'), 'web-host-2');
  await two.start(server.node);
  assert.equal(await get('web-host-2', a, '/name'), 'web-host-1');
  assert.equal(await ipOf('web-host-2'), b);
});

test('a node that is removed is no peer any more, and its addresses of load balancers move, which neighbours are told', async () => {
  const address = hosts.address.replace(/1$/, '240');
  const isTwos = holderOf(address, [one.name, two.name]) === two.name;
  const [kept, lost] = isTwos ? [one, two] : [two, one];
  const gone = await ipOf(`web-${lost.name}`);
  await server.client.create(services, {
    metadata: { name: 'balanced', namespace },
    spec: {
      type: 'LoadBalancer',
      loadBalancerIP: address,
      selector: { host: kept.name },
      ports: [{ port: 80, targetPort: 8080 }],
    },
  });
  // This process is on the switch: a neighbour.
  const isServed = async (): Promise<boolean> => {
    const words = ['-s', '--noproxy', '*', '--max-time', '3', `http://${address}/name`];
    return (await run('curl', words, { allow: [7, 28, 52, 56] })).stdout.trim() === `web-${kept.name}`;
  };
  const holder = async (): Promise<string | undefined> =>
    /lladdr (\S+)/.exec((await run('ip', ['neighbour', 'show', address])).stdout)?.[1];
  const macOf = async (host: Host): Promise<string> => (await host.run('cat', '/sys/class/net/eth0/address')).trim();
  await until(isServed, 120);
  assert.equal(await holder(), await macOf(lost));
  await lost.kill();
  lost.link('down');
  await server.client.delete(nodes, lost.name);
  await until(async () => (await holder()) === (await macOf(kept)), 120);
  await until(isServed, 120);
  await until(async () => !(await kept.run('ip', 'route')).includes(' dev so'), 120);
  assert.match(await inPod(`web-${kept.name}`, `nc -w 5 ${gone} 8080`), /unreachable|refused|No route/i);
  lost.link('up');
});

/** A packet of the cluster's overlay, with an empty UDP packet to a pod inside. */
function encapsulated(pod: string): Buffer {
  const to = pod.split('.').map(Number);
  const vxlan = [8, 0, 0, 0, CLUSTER.vni >> 16, (CLUSTER.vni >> 8) & 255, CLUSTER.vni & 255, 0];
  const ethernet = [2, 0x73, ...to.with(3, 0), 2, 0x73, 10, 96, 200, 0, 8, 0];
  const ipv4 = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 96, 200, 5, ...to];
  return Buffer.from([...vxlan, ...ethernet, ...ipv4, 0, 9, 0, 9, 0, 8, 0, 0]);
}

async function sendFrom(from: string, packet: Buffer, to: string): Promise<void> {
  const socket = createSocket('udp4');
  try {
    await new Promise<void>((done) => socket.bind(0, from, done));
    socket.setBroadcast(true);
    await new Promise<void>((done, fail) =>
      socket.send(packet, CLUSTER.port, to, (error) => (error ? fail(error) : done())),
    );
  } finally {
    socket.close();
  }
}
