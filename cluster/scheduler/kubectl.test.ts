/** What a stock kubectl shows of the scheduler's decisions. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createNode, startControlPlane } from '#testing/control-plane.ts';
import { kubectlOld, startKubectl } from '#testing/kubectl.ts';
import { startScheduler } from './start.ts';

describe('kubectl and the scheduler', { skip: kubectlOld }, () => {
  it('describes why a pod waits, and where it went', async (context) => {
    const plane = await startControlPlane();
    const client = await startKubectl(plane);
    const scheduler = await startScheduler(plane.context);
    context.after(async () => {
      await scheduler.close();
      await plane.close();
      await client.close();
    });
    const kubectl = client.run;
    await plane.namespace('default').catch(() => undefined);
    await createNode(plane.client, 'node-1', { cpu: '1' });
    await createNode(plane.client, 'node-2', { cpu: '2' });
    await kubectl('taint', 'nodes', 'node-2', 'dedicated=db:NoSchedule');
    const resources = { requests: { cpu: '2' } };
    await client.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'web' },
      spec: { containers: [{ name: 'c', image: 'i', resources }] },
    });
    await kubectl('wait', '--for=condition=PodScheduled=false', 'pod/web', '--timeout=20s');
    const message =
      '0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {dedicated: db}. preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.';
    await kubectl('wait', '--for=jsonpath={.reason}=FailedScheduling', 'events', '--all', '--timeout=20s');
    const waiting = await kubectl('describe', 'pod', 'web');
    assert.match(waiting, /Warning +FailedScheduling +\S+ +default-scheduler +0\/2 nodes/);
    assert.ok(waiting.includes(message), waiting);
    await kubectl('taint', 'nodes', 'node-2', 'dedicated-');
    await kubectl('wait', '--for=condition=PodScheduled', 'pod/web', '--timeout=20s');
    assert.match(await kubectl('get', 'pod', 'web', '-o', 'wide'), /node-2/);
    await kubectl('wait', '--for=jsonpath={.status.phase}=Pending', 'pod/web', '--timeout=20s');
    const events = await kubectl('events', '--for=pod/web', '-o', 'json');
    assert.match(events, /Successfully assigned default\/web to node-2/);
    assert.deepEqual(plane.warnings, []);
  });
});
