import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createNode, startControlPlane, type ControlPlane, until } from '#testing/control-plane.ts';
import { events, nodes, pods } from '../kinds/resources.ts';
import type { Pod, PodSpec } from '../kinds/types/core.ts';
import { startScheduler } from './start.ts';

describe('scheduler', () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane();
    const { close } = await startScheduler(plane.context);
    scheduler = { close };
  });
  let scheduler: { close(): Promise<void> };
  after(async () => {
    await scheduler.close();
    await plane.close();
  });

  const pod = (namespace: string, name: string, spec: Partial<PodSpec> = {}): Pod => ({
    metadata: { name, namespace },
    spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
  });
  const asking = (cpu: string): Partial<PodSpec> => ({
    containers: [{ name: 'c', image: 'i', resources: { requests: { cpu } } }],
  });
  const nodeOf = (list: Pod[], name: string): string | undefined =>
    list.find(({ metadata }) => metadata.name === name)?.spec?.nodeName;

  it('says that there is no node, and binds when there is one', async () => {
    const namespace = await plane.namespace('first');
    await plane.client.create(pods, pod(namespace, 'early'));
    const [waiting] = await until(plane.client, pods, namespace, ([one]) => (one?.status?.conditions?.length ?? 0) > 0);
    const condition = waiting?.status?.conditions?.find(({ type }) => type === 'PodScheduled');
    assert.deepEqual(
      [condition?.status, condition?.reason, condition?.message],
      ['False', 'Unschedulable', 'no nodes available to schedule pods'],
    );
    await createNode(plane.client, 'node-1', { cpu: '2' });
    const [bound] = await until(plane.client, pods, namespace, ([one]) => one?.spec?.nodeName === 'node-1');
    assert.equal(bound?.status?.conditions?.find(({ type }) => type === 'PodScheduled')?.status, 'True');
    const said = await until(plane.client, events, namespace, (list) => list.length === 2);
    assert.deepEqual(said.map(({ reason }) => reason).toSorted(), ['FailedScheduling', 'Scheduled']);
  });

  it('binds within milliseconds', async () => {
    const namespace = await plane.namespace('fast');
    const times: number[] = [];
    for (let index = 0; index < 20; index++) {
      const began = performance.now();
      await plane.client.create(pods, pod(namespace, `p${index}`));
      await until(plane.client, pods, namespace, (list) => nodeOf(list, `p${index}`) !== undefined);
      times.push(performance.now() - began);
    }
    times.sort((a, b) => a - b);
    assert.ok((times[10] ?? 0) < 500, `median ${times[10]} ms`);
  });

  it('waits for room, and takes it when a pod goes', async () => {
    const namespace = await plane.namespace('room');
    await plane.client.create(pods, pod(namespace, 'large', asking('1500m')));
    await until(plane.client, pods, namespace, (list) => nodeOf(list, 'large') === 'node-1');
    await plane.client.create(pods, pod(namespace, 'next', asking('1')));
    await until(plane.client, pods, namespace, (list) =>
      list.some(({ status }) =>
        status?.conditions?.some(({ message }) => message === '0/1 nodes are available: 1 Insufficient cpu.'),
      ),
    );
    await plane.client.delete(pods, 'large', { namespace, gracePeriodSeconds: 0 });
    await until(plane.client, pods, namespace, (list) => nodeOf(list, 'next') === 'node-1');
  });

  it('leaves gated pods alone, and takes them at once when their gates are lifted', async () => {
    const namespace = await plane.namespace('gates');
    await plane.client.create(pods, pod(namespace, 'gated', { schedulingGates: [{ name: 'example.com/gate' }] }));
    await plane.client.create(pods, pod(namespace, 'other', { schedulerName: 'somebody-else' }));
    await plane.client.create(pods, pod(namespace, 'free'));
    const list = await until(plane.client, pods, namespace, (all) => nodeOf(all, 'free') === 'node-1');
    assert.equal(nodeOf(list, 'gated'), undefined);
    const gated = await plane.client.get(pods, 'gated', namespace);
    await plane.client.update(pods, {
      ...gated,
      spec: { ...gated.spec, containers: gated.spec?.containers ?? [], schedulingGates: [] },
    });
    const after = await until(plane.client, pods, namespace, (all) => nodeOf(all, 'gated') === 'node-1');
    assert.equal(nodeOf(after, 'other'), undefined);
  });

  it('never gives out more than there is, and spreads what it gives', async () => {
    const namespace = await plane.namespace('many');
    const node = await plane.client.get(nodes, 'node-1');
    await plane.client.update(nodes, { ...node, spec: { ...node.spec, unschedulable: true } });
    await createNode(plane.client, 'node-2', { cpu: '1' });
    await createNode(plane.client, 'node-3', { cpu: '1' });
    await Promise.all(
      Array.from({ length: 30 }, (_, index) => plane.client.create(pods, pod(namespace, `p${index}`, asking('100m')))),
    );
    const list = await until(
      plane.client,
      pods,
      namespace,
      (all) =>
        all.filter(({ spec }) => spec?.nodeName).length === 20 &&
        all.filter(({ status }) => status?.conditions?.some(({ reason }) => reason === 'Unschedulable')).length === 10,
    );
    const on = (name: string): number => list.filter(({ spec }) => spec?.nodeName === name).length;
    assert.deepEqual([on('node-1'), on('node-2'), on('node-3')], [0, 10, 10]);
    const waiting = list.find(({ spec }) => !spec?.nodeName);
    assert.equal(
      waiting?.status?.conditions?.find(({ type }) => type === 'PodScheduled')?.message,
      '0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.',
    );
    assert.deepEqual(plane.warnings, []);
  });
});
