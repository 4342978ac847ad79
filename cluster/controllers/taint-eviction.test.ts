/** Pods on a node that somebody taints: those that do not tolerate it go, those that do for a while go after it, others stay. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNode, startControlPlane, until } from '#testing/control-plane.ts';
import { nodes, pods } from '../kinds/resources.ts';
import { createTaintEviction } from './taint-eviction.ts';

test('a NoExecute taint evicts by what pods tolerate', async (t) => {
  const plane = await startControlPlane();
  t.after(() => plane.close());
  await createNode(plane.client, 'node-1');
  const namespace = await plane.namespace('tainted');
  const create = (name: string, tolerationSeconds?: number | 'always') =>
    plane.client.create(pods, {
      metadata: { name, namespace, finalizers: ['test.example/kept'] },
      spec: {
        nodeName: 'node-1',
        containers: [{ name: 'c', image: 'i' }],
        ...(tolerationSeconds !== undefined && {
          tolerations: [
            {
              key: 'leave',
              operator: 'Exists',
              effect: 'NoExecute',
              ...(tolerationSeconds !== 'always' && { tolerationSeconds }),
            },
          ],
        }),
      },
    });
  await create('none');
  await create('shortly', 1);
  await create('long', 3600);
  await create('always', 'always');
  await plane.start(createTaintEviction());
  const taint = (taints: { key: string; effect: string }[]) =>
    plane.client.patch(nodes, 'node-1', { type: 'merge', body: { spec: { taints } } });
  const going = async (...names: string[]): Promise<void> => {
    await until(plane.client, pods, namespace, (items) => {
      const found = items.flatMap(({ metadata }) => (metadata.deletionTimestamp === undefined ? [] : [metadata.name]));
      return found.sort().join() === names.sort().join();
    });
  };
  await taint([{ key: 'other', effect: 'NoSchedule' }]);
  await taint([{ key: 'leave', effect: 'NoExecute' }]);
  await going('none', 'shortly');
  const evicted = await plane.client.get(pods, 'none', namespace);
  const condition = evicted.status?.conditions?.find(({ type }) => type === 'DisruptionTarget');
  assert.deepEqual([condition?.status, condition?.reason], ['True', 'DeletionByTaintManager']);
  await taint([]);
  await create('later');
  await taint([{ key: 'leave', effect: 'NoExecute' }]);
  await going('none', 'shortly', 'later');
});
