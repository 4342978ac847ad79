/** Where pods with claims go, with the controllers that bind them, and nobody to mount anything. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { type ControlPlane, createNode, startControlPlane, until } from '#testing/control-plane.ts';
import { storageControllers } from '../../controllers/all.ts';
import type { Stored } from '../../kinds/kind.ts';
import {
  csiDrivers,
  csiNodes,
  csiStorageCapacities,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  storageClasses,
  volumeAttachments,
} from '../../kinds/resources.ts';
import type { PersistentVolumeClaimSpec, Pod } from '../../kinds/types/core.ts';
import type { VolumeAttachment } from '../../kinds/types/storage.ts';
import { startScheduler } from '../start.ts';

describe('scheduling by volumes', () => {
  let plane: ControlPlane;
  let scheduler: { close(): Promise<void> };
  before(async () => {
    plane = await startControlPlane();
    for (const name of ['node-1', 'node-2']) {
      await createNode(plane.client, name);
      const body = { metadata: { labels: { 'kubernetes.io/hostname': name } } };
      await plane.client.patch(nodes, name, { type: 'merge', body });
    }
    await plane.client.create(storageClasses, {
      metadata: { name: 'static' },
      provisioner: 'kubernetes.io/no-provisioner',
      volumeBindingMode: 'WaitForFirstConsumer',
    });
    await plane.start(...storageControllers());
    scheduler = await startScheduler(plane.context);
    await until(plane.client, storageClasses, undefined, (all) =>
      all.some(({ metadata }) => metadata.name === 'local'),
    );
  });
  after(async () => {
    await scheduler.close();
    await plane.close();
  });

  const claim = (namespace: string, name: string, spec: Partial<PersistentVolumeClaimSpec> = {}) =>
    plane.client.create(persistentVolumeClaims, {
      metadata: { name, namespace },
      spec: {
        accessModes: ['ReadWriteOnce'],
        resources: { requests: { storage: '1Gi' } },
        storageClassName: 'local',
        ...spec,
      },
    });
  const pod = (namespace: string, name: string, claims: string[], spec: Partial<Pod['spec']> = {}) =>
    plane.client.create(pods, {
      metadata: { name, namespace },
      spec: {
        containers: [{ name: 'c', image: 'i' }],
        volumes: claims.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } })),
        ...spec,
      },
    });
  const podIs = async (namespace: string, name: string, holds: (one: Stored<Pod>) => boolean) => {
    const all = await until(plane.client, pods, namespace, (list) =>
      list.some((one) => one.metadata.name === name && holds(one)),
    );
    return all.find(({ metadata }) => metadata.name === name);
  };
  const nodeOf = async (namespace: string, name: string) =>
    (await podIs(namespace, name, ({ spec }) => Boolean(spec?.nodeName)))?.spec?.nodeName;
  const whyNot = (one: Stored<Pod> | undefined): string =>
    one?.status?.conditions?.find(({ type, status }) => type === 'PodScheduled' && status === 'False')?.message ?? '';
  const refused = async (namespace: string, name: string) =>
    whyNot(await podIs(namespace, name, (one) => whyNot(one) !== ''));
  const localVolume = (name: string, node: string) =>
    plane.client.create(persistentVolumes, {
      metadata: { name },
      spec: {
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteOnce'],
        storageClassName: 'static',
        local: { path: `/disks/${name}` },
        nodeAffinity: {
          required: {
            nodeSelectorTerms: [
              { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [node] }] },
            ],
          },
        },
      },
    });

  it('makes the volume where the pod goes, and the next pod of the claim goes there too', async () => {
    const ns = await plane.namespace('on-demand');
    await claim(ns, 'data');
    await pod(ns, 'first', ['data'], { nodeSelector: { 'kubernetes.io/hostname': 'node-2' } });
    assert.equal(await nodeOf(ns, 'first'), 'node-2');
    const bound = await plane.client.get(persistentVolumeClaims, 'data', ns);
    assert.equal(bound.status?.phase, 'Bound', 'bound before the pod was');
    await pod(ns, 'second', ['data']);
    assert.equal(await nodeOf(ns, 'second'), 'node-2');
    await pod(ns, 'torn', ['data'], { nodeSelector: { 'kubernetes.io/hostname': 'node-1' } });
    assert.match(await refused(ns, 'torn'), /1 node\(s\) had volume node affinity conflict/);
  });

  it('takes a volume that is there, on the node where it is', async () => {
    const ns = await plane.namespace('static');
    await claim(ns, 'disk', { storageClassName: 'static' });
    await pod(ns, 'waits', ['disk']);
    assert.match(await refused(ns, 'waits'), /2 node\(s\) didn't find available persistent volumes to bind/);
    await localVolume('disk-2', 'node-2');
    assert.equal(await nodeOf(ns, 'waits'), 'node-2', 'as soon as there is one');
    assert.equal((await plane.client.get(persistentVolumeClaims, 'disk', ns)).spec?.volumeName, 'disk-2');
  });

  it('says what is wrong with a claim, and goes on when it is mended', async () => {
    const ns = await plane.namespace('mended');
    await pod(ns, 'early', ['later']);
    assert.match(await refused(ns, 'early'), /^0\/2 nodes are available: persistentvolumeclaim "later" not found\./);
    await claim(ns, 'later');
    assert.match((await nodeOf(ns, 'early')) ?? '', /^node-/);
    await claim(ns, 'unbound', { storageClassName: '' });
    await pod(ns, 'immediate', ['unbound']);
    assert.match(await refused(ns, 'immediate'), /pod has unbound immediate PersistentVolumeClaims/);
  });

  it('gives a claim of ReadWriteOncePod to one pod at a time', async () => {
    const ns = await plane.namespace('once');
    await claim(ns, 'single', { accessModes: ['ReadWriteOncePod'] });
    await pod(ns, 'holder', ['single']);
    await nodeOf(ns, 'holder');
    await pod(ns, 'next', ['single']);
    assert.match(
      await refused(ns, 'next'),
      /node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode/,
    );
    await plane.client.delete(pods, 'holder', { namespace: ns, gracePeriodSeconds: 0 });
    assert.match((await nodeOf(ns, 'next')) ?? '', /^node-/);
  });

  it('gives a node no more volumes of a CSI driver than the driver takes there, and attaches them', async () => {
    const ns = await plane.namespace('limited');
    const driver = 'limited.test.example';
    for (const name of ['node-1', 'node-2'])
      await plane.client.create(csiNodes, {
        metadata: { name },
        spec: { drivers: [{ name: driver, nodeID: name, allocatable: { count: 1 } }] },
      });
    for (const name of ['one', 'two', 'three']) {
      await plane.client.create(persistentVolumes, {
        metadata: { name: `limited-${name}` },
        spec: {
          accessModes: ['ReadWriteOnce'],
          capacity: { storage: '1Gi' },
          claimRef: { namespace: ns, name },
          csi: { driver, volumeHandle: name },
        },
      });
      await claim(ns, name, { storageClassName: '', volumeName: `limited-${name}` });
    }
    await pod(ns, 'first', ['one']);
    await pod(ns, 'second', ['two']);
    const places = [await nodeOf(ns, 'first'), await nodeOf(ns, 'second')];
    assert.deepEqual(places.toSorted(), ['node-1', 'node-2']);
    await pod(ns, 'third', ['three']);
    assert.match(await refused(ns, 'third'), /2 node\(s\) exceed max volume count/);
    await pod(ns, 'again', ['one']);
    assert.equal(await nodeOf(ns, 'again'), places[0], 'it takes no more');
    const wanted = await until(plane.client, volumeAttachments, undefined, (items) => items.length === 2);
    assert.deepEqual(wanted.map(({ spec }) => spec.nodeName).toSorted(), ['node-1', 'node-2']);
    await plane.client.delete(pods, 'second', { namespace: ns, gracePeriodSeconds: 0 });
    assert.equal(await nodeOf(ns, 'third'), places[1]);
    const volumes = (items: readonly VolumeAttachment[]): unknown[] =>
      items.map(({ spec }) => spec.source.persistentVolumeName).toSorted();
    await until(plane.client, volumeAttachments, undefined, (items) =>
      isDeepStrictEqual(volumes(items), ['limited-one', 'limited-three']),
    );
  });

  it('sends a claim where the driver of its class has room for it', async () => {
    const ns = await plane.namespace('roomy');
    const provisioner = 'roomy.test.example';
    await plane.client.create(csiDrivers, { metadata: { name: provisioner }, spec: { storageCapacity: true } });
    await plane.client.create(storageClasses, {
      metadata: { name: 'roomy' },
      provisioner,
      volumeBindingMode: 'WaitForFirstConsumer',
    });
    const room = (name: string, node: string, sizes: { capacity: string; maximumVolumeSize?: string }) =>
      plane.client.create(csiStorageCapacities, {
        metadata: { name, namespace: 'kube-system' },
        storageClassName: 'roomy',
        nodeTopology: { matchLabels: { 'kubernetes.io/hostname': node } },
        ...sizes,
      });
    await room('little', 'node-1', { capacity: '100Gi', maximumVolumeSize: '1Mi' });
    await claim(ns, 'data', { storageClassName: 'roomy' });
    await pod(ns, 'waits', ['data']);
    assert.match(await refused(ns, 'waits'), /2 node\(s\) did not have enough free storage/);
    await room('enough', 'node-2', { capacity: '100Gi' });
    const chosen = 'volume.kubernetes.io/selected-node';
    const claims = await until(plane.client, persistentVolumeClaims, ns, ([one]) =>
      Boolean(one?.metadata.annotations?.[chosen]),
    );
    assert.equal(claims[0]?.metadata.annotations?.[chosen], 'node-2');
    await plane.client.delete(pods, 'waits', { namespace: ns, gracePeriodSeconds: 0 });
  });

  it('makes a claim for an ephemeral volume first', async () => {
    const ns = await plane.namespace('ephemeral');
    const spec: PersistentVolumeClaimSpec = {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '1Gi' } },
      storageClassName: 'local',
    };
    await pod(ns, 'p', [], { volumes: [{ name: 'v', ephemeral: { volumeClaimTemplate: { spec } } }] });
    assert.match((await nodeOf(ns, 'p')) ?? '', /^node-/);
    assert.equal((await plane.client.get(persistentVolumeClaims, 'p-v', ns)).status?.phase, 'Bound');
  });
});
