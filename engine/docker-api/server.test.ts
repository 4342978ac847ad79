/** The Docker API over the real engine, read by the real `docker` client where it is installed. */
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { addBusyboxImage } from '#testing/busybox-image.ts';
import { matchesGolden } from '#testing/golden.ts';
import type { Container } from '../engine.ts';
import { type OpenedEngine, openEngine, purgeEngine } from '../open.ts';
import type { EngineOptions } from '../options.ts';
import { humanDuration } from './container-view.ts';
import { startDockerApi } from './server.ts';

const run = promisify(execFile);
const docker = spawnSync('docker', ['--version']).status === 0;
const withDocker = { skip: docker ? false : 'the docker client is not installed' };

let directory = '';
let socketPath = '';
let options: EngineOptions;
let engine: OpenedEngine;
let api: { close(): Promise<void> };
let image = '';
let talker: Container;
let pod: Container;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'docker-api-'));
  // Containers' root is nobody here, and walks through.
  await chmod(directory, 0o711);
  options = {
    instance: `dapi-${process.pid}`,
    dataDirectory: join(directory, 'data'),
    runDirectory: join(directory, 'run'),
    network: { podCidr: '10.213.7.0/24', clusterCidr: '10.213.0.0/16', serviceCidr: '10.214.0.0/16' },
    idRange: { first: 65536 * 27000, length: 65536 * 16 },
    sandboxPool: 0,
    log: () => undefined,
  };
  engine = await openEngine(options);
  image = await addBusyboxImage(engine.images);
  const sandbox = await engine.createSandbox({ name: 'default/web/uid', hostname: 'web' });
  const script = 'echo one; echo two >&2; echo three; exit 3';
  talker = await engine.createContainer({
    sandbox: sandbox.id,
    name: 'talker',
    image,
    command: ['sh', '-c', script],
    labels: { tier: 'back' },
  });
  await engine.startContainer(talker.id);
  await engine.waitContainer(talker.id);
  pod = await engine.createContainer({
    sandbox: sandbox.id,
    name: 'main-0',
    image,
    command: ['sh', '-c', 'mkfifo /tmp/go; echo ready; read line < /tmp/go; echo done; sleep 1000'],
    env: ['FROM_SPEC=1'],
    limits: { memoryBytes: 64 * 1024 * 1024, cpuMillis: 500 },
    mounts: [{ kind: 'tmpfs', target: '/tmp' }],
    labels: {
      'io.kubernetes.container.name': 'main',
      'io.kubernetes.pod.name': 'web',
      'io.kubernetes.pod.namespace': 'team',
      'io.kubernetes.pod.uid': 'u-1',
      'io.kubernetes.container.restartCount': '2',
    },
  });
  await engine.startContainer(pod.id);
  socketPath = join(directory, 'docker.sock');
  api = await startDockerApi({ engine, socketPath, version: '0.1.0', onError: (error) => console.error(error) });
});

after(async () => {
  await api.close();
  for (const { id } of engine.containers()) await engine.removeContainer(id, { force: true, logs: true });
  for (const { id } of engine.sandboxes()) await engine.removeSandbox(id);
  await engine.close();
  await purgeEngine(options);
  await rm(directory, { recursive: true, force: true });
});

async function call(
  method: string,
  path: string,
  sent?: string,
): Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; body: Buffer }> {
  const outgoing = request({ socketPath, method, path }).end(sent);
  const [response] = await once(outgoing, 'response');
  return { status: response.statusCode, headers: response.headers, body: await buffer(response) };
}

async function json<Value>(path: string): Promise<Value> {
  const { status, body } = await call('GET', path);
  assert.equal(status, 200, body.toString());
  return JSON.parse(body.toString()) as Value;
}

const cli = async (...words: string[]): Promise<{ stdout: string; stderr: string }> =>
  await run('docker', ['-H', `unix://${socketPath}`, ...words]);

test('the socket is for root and its group', async () => {
  assert.equal((await stat(socketPath)).mode & 0o777, 0o660);
  await assert.rejects(startDockerApi({ engine, socketPath, version: '0.1.0' }), { code: 'conflict' });
});

test('versions are negotiated', async () => {
  const ping = await call('HEAD', '/_ping');
  assert.deepEqual([ping.status, ping.headers['api-version'], ping.headers['ostype']], [200, '1.45', 'linux']);
  assert.equal((await call('GET', '/v1.24/_ping')).body.toString(), 'OK');
  assert.equal((await call('GET', '/v1.45/version')).status, 200);
});

test('errors are answered as the golden file says', async () => {
  const requests: [string, string, string?][] = [
    ['GET', '/v1.23/version'],
    ['GET', '/v1.46/version'],
    ['GET', '/v2.0/version'],
    ['GET', '/nothing'],
    ['POST', '/version'],
    ['GET', '/swarm'],
    ['POST', '/v1.45/containers/create'],
    ['POST', '/containers/create', '{'],
    ['POST', '/containers/create', '[]'],
    ['POST', '/containers/create', '{"Image":1}'],
    ['POST', '/containers/create', '{"Image":"none"}'],
    ['POST', '/containers/create?name=a/b', '{"Image":"none"}'],
    ['POST', '/containers/create', '{"Image":"x","Env":"A=1"}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"Memory":1024}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"Privileged":true}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"NetworkMode":"host"}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"RestartPolicy":{"Name":"often"}}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"PortBindings":{"0/tcp":[]}}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"99999"}]}}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"Binds":["/a:/../b"]}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"Tmpfs":{"/t":"size=much"}}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"Dns":["dns"]}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"LogConfig":{"Type":"syslog"}}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"LogConfig":{"Config":{"a":"b"}}}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"Sysctls":{"kernel.panic":"1"}}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"OomScoreAdj":2000}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"MemorySwap":1}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"CpusetCpus":"a"}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"BlkioWeight":1}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"Runtime":"fast"}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"Isolation":"hyperv"}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"StorageOpt":{"luck":"1"}}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"CgroupParent":"/"}}'],
    ['POST', '/containers/create', '{"Image":"x","HostConfig":{"DeviceCgroupRules":["a *:* rwm"]}}'],
    ['POST', '/containers/create', '{"Image":"x","Healthcheck":{"Test":["SOMETIMES"]}}'],
    ['POST', '/containers/create', '{"Image":"x","Healthcheck":{"Test":["CMD"]}}'],
    ['POST', '/containers/create', '{"Image":"x","Healthcheck":{"Interval":1}}'],
    ['POST', '/containers/none/pause'],
    ['POST', '/containers/none/update', '{}'],
    ['GET', '/containers/none/top'],
    ['GET', '/containers/none/stats'],
    ['GET', '/containers/talker/top'],
    ['GET', '/containers/talker/top?ps_args=--forest'],
    ['GET', '/containers/talker/archive'],
    ['GET', '/containers/talker/archive?path=/none'],
    ['GET', '/containers/talker/archive?path=../../../none'],
    ['GET', '/containers/talker/archive?path=/etc/passwd/'],
    ['GET', '/containers/talker/attach/ws'],
    ['GET', '/system/df?type=moons'],
    ['POST', '/auth', '{"serveraddress":"a b"}'],
    ['GET', '/images/search?term=x'],
    ['GET', '/plugins/x/json'],
    ['POST', '/plugins/create'],
    ['GET', '/services'],
    ['POST', '/swarm/init', '{}'],
    ['POST', '/swarm/leave'],
    ['PUT', '/volumes/x', '{}'],
    ['POST', '/containers/none/start'],
    ['POST', '/containers/talker/wait?condition=never'],
    ['POST', '/containers/talker/stop?t=x'],
    ['POST', '/containers/talker/kill'],
    ['DELETE', '/containers/talker'],
    ['POST', '/containers/talker/exec', '{"Cmd":["true"]}'],
    ['POST', '/exec/none/start', '{}'],
    ['POST', '/volumes/create', '{"Name":"../x"}'],
    ['DELETE', '/volumes/none'],
    ['POST', '/images/none/tag?repo=x'],
    ['POST', '/images/none/push'],
    ['GET', '/events?since=never'],
    ['DELETE', '/v1.45/images/a/b:c'],
    ['GET', '/containers/none/json'],
    ['GET', '/containers/%ff/json'],
    ['GET', '/images/none:x/json'],
    ['GET', '/images/none/history'],
    ['GET', '/containers/talker/logs'],
    ['GET', '/containers/talker/logs?stdout=1&since=yesterday'],
    ['GET', '/containers/json?filters=x'],
    ['GET', '/containers/json?filters=[]'],
    ['GET', '/containers/json?limit=x'],
    ['GET', '/containers/json?filters={"colour":["red"]}'],
    ['GET', '/containers/json?filters={"status":["asleep"]}'],
    ['GET', '/containers/json?all=1&filters={"name":["("]}'],
    ['GET', '/containers/json?filters={"name":"x"}'],
    ['GET', '/images/json?filters={"until":["then"]}'],
    ['GET', '/networks?filters={"colour":["red"]}'],
    ['GET', '/networks?filters={"type":["odd"]}'],
    ['GET', '/networks/nothing'],
    ['DELETE', '/networks/bridge'],
    ['DELETE', '/networks/nothing'],
    ['POST', '/networks/create', '{}'],
    ['POST', '/networks/create', '{"Name":"a b"}'],
    ['POST', '/networks/create', '{"Name":"none"}'],
    ['POST', '/networks/create', '{"Name":"n","Driver":"overlay"}'],
    ['POST', '/networks/create', '{"Name":"n","Driver":"host"}'],
    ['POST', '/networks/create', '{"Name":"n","EnableIPv4":false}'],
    ['POST', '/networks/create', '{"Name":"n","Options":{"parent":"eth0"}}'],
    ['POST', '/networks/create', '{"Name":"n","EnableIPv6":true,"IPAM":{"Config":[{"Subnet":"fe80::/64"}]}}'],
    ['POST', '/networks/create', '{"Name":"n","IPAM":{"Config":[{"Subnet":"127.0.0.0/8"}]}}'],
    ['POST', '/networks/create', '{"Name":"n","IPAM":{"Config":[{"Subnet":"10.0.0.0/7"}]}}'],
    ['POST', '/networks/create', '{"Name":"n","IPAM":{"Config":[{"Gateway":"10.1.2.3"}]}}'],
    ['POST', '/networks/bridge/connect', '{"Container":"nobody"}'],
    ['POST', '/networks/bridge/connect', '{"Container":"talker"}'],
    ['POST', '/networks/bridge/disconnect', '{"Container":5}'],
  ];
  const lines: string[] = [];
  for (const [method, path, sent] of requests) {
    const { status, body } = await call(method, encodeURI(path).replace('%25ff', '%ff'), sent);
    const told = body.toString().trim().replaceAll(talker.id, 'ID').replaceAll(talker.id.slice(0, 12), 'SHORT');
    lines.push(`${method} ${path}${sent === undefined ? '' : ` ${sent}`} -> ${status} ${told}`);
  }
  matchesGolden(join(import.meta.dirname, 'testdata/errors.golden'), `${lines.join('\n')}\n`);
});

test('containers are listed with their filters', async () => {
  const names = async (query: string): Promise<string[]> =>
    (await json<{ Names: string[] }[]>(`/containers/json?${query}`)).map(({ Names }) => Names.join());
  const main = '/k8s_main_web_team_u-1_2';
  const filtered = (filters: Record<string, string[] | Record<string, boolean>>) =>
    `all=1&filters=${encodeURIComponent(JSON.stringify(filters))}`;
  assert.deepEqual(await names(''), [main]);
  assert.deepEqual(await names('all=1'), [main, '/talker']);
  assert.deepEqual(await names('limit=1'), [main]);
  assert.deepEqual(await names(filtered({ status: ['exited'] })), ['/talker']);
  assert.deepEqual(await names(filtered({ status: { running: true } })), [main]);
  assert.deepEqual(await names(filtered({ label: ['tier=back'] })), ['/talker']);
  assert.deepEqual(await names(filtered({ label: ['tier', 'io.kubernetes.pod.name'] })), []);
  assert.deepEqual(await names(filtered({ name: ['web_team'] })), [main]);
  assert.deepEqual(await names(filtered({ exited: ['3'] })), ['/talker']);
  assert.deepEqual(await names(filtered({ id: [talker.id.slice(0, 12)] })), ['/talker']);
  assert.deepEqual(await names(filtered({ ancestor: [image] })), [main, '/talker']);
  assert.deepEqual(await names(filtered({ before: [pod.id] })), ['/talker']);
  assert.deepEqual(await names(filtered({ since: ['talker'] })), [main]);
  const [sized] = await json<{ SizeRw: number; SizeRootFs: number }[]>('/containers/json?size=1');
  assert.ok((sized?.SizeRootFs ?? 0) > 1_000_000);
});

test('a container is inspected by id, by the beginning of its id and by its names', async () => {
  interface View {
    Id: string;
    State: { Status: string; ExitCode: number; Pid: number };
    Config: { Env: string[]; Hostname: string };
    HostConfig: { Memory: number; NanoCpus: number };
    NetworkSettings: { IPAddress: string };
  }
  for (const name of [pod.id, pod.id.slice(0, 12), 'main-0', 'k8s_main_web_team_u-1_2']) {
    const view = await json<View>(`/containers/${name}/json`);
    assert.equal(view.Id, pod.id);
    assert.equal(view.State.Status, 'running');
    assert.ok(view.State.Pid > 1);
    assert.deepEqual(view.Config.Env, ['PATH=/bin', 'FROM_IMAGE=yes', 'FROM_SPEC=1']);
    assert.deepEqual([view.HostConfig.Memory, view.HostConfig.NanoCpus], [64 * 1024 * 1024, 500_000_000]);
    assert.equal(view.NetworkSettings.IPAddress, engine.sandboxes()[0]?.ip);
  }
  const ended = await json<View>('/containers/talker/json');
  assert.deepEqual([ended.State.Status, ended.State.ExitCode], ['exited', 3]);
});

test('logs come in frames, by stream, from the tail and with times', async () => {
  const frames = async (query: string): Promise<string[]> => {
    const { body } = await call('GET', `/v1.45/containers/talker/logs?${query}`);
    const lines: string[] = [];
    for (let at = 0; at < body.length; ) {
      const length = body.readUInt32BE(at + 4);
      lines.push(`${body[at]} ${body.toString('utf8', at + 8, at + 8 + length).trimEnd()}`);
      at += 8 + length;
    }
    return lines;
  };
  assert.deepEqual((await frames('stdout=1&stderr=1')).sort(), ['1 one', '1 three', '2 two']);
  assert.deepEqual(await frames('stderr=1'), ['2 two']);
  assert.deepEqual(await frames('stdout=1&tail=1'), ['1 three']);
  assert.deepEqual(await frames('stdout=1&until=1000'), []);
  assert.deepEqual(await frames('stdout=1&since=99999999999'), []);
  assert.match((await frames('stderr=1&timestamps=1')).join(), /^2 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z two$/);
  const { headers } = await call('GET', '/v1.45/containers/talker/logs?stdout=1');
  assert.equal(headers['content-type'], 'application/vnd.docker.multiplexed-stream');
});

test('docker version, info, images, history and inspect', withDocker, async () => {
  const version = (await cli('version')).stdout;
  assert.match(version, /Server: Sampan/);
  assert.match(version, /API version: +1\.45 \(minimum version 1\.24\)/);
  const info = await cli('info');
  assert.match(info.stdout, /Server Version: 0\.1\.0/);
  assert.match(info.stdout, /Containers: 2\n +Running: 1/);
  assert.doesNotMatch(info.stdout + info.stderr, /ERROR/);
  const images = (await cli('images', '--no-trunc', '--format', '{{.Repository}} {{.Tag}} {{.ID}}')).stdout.trim();
  assert.equal(images, `fixtures.invalid/busybox latest ${engine.images.get(image)?.id}`);
  const history = (await cli('history', '--format', '{{.Size}}', image)).stdout.trim().split('\n');
  assert.equal(history.length, 2);
  const [inspected] = JSON.parse((await cli('inspect', image)).stdout) as { RepoDigests: string[] }[];
  assert.deepEqual(inspected?.RepoDigests, [`fixtures.invalid/busybox@${engine.images.get(image)?.digest}`]);
});

test('docker ps, inspect and logs', withDocker, async () => {
  const { stdout } = await cli(
    'ps',
    '--all',
    '--no-trunc',
    '--format',
    '{{.ID}}|{{.Names}}|{{.State}}|{{.Image}}|{{.Status}}',
  );
  const rows = stdout
    .trim()
    .split('\n')
    .map((row) => row.split('|'));
  assert.deepEqual(
    rows.map((row) => row.slice(0, 4)),
    [
      [pod.id, 'k8s_main_web_team_u-1_2', 'running', image],
      [talker.id, 'talker', 'exited', image],
    ],
  );
  assert.match(rows[0]?.[4] ?? '', /^Up /);
  assert.match(rows[1]?.[4] ?? '', /^Exited \(3\) .* ago$/);
  const logs = await cli('logs', 'talker');
  assert.deepEqual([logs.stdout, logs.stderr], ['one\nthree\n', 'two\n']);
  assert.equal((await cli('inspect', '--format', '{{.State.ExitCode}}', 'talker')).stdout, '3\n');
  await assert.rejects(cli('pause', 'talker'), /it belongs to a pod/);
});

test('docker logs --follow shows what comes, and ends with its client', withDocker, async (context) => {
  const follower = spawn('docker', ['-H', `unix://${socketPath}`, 'logs', '--follow', 'main-0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  context.after(() => follower.kill());
  let seen = '';
  for await (const chunk of follower.stdout.setEncoding('utf8') as AsyncIterable<string>) {
    const before = seen;
    seen += chunk;
    if (!before.includes('ready') && seen.includes('ready')) {
      await (await engine.exec(pod.id, { command: ['sh', '-c', 'echo > /tmp/go'] })).exited;
    }
    if (seen.includes('done')) break;
  }
  assert.equal(seen, 'ready\ndone\n');
  follower.kill();
  if (follower.exitCode === null && follower.signalCode === null) await once(follower, 'close');
});

test('durations are as rough as docker writes them', () => {
  const cases: [number, string][] = [
    [0.5, 'Less than a second'],
    [1, '1 second'],
    [59, '59 seconds'],
    [61, 'About a minute'],
    [59 * 60, '59 minutes'],
    [3600, 'About an hour'],
    [47 * 3600, '47 hours'],
    [3 * 86_400, '3 days'],
    [20 * 86_400, '2 weeks'],
    [90 * 86_400, '3 months'],
    [800 * 86_400, '2 years'],
  ];
  for (const [seconds, text] of cases) assert.equal(humanDuration(seconds * 1000), text);
});
