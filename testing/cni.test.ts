/** Pods with links by CNI plugins: those of Debian's package, and one of the test's own in the same list that writes down what it is told. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { createEndpointSliceController } from '#cluster/controllers/endpoint-slice.ts';
import { events, networkPolicies, pods, services } from '#cluster/kinds/resources.ts';
import type { NetworkPolicies } from '#cluster/network/policy/policy.ts';
import { purgeTables } from '#cluster/network/tables.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { openPolicies } from './agent-policies.ts';
import { claimOctet } from './claim-octet.ts';
import { request } from './hosts-apps.ts';
import { until } from './until.ts';
import { isReady } from './pods.ts';

const namespace = 'default';
const octet = await claimOctet();
const directory = mkdtempSync(join(tmpdir(), 'sampan-cni-'));
const configDirectory = join(directory, 'net.d');
const ownPlugins = join(directory, 'bin');
const binDirectories = [ownPlugins, '/usr/lib/cni', '/opt/cni/bin'];
const log = join(directory, 'log');
const breaks = join(directory, 'breaks');
const leases = join(directory, 'leases', 'pods');
let bed: AgentFixture;
let policies: NetworkPolicies | undefined;
const program = promisify(execFile);

/** Fails while there is a file `breaks`, and else passes on what came before. */
const recorder = `#!/usr/bin/python3
import json, os, sys
given = json.load(sys.stdin)
names = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"]
with open(${JSON.stringify(log)}, "a") as out:
    out.write(json.dumps({"env": {name: os.environ.get(name) for name in names}, "stdin": given}) + "\\n")
if os.environ["CNI_COMMAND"] == "ADD":
    if os.path.exists(${JSON.stringify(breaks)}):
        print(json.dumps({"cniVersion": "1.0.0", "code": 11, "msg": "not today", "details": "says the test"}))
        sys.exit(1)
    print(json.dumps(given["prevResult"]))
`;

interface Call {
  env: Record<string, string>;
  stdin: { type: string; name: string; cniVersion: string; prevResult?: { ips: { address: string }[] } };
}
const calls = (command: string): Call[] =>
  (existsSync(log) ? readFileSync(log, 'utf8') : '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Call)
    .filter(({ env }) => env['CNI_COMMAND'] === command);
/** What host-local has given out. */
const leased = (): string[] => readdirSync(leases).filter((name) => /^\d/.test(name));
const records = (): string[] => readdirSync(join(bed.api.engine.dataDirectory, 'engine', 'cni'));

before(async () => {
  mkdirSync(configDirectory);
  mkdirSync(ownPlugins);
  writeFileSync(join(ownPlugins, 'recorder'), recorder, { mode: 0o755 });
  const ipam = {
    type: 'host-local',
    dataDir: join(directory, 'leases'),
    ranges: [[{ subnet: `10.97.${octet}.0/24`, rangeStart: `10.97.${octet}.100` }]],
    routes: [{ dst: '0.0.0.0/0' }],
  };
  const list = {
    cniVersion: '1.0.0',
    name: 'pods',
    plugins: [{ type: 'ptp', ipam }, { type: 'tuning', sysctl: { 'net.core.somaxconn': '500' } }, { type: 'recorder' }],
  };
  writeFileSync(join(configDirectory, '10-pods.conflist'), JSON.stringify(list));
  writeFileSync(join(configDirectory, '20-later.conflist'), 'is not read');
  bed = await agentFixture(octet, {
    inCluster: true,
    engine: {
      network: {
        podCidr: `10.97.${octet}.0/24`,
        clusterCidr: '10.97.0.0/16',
        serviceCidr: `10.240.${octet}.0/24`,
        cni: { configDirectory, binDirectories },
      },
    },
    controllers: [createEndpointSliceController()],
    // One for all starts of the agent.
    agent: (api) => ({ admit: (policies ??= openPolicies(api)).admit }),
  });
  await Promise.all([serve('one'), serve('two')]);
});

after(async () => {
  await policies?.close();
  await purgeTables(bed.network.instance);
  await bed.close();
  assert.deepEqual(leased(), []);
  rmSync(directory, { recursive: true });
});

async function create(name: string, annotations: Record<string, string> = {}): Promise<void> {
  const container = {
    name: 'main',
    image: bed.image,
    imagePullPolicy: 'IfNotPresent',
    command: ['sh', '-c', `mkdir /tmp/w; echo ${name} > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w`],
    readinessProbe: { httpGet: { path: '/', port: 8080 } },
  };
  await bed.client.create(pods, {
    metadata: { name, namespace, annotations, labels: { app: 'web', pod: name } },
    spec: { terminationGracePeriodSeconds: 0, nodeName: bed.nodeName, containers: [container] },
  });
}

async function serve(name: string): Promise<void> {
  await create(name);
  await bed.until(name, 'Ready', isReady, 60);
}

const ipOf = async (name: string): Promise<string> => (await bed.client.get(pods, name, namespace)).status?.podIP ?? '';

async function inPod(name: string, script: string): Promise<string> {
  const session = await bed.client.exec({ name, namespace }, { command: ['sh', '-c', `{ ${script}; } 2>&1`] });
  const [out] = await Promise.all([text(session.stdout), session.exited]);
  return out.trim();
}
const get = (ip: string, port = 8080): string => request(ip, '/', port);
const fromHost = async (ip: string, port = 8080): Promise<string> =>
  (
    await program('curl', ['-s', '--noproxy', '*', '--max-time', '3', `http://${ip}:${port}/`]).catch(() => ({
      stdout: '',
    }))
  ).stdout.trim();
const eventsOf = async (name: string): Promise<string> =>
  (await bed.client.list(events, { namespace })).items
    .filter(({ involvedObject }) => involvedObject?.name === name)
    .map(({ message }) => message ?? '')
    .join('\n');

test('a pod has the address and the link that plugins gave it, and they are told what the specification says', async () => {
  const [one, two] = [await ipOf('one'), await ipOf('two')];
  assert.match(one, new RegExp(`^10\\.97\\.${octet}\\.1\\d\\d$`));
  assert.ok(leased().includes(one));
  assert.match(await inPod('one', 'ip -4 address show eth0'), new RegExp(`inet ${one}/24`));
  assert.equal(await inPod('one', 'cat /proc/sys/net/core/somaxconn'), '500');
  assert.match(await inPod('one', 'ip address show lo'), /127\.0\.0\.1/);
  assert.match(await inPod('one', 'cat /etc/hosts'), new RegExp(`^${one}\tone$`, 'm'));
  assert.equal(await inPod('one', get(two)), 'two');
  assert.equal(await fromHost(one), 'one');
  const { uid } = (await bed.client.get(pods, 'one', namespace)).metadata;
  const call = calls('ADD').find(({ env }) => env['CNI_ARGS']?.includes('K8S_POD_NAME=one'));
  assert.ok(call);
  const sandbox = bed.engine.sandboxes().find(({ ip }) => ip === one);
  assert.equal(call.env['CNI_CONTAINERID'], sandbox?.id);
  assert.equal(call.env['CNI_NETNS'], sandbox?.networkNamespacePath);
  assert.equal(call.env['CNI_IFNAME'], 'eth0');
  assert.equal(call.env['CNI_ARGS'], `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=one;K8S_POD_UID=${uid}`);
  assert.match(call.env['CNI_PATH'] ?? '', /:\/usr\/lib\/cni:/);
  const { name, cniVersion, type, prevResult } = call.stdin;
  assert.deepEqual([name, cniVersion, type], ['pods', '1.0.0', 'recorder']);
  assert.deepEqual(
    prevResult?.ips.map(({ address }) => address),
    [`${one}/24`],
  );
});

test('Services and policies are the cluster’s own, and hold where packets pass this host', async () => {
  const { spec } = await bed.client.create(services, {
    metadata: { name: 'web', namespace },
    spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
  });
  const ip = spec?.clusterIP ?? '';
  const seen = new Set<string>();
  await until(async () => seen.add(await inPod('one', get(ip, 80))).has('two') && seen.has('one'), 60);
  await until(async () => /^(one|two)$/.test(await fromHost(ip, 80)), 60);
  const two = await ipOf('two');
  await bed.client.create(networkPolicies, {
    metadata: { name: 'closed', namespace },
    spec: { podSelector: { matchLabels: { pod: 'two' } }, policyTypes: ['Ingress'] },
  });
  await until(async () => (await inPod('one', get(two))) !== 'two', 60);
  await bed.client.delete(networkPolicies, 'closed', { namespace });
  await until(async () => (await inPod('one', get(two))) === 'two', 60);
});

test('a plugin that fails is told of in its words, has nothing left, and is asked again', async () => {
  const before = leased().length;
  writeFileSync(breaks, '');
  await create('late');
  await until(
    async () => (await eventsOf('late')).includes('CNI plugin recorder (pods) failed at ADD: not today; says the test'),
    60,
  );
  await until(async () => leased().length === before, 60);
  rmSync(breaks);
  await bed.until('late', 'Ready', isReady, 60);
  assert.equal(await fromHost(await ipOf('late')), 'late');
});

test('what goes is taken back by the plugins, the last one first', async () => {
  const ip = await ipOf('late');
  const id = bed.engine.sandboxes().find((sandbox) => sandbox.ip === ip)?.id ?? '';
  await bed.client.delete(pods, 'late', { namespace });
  await bed.until('late', 'gone', (pod) => pod === undefined, 60);
  await until(async () => !leased().includes(ip) && !records().includes(`${id}.json`), 60);
  const del = calls('DEL').filter(({ env }) => env['CNI_CONTAINERID'] === id);
  assert.equal(del.length, 1);
  // It came first: the address was still there.
  assert.deepEqual(
    del[0]?.stdin.prevResult?.ips.map(({ address }) => address),
    [`${ip}/24`],
  );
});

test('links of pods that run are checked when the engine opens, and stay; what was half made when it was killed goes', async () => {
  const [one, checks] = [await ipOf('one'), calls('CHECK').length];
  await bed.stopNode();
  // As where it was killed between the first plugin and the second.
  const id = 'ab'.repeat(32);
  const lease = join(leases, `10.97.${octet}.200`);
  const network = JSON.parse(readFileSync(join(configDirectory, '10-pods.conflist'), 'utf8')) as object;
  const record = { sandbox: id, namespacePath: '/run/no/such/namespace', args: {}, network, binDirectories };
  writeFileSync(lease, `${id}\r\neth0`);
  writeFileSync(join(bed.api.engine.dataDirectory, 'engine', 'cni', `${id}.json`), JSON.stringify(record));
  await bed.startNode();
  assert.equal(existsSync(lease), false);
  assert.equal(records().includes(`${id}.json`), false);
  await until(async () => calls('CHECK').length >= checks + 2, 60);
  assert.equal(await ipOf('one'), one);
  assert.equal(await fromHost(one), 'one');
  assert.equal(calls('ADD').filter(({ env }) => env['CNI_ARGS']?.includes('K8S_POD_NAME=one;')).length, 1);
});

test('after a boot the plugins take back what is nobody’s any more, and pods get links anew', async () => {
  const ids = bed.engine.sandboxes().map(({ id }) => id);
  const before = await ipOf('one');
  await bed.reboot();
  await bed.until('one', 'another address', (pod) => isReady(pod) && pod?.status?.podIP !== before, 60);
  await bed.until('two', 'Ready', isReady, 60);
  await until(async () => leased().length === bed.engine.sandboxes().length, 60);
  const taken = new Set(calls('DEL').map(({ env }) => env['CNI_CONTAINERID']));
  for (const id of ids) assert.ok(taken.has(id), id);
  assert.equal(await fromHost(await ipOf('one')), 'one');
});

test('what only the built-in network keeps is refused', async () => {
  await create('build', { 'node.sampan.dev/egress': 'internet' });
  await until(
    async () => (await eventsOf('build')).includes('egress: internet is kept by the built-in network alone'),
    60,
  );
  await bed.client.delete(pods, 'build', { namespace });
});
