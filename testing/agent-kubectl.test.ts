/** The node agent as a stock kubectl sees it. */
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { pods } from '#cluster/kinds/resources.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';

const missing = spawnSync('kubectl', ['version', '--client']).error ? 'kubectl is not installed' : false;
let bed: AgentFixture;

before(async () => {
  if (missing) return;
  bed = await agentFixture(45);
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
  const options = { env: { ...process.env, KUBECONFIG: bed.kubeconfig }, timeout: 30_000 };
  const child = execFile('kubectl', args, options, (_error, stdout, stderr) =>
    resolve({ code: child.exitCode ?? 255, stdout, stderr }),
  );
  return promise;
}

test('get and describe', { skip: missing }, async () => {
  const list = await kubectl('get', 'pods', '-o', 'wide');
  assert.match(list.stdout, /web\s+1\/1\s+Running\s+0 .*10\.97\.45\.\d+\s+node-45/, list.stderr);
  assert.match((await kubectl('get', 'nodes')).stdout, /node-45\s+Ready\s+\S+\s+\S+\s+v1\.30\.0\+sampan/);
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
