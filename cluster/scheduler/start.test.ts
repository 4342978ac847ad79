import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createNode, startControlPlane, type ControlPlane, until } from '#testing/control-plane.ts';
import { events, nodes, pods, priorityClasses } from '../kinds/resources.ts';
import type { Stored } from '../kinds/kind.ts';
import type { Pod, PodSpec } from '../kinds/types/core.ts';
import { startScheduler } from './start.ts';

const noVictims = 'No preemption victims found for incoming pod';

describe('scheduler', () => {
  let plane: ControlPlane;
  let scheduler: { close(): Promise<void> };
  before(async () => {
    plane = await startControlPlane();
    scheduler = await startScheduler(plane.context);
    await plane.client.create(priorityClasses, { metadata: { name: 'high' }, value: 1000 });
  });
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
  const named = (list: Stored<Pod>[], name: string): Stored<Pod> | undefined =>
    list.find(({ metadata }) => metadata.name === name);
  const nodeOf = (list: Stored<Pod>[], name: string): string | undefined => named(list, name)?.spec?.nodeName;
  const whyNot = (one: Pod | undefined): string | undefined =>
    one?.status?.conditions?.find(({ type, status }) => type === 'PodScheduled' && status === 'False')?.message;

  it('says that there is no node, and binds when there is one', async () => {
    const namespace = await plane.namespace('first');
    await plane.client.create(pods, pod(namespace, 'early'));
    const [waiting] = await until(plane.client, pods, namespace, ([one]) => whyNot(one) !== undefined);
    const condition = waiting?.status?.conditions?.find(({ type }) => type === 'PodScheduled');
    assert.deepEqual(
      [condition?.status, condition?.reason, condition?.message],
      ['False', 'Unschedulable', 'no nodes available to schedule pods'],
    );
    await createNode(plane.client, 'node-1', { cpu: '2' });
    const [bound] = await until(plane.client, pods, namespace, ([one]) => one?.spec?.nodeName === 'node-1');
    assert.equal(bound?.status?.conditions?.find(({ type }) => type === 'PodScheduled')?.status, 'True');
    const said = await until(plane.client, events, namespace, (list) => list.length === 2);
    assert.deepEqual(said.map(({ reason, message }) => `${reason}: ${message}`).toSorted(), [
      'FailedScheduling: no nodes available to schedule pods',
      'Scheduled: Successfully assigned first/early to node-1',
    ]);
  });

  it('waits for room, and takes it when a pod goes', async () => {
    const namespace = await plane.namespace('room');
    await plane.client.create(pods, pod(namespace, 'large', asking('1500m')));
    await until(plane.client, pods, namespace, (list) => nodeOf(list, 'large') === 'node-1');
    await plane.client.create(pods, pod(namespace, 'next', asking('1')));
    await until(
      plane.client,
      pods,
      namespace,
      (list) =>
        whyNot(named(list, 'next')) ===
        `0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 ${noVictims}.`,
    );
    await plane.client.delete(pods, 'large', { namespace, gracePeriodSeconds: 0 });
    await until(plane.client, pods, namespace, (list) => nodeOf(list, 'next') === 'node-1');
    await plane.client.delete(pods, 'next', { namespace, gracePeriodSeconds: 0 });
  });

  it('leaves gated pods alone, and takes them at once when their gates are lifted', async () => {
    const namespace = await plane.namespace('gates');
    await plane.client.create(pods, pod(namespace, 'gated', { schedulingGates: [{ name: 'example.com/gate' }] }));
    await plane.client.create(pods, pod(namespace, 'other', { schedulerName: 'somebody-else' }));
    await plane.client.create(pods, pod(namespace, 'free'));
    const list = await until(plane.client, pods, namespace, (all) => nodeOf(all, 'free') === 'node-1');
    const condition = named(list, 'gated')?.status?.conditions?.[0];
    assert.deepEqual([condition?.type, condition?.reason], ['PodScheduled', 'SchedulingGated']);
    assert.equal(nodeOf(list, 'gated'), undefined);
    const gated = await plane.client.get(pods, 'gated', namespace);
    await plane.client.update(pods, {
      ...gated,
      spec: { ...gated.spec, containers: gated.spec?.containers ?? [], schedulingGates: [] },
    });
    const later = await until(plane.client, pods, namespace, (all) => nodeOf(all, 'gated') === 'node-1');
    assert.equal(nodeOf(later, 'other'), undefined);
  });

  it('makes room for a more important pod, gracefully, and gives it to that one', async () => {
    const namespace = await plane.namespace('important');
    await plane.client.create(pods, pod(namespace, 'low', asking('1500m')));
    await until(plane.client, pods, namespace, (list) => nodeOf(list, 'low') === 'node-1');
    await plane.client.create(pods, pod(namespace, 'high', { ...asking('1'), priorityClassName: 'high' }));
    const list = await until(
      plane.client,
      pods,
      namespace,
      (all) =>
        named(all, 'low')?.metadata.deletionTimestamp !== undefined &&
        named(all, 'high')?.status?.nominatedNodeName === 'node-1',
    );
    assert.equal(named(list, 'low')?.metadata.deletionGracePeriodSeconds, 30);
    const disrupted = named(list, 'low')?.status?.conditions?.find(({ type }) => type === 'DisruptionTarget');
    assert.deepEqual(
      [disrupted?.status, disrupted?.reason, disrupted?.message],
      ['True', 'PreemptionByScheduler', 'default-scheduler: preempting to accommodate a higher priority pod'],
    );
    assert.equal(whyNot(named(list, 'high')), '0/1 nodes are available: 1 Insufficient cpu.');
    // Who comes now does not get what was made free for another.
    await plane.client.create(pods, pod(namespace, 'late', asking('1500m')));
    await until(plane.client, pods, namespace, (all) => whyNot(named(all, 'late')) !== undefined);
    await plane.client.delete(pods, 'low', { namespace, gracePeriodSeconds: 0 });
    const after = await until(plane.client, pods, namespace, (all) => nodeOf(all, 'high') === 'node-1');
    assert.equal(nodeOf(after, 'late'), undefined);
    const said = await until(plane.client, events, namespace, (all) =>
      all.some(({ reason }) => reason === 'Preempted'),
    );
    const preempted = said.find(({ reason }) => reason === 'Preempted');
    assert.deepEqual(
      [preempted?.involvedObject.name, preempted?.message],
      ['low', `Preempted by pod ${named(after, 'high')?.metadata.uid} on node node-1`],
    );
    await plane.client.delete(pods, 'late', { namespace });
    await plane.client.delete(pods, 'high', { namespace, gracePeriodSeconds: 0 });
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
        all.filter((one) => whyNot(one) !== undefined).length === 10,
    );
    const on = (name: string): number => list.filter(({ spec }) => spec?.nodeName === name).length;
    assert.deepEqual([on('node-1'), on('node-2'), on('node-3')], [0, 10, 10]);
    assert.equal(
      whyNot(list.find(({ spec }) => !spec?.nodeName)),
      `0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 ${noVictims}.`,
    );
    await plane.client.deleteCollection(pods, { namespace });
  });

  it('ends in the middle of its work, and another one goes on; two at once do no harm', async () => {
    const namespace = await plane.namespace('ended');
    await createNode(plane.client, 'node-4', { cpu: '4' });
    const made = Promise.all(
      Array.from({ length: 60 }, (_, index) => plane.client.create(pods, pod(namespace, `p${index}`, asking('50m')))),
    );
    await until(plane.client, pods, namespace, (all) => all.some(({ spec }) => spec?.nodeName));
    await scheduler.close();
    const others = await Promise.all([startScheduler(plane.context), startScheduler(plane.context)]);
    await made;
    await until(plane.client, pods, namespace, (all) => all.filter(({ spec }) => spec?.nodeName).length === 60);
    for (const other of others) await other.close();
    assert.deepEqual(plane.warnings, []);
  });
});
