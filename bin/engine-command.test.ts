/** `sampan engine` as people run it: the real command, the real docker client over its socket and over TCP. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { withDocker } from '#testing/docker-host.ts';
import { noTraces, tracesOf } from '#testing/leftovers.ts';
import { type PeerRegistry, startPeerRegistry } from '#testing/peer-registry.ts';
import { type Finished, TestPlatform, finish } from '#testing/platform.ts';
import { until } from '#testing/until.ts';

const instance = new TestPlatform('alone');
const image = 'busybox:alone';
let engine: ChildProcess;
/** Speaks plain HTTP, and asks for a password. */
let peer: PeerRegistry;
const logins = join(instance.directory, 'logins.json');
/** What the command said that clients have to set. */
let said: string[] = [];

const entry = join(import.meta.dirname, 'sampan.ts');
const flags = ['--experimental-ffi', '--disable-warning=ExperimentalWarning'];

async function start(): Promise<void> {
  const others = ['--mirror', `lan=${peer.host}`, '--registry-auth', logins, '--build-timeout', '4s'];
  const words = [...flags, entry, 'engine', '--tcp', '127.0.0.1:0', ...others];
  engine = spawn(process.execPath, words, { env: instance.environment, stdio: ['ignore', 'pipe', 'inherit'] });
  if (engine.stdout === null) throw new Error('the engine has no output');
  said = [];
  for await (const line of createInterface({ input: engine.stdout })) {
    said.push(line);
    if (line.includes('DOCKER_CERT_PATH')) return;
  }
  throw new Error(`the engine ended: ${said.join('\n')}`);
}

/** The variables of an `export` line that was printed. */
function exported(containing: string): Record<string, string> {
  const line = said.find((one) => one.includes('export ') && one.includes(containing)) ?? '';
  return Object.fromEntries(
    line
      .trim()
      .split(' ')
      .slice(1)
      .map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]),
  );
}

const docker = async (environment: Record<string, string>, ...words: string[]): Promise<Finished> =>
  await finish('docker', words, { env: { ...process.env, DOCKER_CONFIG: instance.directory, ...environment } });
const local = async (...words: string[]): Promise<string> => await ok(exported('unix://'), words);
const remote = async (...words: string[]): Promise<string> => await ok(exported('tcp://'), words);
async function ok(environment: Record<string, string>, words: string[]): Promise<string> {
  const { code, stdout, stderr } = await docker(environment, ...words);
  if (code !== 0) throw new Error(`docker ${words.join(' ')} ended with ${code}: ${stderr}`);
  return stdout.trim();
}

describe('the engine alone', { ...withDocker, timeout: 120_000 }, () => {
  before(async () => {
    peer = await startPeerRegistry({});
    writeFileSync(logins, JSON.stringify({ auths: { [peer.host]: { auth: btoa('ann:secret') } } }));
    await start();
    const root = join(instance.directory, 'root');
    mkdirSync(join(root, 'bin'), { recursive: true });
    copyFileSync('/bin/busybox', join(root, 'bin', 'busybox'));
    for (const name of ['sh', 'cat', 'echo', 'sleep']) symlinkSync('busybox', join(root, 'bin', name));
    execFileSync('tar', ['-C', root, '-cf', join(instance.directory, 'root.tar'), '.']);
    await local('import', '--change', 'ENV PATH=/bin', join(instance.directory, 'root.tar'), image);
  });
  after(async () => {
    if (engine.exitCode === null && engine.signalCode === null) {
      const closed = once(engine, 'close');
      engine.kill('SIGKILL');
      await closed;
    }
    await peer[Symbol.asyncDispose]();
    const { name, runDirectory } = instance.instance;
    const marks = [instance.dataDirectory, `${runDirectory}/`, `sampan-${name}-`];
    await instance.purge();
    assert.deepEqual(tracesOf(name, marks), noTraces);
  });

  test('docker over TCP, with what was printed', async () => {
    await remote('run', '-d', '--name', 'over-tcp', image, 'sh', '-c', 'echo said; exec sleep 1000');
    await until(async () => (await remote('logs', 'over-tcp')) === 'said');
    assert.equal(await local('ps', '--format', '{{.Names}}'), 'over-tcp');
    assert.equal(await remote('exec', 'over-tcp', 'echo', 'well'), 'well');
    // Its input ends, and its output is still read.
    const client = spawn('docker', ['run', '--rm', '-i', image, 'cat'], {
      env: { ...process.env, ...exported('tcp://') },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    client.stdin.end('through\n');
    assert.equal((await Array.fromAsync(client.stdout)).join(''), 'through\n');
    await remote('rm', '-f', 'over-tcp');
  });

  test('nobody else is let in', async () => {
    const { DOCKER_HOST: host = '', DOCKER_CERT_PATH: directory = '' } = exported('tcp://');
    for (const name of ['ca.pem', 'cert.pem', 'key.pem'])
      assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name);
    const refused = async (words: string[], environment: Record<string, string> = {}): Promise<string> => {
      const { code, stderr } = await docker({ DOCKER_HOST: host, ...environment }, ...words, 'version');
      assert.notEqual(code, 0, words.join(' '));
      return stderr;
    };
    assert.match(await refused([]), /HTTP request to an HTTPS server|malformed HTTP response|EOF|reset/);
    const ca = ['--tlsverify', '--tlscacert', join(directory, 'ca.pem')];
    assert.match(await refused(ca), /certificate required|bad certificate|reset/);
    const other = await createAuthority({ commonName: 'other', days: 1 });
    const stranger = await issueCertificate(other, {
      commonName: 'docker-client',
      organizations: ['system:sampan:docker-clients'],
      usages: ['client'],
      days: 1,
    });
    const place = join(instance.directory, 'stranger');
    mkdirSync(place);
    writeFileSync(join(place, 'cert.pem'), stranger.certificate);
    writeFileSync(join(place, 'key.pem'), stranger.key);
    const pair = (certificate: string, key: string): string[] => ['--tlscert', certificate, '--tlskey', key];
    const foreign = pair(join(place, 'cert.pem'), join(place, 'key.pem'));
    assert.match(
      await refused([...ca, ...foreign]),
      /certificate required|unknown certificate authority|bad certificate|reset/,
    );
    // The administrator of the cluster has one of this authority, for another door.
    const pki = join(instance.dataDirectory, 'pki');
    const admin = pair(join(pki, 'admin.crt'), join(pki, 'admin.key'));
    assert.match(await refused([...ca, ...admin]), /this certificate is for another door/);
  });

  test('a mirror with a login, and a limit for builds, by flags', async () => {
    const upstream = `${peer.host}/team/alone:1`;
    await local('tag', image, upstream);
    await local('push', upstream);
    const own = /https:\/\/(127\.0\.0\.1:\d+)/.exec(said.join('\n'))?.[1] ?? '';
    const mirrored = `${own}/lan/team/alone:1`;
    await local('pull', mirrored);
    assert.equal(await local('run', '--rm', mirrored, 'echo', 'runs'), 'runs');
    const context = join(instance.directory, 'context');
    mkdirSync(context);
    writeFileSync(join(context, 'Dockerfile'), `FROM ${image}\nRUN sleep 1000\n`);
    const slow = await docker({ ...exported('unix://'), DOCKER_BUILDKIT: '0' }, 'build', context);
    assert.match(slow.stderr, /the build took longer than 4 seconds and was stopped/);
    assert.match((await instance.sampan('engine', '--mirror', 'a b')).stderr, /as --mirror: .*is no host/);
    await local('rmi', upstream, mirrored);
  });

  test('a second one is refused, and so is down', async () => {
    const again = await instance.sampan('engine');
    assert.equal(again.code, 1);
    assert.match(again.stderr, new RegExp(`another engine \\(process ${engine.pid}\\)`));
    const down = await instance.sampan('down', '--purge');
    assert.equal(down.code, 1);
    assert.match(down.stderr, /another engine .* stop it first/);
    assert.equal(await local('ps', '-q'), '');
    for (const tcp of ['2376', 'here:', '1.2.3.4:99999']) {
      const wrong = await instance.sampan('engine', '--tcp', tcp);
      assert.match(wrong.stderr, /is not HOST:PORT/);
    }
    assert.match((await instance.sampan('engine', '--help')).stdout, /--tcp <host:port>/);
  });

  test('kill -9: containers go on, and the next engine has them', async () => {
    const id = await local('run', '-d', '--restart', 'always', image, 'sleep', '1000');
    const pid = await local('inspect', '-f', '{{.State.Pid}}', id);
    const closed = once(engine, 'close');
    engine.kill('SIGKILL');
    await closed;
    assert.ok(existsSync(`/proc/${pid}`));
    await start();
    assert.equal(await remote('inspect', '-f', '{{.State.Pid}} {{.State.Running}}', id), `${pid} true`);
  });

  test('SIGTERM ends it in order, with status 0, though clients hang on; containers go on', async () => {
    const pid = await local('inspect', '-f', '{{.State.Pid}}', await local('ps', '-q'));
    const hanging = spawn('docker', ['events'], { env: { ...process.env, ...exported('tcp://') }, stdio: 'ignore' });
    const gone = once(hanging, 'close');
    const closed = once(engine, 'close');
    engine.kill('SIGTERM');
    assert.deepEqual(await closed, [0, null]);
    await gone;
    assert.ok(existsSync(`/proc/${pid}`));
  });
});
