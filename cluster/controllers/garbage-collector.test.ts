import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startControlPlane, type ControlPlane, until } from '#testing/control-plane.ts';
import type { Stored, TypedResource } from '../kinds/kind.ts';
import { configMaps, customResourceDefinitions, namespaces, secrets } from '../kinds/resources.ts';
import type { ObjectMeta, OwnerReference } from '../kinds/types/meta.ts';
import { createGarbageCollector } from './garbage-collector.ts';

interface Thing {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

const things: TypedResource<Thing> = {
  group: 'gc.example.com',
  version: 'v1',
  resource: 'things',
  kind: 'Thing',
  namespaced: true,
};

function ownedBy(kind: string, owner: Stored<{ metadata: ObjectMeta }>, blockOwnerDeletion = false): OwnerReference {
  const apiVersion = kind === 'Thing' ? 'gc.example.com/v1' : 'v1';
  return {
    apiVersion,
    kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid,
    ...(blockOwnerDeletion && { blockOwnerDeletion }),
  };
}

describe('garbage collector', () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane();
    await plane.start(createGarbageCollector());
  });
  after(() => plane.close());

  const map = (namespace: string, name: string, ownerReferences: OwnerReference[] = [], finalizers: string[] = []) =>
    plane.client.create(configMaps, {
      metadata: {
        name,
        namespace,
        ...(ownerReferences.length > 0 && { ownerReferences }),
        ...(finalizers.length > 0 && { finalizers }),
      },
    });
  const names = (list: { metadata: { name: string } }[]): string[] =>
    list.map(({ metadata }) => metadata.name).toSorted();

  it('deletes after the owner, through generations, what no other owner holds', async () => {
    const namespace = await plane.namespace('background');
    const owner = await map(namespace, 'owner');
    const other = await map(namespace, 'other');
    const child = await map(namespace, 'child', [ownedBy('ConfigMap', owner)]);
    await map(namespace, 'shared', [ownedBy('ConfigMap', owner), ownedBy('ConfigMap', other)]);
    await plane.client.create(secrets, {
      metadata: { name: 'grandchild', namespace, ownerReferences: [ownedBy('ConfigMap', child)] },
    });
    await plane.client.delete(configMaps, 'owner', { namespace });
    await until(plane.client, secrets, namespace, (list) => list.length === 0);
    const left = await until(plane.client, configMaps, namespace, (list) => list.length === 2);
    assert.deepEqual(names(left), ['other', 'shared']);
    const shared = await until(plane.client, configMaps, namespace, (list) =>
      list.some(({ metadata }) => metadata.name === 'shared' && metadata.ownerReferences?.length === 1),
    );
    assert.equal(
      shared.find(({ metadata }) => metadata.name === 'shared')?.metadata.ownerReferences?.[0]?.uid,
      other.metadata.uid,
    );
  });

  it('deletes what names an owner that never was, or is another by now', async () => {
    const namespace = await plane.namespace('dangling');
    const owner = await map(namespace, 'owner');
    await map(namespace, 'dangling', [{ ...ownedBy('ConfigMap', owner), uid: '11111111-1111-1111-1111-111111111111' }]);
    await until(plane.client, configMaps, namespace, (list) => list.length === 1 && list[0]?.metadata.name === 'owner');
  });

  it('leaves alone what is owned by a kind that nobody knows, or from a namespace that it is not in', async () => {
    const namespace = await plane.namespace('mistaken');
    const owner = await map(namespace, 'owner');
    await plane.client.create(namespaces, {
      metadata: { name: 'mistaken-too', ownerReferences: [ownedBy('ConfigMap', owner)] },
    });
    await map(namespace, 'typo', [{ ...ownedBy('ConfigMap', owner), kind: 'ConfigMop' }]);
    await map(namespace, 'goes', [ownedBy('ConfigMap', owner)]);
    await plane.client.delete(configMaps, 'owner', { namespace });
    const left = await until(plane.client, configMaps, namespace, (list) =>
      list.every(({ metadata }) => metadata.name !== 'goes'),
    );
    assert.deepEqual(names(left), ['typo']);
    const kept = await plane.client.get(namespaces, 'mistaken-too');
    assert.equal(kept.metadata.deletionTimestamp, undefined);
  });

  it('in the foreground, deletes the owner last', async () => {
    const namespace = await plane.namespace('foreground');
    const owner = await map(namespace, 'owner');
    await map(namespace, 'blocking', [ownedBy('ConfigMap', owner, true)], ['example.com/hold']);
    await map(namespace, 'loose', [ownedBy('ConfigMap', owner)]);
    await plane.client.delete(configMaps, 'owner', { namespace, propagationPolicy: 'Foreground' });
    const waiting = await until(
      plane.client,
      configMaps,
      namespace,
      (list) => list.length === 2 && list.every(({ metadata }) => metadata.deletionTimestamp !== undefined),
    );
    assert.deepEqual(names(waiting), ['blocking', 'owner']);
    await plane.client.patch(
      configMaps,
      'blocking',
      { type: 'merge', body: { metadata: { finalizers: null } } },
      { namespace },
    );
    await until(plane.client, configMaps, namespace, (list) => list.length === 0);
  });

  it('in the foreground, takes a circle of owners with it', async () => {
    const namespace = await plane.namespace('circle');
    const members = await Promise.all(['a', 'b', 'c'].map((name) => map(namespace, name)));
    for (const [index, { metadata }] of members.entries()) {
      const owner = members.at(index - 1);
      assert.ok(owner);
      const ownerReferences = [ownedBy('ConfigMap', owner, true)];
      const body = { metadata: { ownerReferences } };
      await plane.client.patch(configMaps, metadata.name, { type: 'merge', body }, { namespace });
    }
    await plane.client.delete(configMaps, 'a', { namespace, propagationPolicy: 'Foreground' });
    await until(plane.client, configMaps, namespace, (list) => list.length === 0);
  });

  it('orphans when it is asked to', async () => {
    const namespace = await plane.namespace('orphan');
    const owner = await map(namespace, 'owner');
    await map(namespace, 'child', [ownedBy('ConfigMap', owner)]);
    await plane.client.delete(configMaps, 'owner', { namespace, propagationPolicy: 'Orphan' });
    const [child] = await until(plane.client, configMaps, namespace, (list) => list.length === 1);
    assert.deepEqual([child?.metadata.name, child?.metadata.ownerReferences], ['child', undefined]);
  });

  it('knows custom resources, as owners and as owned', async () => {
    const namespace = await plane.namespace('custom');
    await plane.client.create(customResourceDefinitions, {
      metadata: { name: 'things.gc.example.com' },
      spec: {
        group: 'gc.example.com',
        scope: 'Namespaced',
        names: { plural: 'things', singular: 'thing', kind: 'Thing', listKind: 'ThingList' },
        versions: [
          {
            name: 'v1',
            served: true,
            storage: true,
            schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
          },
        ],
      },
    });
    await until(
      plane.client,
      customResourceDefinitions,
      undefined,
      ([one]) =>
        one?.status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True') ?? false,
    );
    const owner = await plane.client.create(things, { metadata: { name: 'owner', namespace } });
    await plane.client.create(things, {
      metadata: { name: 'child', namespace, ownerReferences: [ownedBy('Thing', owner)] },
    });
    await map(namespace, 'child', [ownedBy('Thing', owner)]);
    await plane.client.delete(things, 'owner', { namespace });
    await until(plane.client, configMaps, namespace, (list) => list.length === 0);
    await until(plane.client, things, namespace, (list) => list.length === 0);
    assert.deepEqual(
      plane.warnings.filter((line) => !line.includes('no such kind')),
      [],
    );
  });
});
