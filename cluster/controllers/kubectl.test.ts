/** Deployments as a stock kubectl drives them, with every controller and the scheduler running. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createNode, playNodes, startControlPlane } from '#testing/control-plane.ts';
import { kubectlOld, startKubectl } from '#testing/kubectl.ts';
import { startScheduler } from '../scheduler/start.ts';
import { allControllers } from './all.ts';

describe('kubectl', { skip: kubectlOld }, () => {
  it('creates, rolls out, undoes, pauses, scales and deletes a deployment', async (context) => {
    const plane = await startControlPlane();
    const client = await startKubectl(plane);
    const kubectl = client.run;
    const stopNodes = playNodes(plane.client);
    const scheduler = await startScheduler(plane.context);
    context.after(async () => {
      stopNodes();
      await scheduler.close();
      await plane.close();
      await client.close();
    });
    // Its nodes never say anything.
    await plane.start(...allControllers({ nodeLifecycle: { startupGrace: 600_000, leaseGrace: 600_000 } }));
    await createNode(plane.client, 'node-1');
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
