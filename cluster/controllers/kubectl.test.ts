/** Deployments as a stock kubectl drives them, with every controller and the scheduler running. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type ControlPlane, createNode, playNodes, startControlPlane } from '#testing/control-plane.ts';
import { startScheduler } from '../scheduler/start.ts';
import { allControllers } from './all.ts';

const missing = spawnSync('kubectl', ['version', '--client']).error ? 'kubectl is not installed' : false;

async function writeKubeconfig(
  directory: string,
  { url, ca = '', certificate = '', key = '' }: ControlPlane['address'],
): Promise<string> {
  const encode = (text: string): string => Buffer.from(text).toString('base64');
  const path = join(directory, 'config');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    clusters: [{ name: 'test', cluster: { server: url, 'certificate-authority-data': encode(ca) } }],
    users: [{ name: 'test', user: { 'client-certificate-data': encode(certificate), 'client-key-data': encode(key) } }],
  };
  await writeFile(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}

describe('kubectl', { skip: missing }, () => {
  it('creates, rolls out, undoes, pauses, scales and deletes a deployment', async (context) => {
    const plane = await startControlPlane();
    const directory = await mkdtemp(join(tmpdir(), 'sampan-kubectl-'));
    const stopNodes = playNodes(plane.client);
    const scheduler = await startScheduler(plane.context);
    context.after(async () => {
      stopNodes();
      await scheduler.close();
      await plane.close();
      await rm(directory, { recursive: true, force: true });
    });
    await plane.start(...allControllers());
    await createNode(plane.client, 'node-1');
    const kubeconfig = await writeKubeconfig(directory, plane.address);
    const kubectl = (...args: string[]): Promise<string> =>
      new Promise((resolve, reject) => {
        const all = ['--kubeconfig', kubeconfig, '--cache-dir', join(directory, 'cache'), ...args];
        execFile('kubectl', all, { timeout: 60_000 }, (error, stdout, stderr) => {
          if (error) reject(new Error(`kubectl ${args.join(' ')}: ${stderr}`, { cause: error }));
          else resolve(stdout);
        });
      });
    const rolledOut = async (): Promise<void> =>
      assert.match(await kubectl('rollout', 'status', 'deployment/web', '--timeout=30s'), /successfully rolled out/);
    const images = async (): Promise<string> =>
      kubectl('get', 'pods', '-o', 'jsonpath={range .items[*]}{.spec.containers[0].image} {end}');
    const revisions = async (): Promise<string[]> =>
      (await kubectl('rollout', 'history', 'deployment/web'))
        .split('\n')
        .slice(2)
        .flatMap((line) => line.split(' ')[0] || []);

    await kubectl('create', 'deployment', 'web', '--image=app:1', '--replicas=3', '--port=80');
    await rolledOut();
    await kubectl('set', 'image', 'deployment/web', 'app=app:2');
    await rolledOut();
    assert.equal(await images(), 'app:2 app:2 app:2 ');
    assert.deepEqual(await revisions(), ['1', '2']);
    await kubectl('rollout', 'undo', 'deployment/web');
    await rolledOut();
    assert.equal(await images(), 'app:1 app:1 app:1 ');
    assert.deepEqual(await revisions(), ['2', '3']);
    await kubectl('rollout', 'pause', 'deployment/web');
    await kubectl('set', 'image', 'deployment/web', 'app=app:3');
    await kubectl('scale', 'deployment/web', '--replicas=4');
    await kubectl('wait', '--for=jsonpath={.status.availableReplicas}=4', 'deployment/web', '--timeout=30s');
    assert.equal(await images(), 'app:1 app:1 app:1 app:1 ');
    await kubectl('rollout', 'resume', 'deployment/web');
    await rolledOut();
    assert.equal(await images(), 'app:3 app:3 app:3 app:3 ');
    await kubectl('expose', 'deployment', 'web', '--port=80');
    await kubectl(
      'wait',
      '--for=jsonpath={.endpoints[3].conditions.ready}=true',
      'endpointslices',
      '-l',
      'kubernetes.io/service-name=web',
      '--timeout=30s',
    );
    await kubectl('delete', 'deployment', 'web', '--cascade=foreground', '--timeout=30s');
    assert.equal(await kubectl('get', 'deployments,replicasets,pods', '-o', 'name'), '');
    assert.deepEqual(plane.warnings, []);
  });
});
