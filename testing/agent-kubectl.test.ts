/** The node agent as a stock kubectl sees it. */
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { pods } from '#cluster/kinds/resources.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';

const missing = spawnSync('kubectl', ['version', '--client']).error ? 'kubectl is not installed' : false;
let bed: AgentFixture;

before(async () => {
  if (missing) return;
  bed = await agentFixture(await claimOctet());
  await bed.client.create(pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace: 'default' },
    spec: {
      nodeName: bed.nodeName,
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'main',
          image: bed.image,
          imagePullPolicy: 'IfNotPresent',
          command: ['sh', '-c', 'echo hello; exec sleep 1000'],
          readinessProbe: { exec: { command: ['true'] } },
        },
      ],
    },
  });
  await bed.until('web', 'Ready', (pod) =>
    Boolean(pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True')),
  );
});
after(() => bed?.close());

async function kubectl(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { promise, resolve } = Promise.withResolvers<{ code: number; stdout: string; stderr: string }>();
  const options = { env: { ...process.env, KUBECONFIG: bed.kubeconfig }, timeout: 60_000 };
  const child = execFile('kubectl', args, options, (_error, stdout, stderr) =>
    resolve({ code: child.exitCode ?? 255, stdout, stderr }),
  );
  return promise;
}

test('get and describe', { skip: missing }, async () => {
  const list = await kubectl('get', 'pods', '-o', 'wide');
  const pod = new RegExp(`web\\s+1/1\\s+Running\\s+0 .*10\\.97\\.\\d+\\.\\d+\\s+${bed.nodeName}`);
  assert.match(list.stdout, pod, list.stderr);
  assert.match((await kubectl('get', 'nodes')).stdout, /node-\d+\s+Ready\s+\S+\s+\S+\s+v1\.30\.0\+sampan/);
  const described = await kubectl('describe', 'pod', 'web');
  assert.match(described.stdout, /State:\s+Running/);
  assert.match(described.stdout, /Normal\s+Started\s+\S+\s+kubelet\s+Started container main/);
});

test('logs, at once and followed', { skip: missing }, async () => {
  assert.equal((await kubectl('logs', 'web')).stdout, 'hello\n');
  const follower = spawn('kubectl', ['logs', '-f', 'web'], { env: { ...process.env, KUBECONFIG: bed.kubeconfig } });
  const [chunk] = (await once(follower.stdout, 'data')) as [Buffer];
  assert.equal(chunk.toString(), 'hello\n');
  follower.kill();
  await once(follower, 'exit');
});

test('logs of the run before, of every container, since, in parts and with times', { skip: missing }, async () => {
  const container = (name: string, script: string) => ({
    name,
    image: bed.image,
    imagePullPolicy: 'IfNotPresent',
    command: ['sh', '-c', script],
  });
  await bed.client.create(pods, {
    metadata: { name: 'talk', namespace: 'default', annotations: { 'node.sampan.dev/backoff': 'cloudfoundry' } },
    spec: {
      nodeName: bed.nodeName,
      terminationGracePeriodSeconds: 0,
      initContainers: [container('first', 'echo begun')],
      volumes: [{ name: 'run', emptyDir: {} }],
      containers: [
        {
          ...container(
            'main',
            'test -e /run/again && echo second && exec sleep 1000; touch /run/again; echo one; echo two; exit 1',
          ),
          volumeMounts: [{ name: 'run', mountPath: '/run' }],
        },
        container('other', 'echo beside; exec sleep 1000'),
      ],
    },
  });
  await bed.until('talk', 'runs again', (pod) => {
    const statuses = pod?.status?.containerStatuses ?? [];
    return statuses[0]?.restartCount === 1 && statuses.every(({ state }) => state?.running !== undefined);
  });
  const logs = async (...args: string[]) => (await kubectl('logs', 'talk', ...args)).stdout;
  assert.equal(await logs('-c', 'main', '--previous'), 'one\ntwo\n');
  assert.equal(await logs('-c', 'main', '--previous', '--tail=1'), 'two\n');
  assert.equal(await logs('-c', 'main', '--previous', '--limit-bytes=5'), 'one\nt');
  assert.match(await logs('-c', 'main', '--timestamps'), /^\d{4}-\d\d-\d\dT[\d:.]+\S* second\n$/);
  assert.equal(await logs('-c', 'main', '--since=1h'), 'second\n');
  assert.equal(await logs('-c', 'main', '--since-time=2099-01-01T00:00:00Z'), '');
  assert.equal(await logs('-c', 'first'), 'begun\n');
  assert.deepEqual((await logs('--all-containers', '--prefix')).split('\n').sort(), [
    '',
    '[pod/talk/first] begun',
    '[pod/talk/main] second',
    '[pod/talk/other] beside',
  ]);
  assert.match(
    (await kubectl('logs', 'talk', '-c', 'other', '-p')).stderr,
    /previous terminated container "other" in pod "talk" not found/,
  );
  await kubectl('delete', 'pod', 'talk', '--wait=false');
});

test('exec: input, output and the exit code', { skip: missing }, async () => {
  const child = spawn('kubectl', ['exec', '-i', 'web', '--', 'cat'], {
    env: { ...process.env, KUBECONFIG: bed.kubeconfig },
  });
  child.stdin.end('through\n');
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  assert.equal(out, 'through\n', err);
  assert.equal(code, 0);
  const failed = await kubectl('exec', 'web', '--', 'sh', '-c', 'exit 9');
  assert.equal(failed.code, 9);
  const none = await kubectl('exec', 'web', '--', '/no/such');
  assert.equal(none.code, 127);
  assert.match(none.stderr, /no such file/i);
});

test('delete', { skip: missing }, async () => {
  assert.equal((await kubectl('delete', 'pod', 'web', '--timeout=20s')).code, 0);
  assert.equal((await kubectl('get', 'pod', 'web')).code, 1);
});
