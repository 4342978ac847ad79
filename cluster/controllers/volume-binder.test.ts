/** Claims, volumes and classes together, with nobody to mount anything: what binds to what, what is told, what is held and reclaimed. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ControlPlane, createNode, startControlPlane, until } from '#testing/control-plane.ts';
import type { Stored } from '../kinds/kind.ts';
import {
  events,
  namespaces,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  storageClasses,
} from '../kinds/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec } from '../kinds/types/core.ts';
import { storageControllers } from './all.ts';
import { createGarbageCollector } from './garbage-collector.ts';

const finalizer = 'local.sampan.dev/volume';

describe('volume controllers', () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane();
    await createNode(plane.client, 'node-1');
    await plane.start(createGarbageCollector(), ...storageControllers());
  });
  after(async () => {
    await plane.close();
  });

  const volume = async (name: string, spec: Partial<PersistentVolumeSpec> = {}, labels = {}) =>
    await plane.client.create(persistentVolumes, {
      metadata: { name, labels },
      spec: {
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteOnce'],
        hostPath: { path: '/x' },
        storageClassName: '',
        ...spec,
      },
    });
  const claim = async (
    namespace: string,
    name: string,
    spec: Partial<NonNullable<PersistentVolumeClaim['spec']>> = {},
  ) =>
    await plane.client.create(persistentVolumeClaims, {
      metadata: { name, namespace },
      spec: {
        accessModes: ['ReadWriteOnce'],
        resources: { requests: { storage: '1Gi' } },
        storageClassName: '',
        ...spec,
      },
    });
  const claimIs = async (namespace: string, name: string, holds: (one: Stored<PersistentVolumeClaim>) => boolean) => {
    const found = await until(plane.client, persistentVolumeClaims, namespace, (all) =>
      all.some((one) => one.metadata.name === name && holds(one)),
    );
    return found.find((one) => one.metadata.name === name) as Stored<PersistentVolumeClaim>;
  };
  const bound = (namespace: string, name: string) =>
    claimIs(namespace, name, ({ status }) => status?.phase === 'Bound');
  const volumeIs = async (name: string, holds: (one: Stored<PersistentVolume>) => boolean) => {
    const found = await until(plane.client, persistentVolumes, undefined, (all) =>
      all.some((one) => one.metadata.name === name && holds(one)),
    );
    return found.find((one) => one.metadata.name === name) as Stored<PersistentVolume>;
  };
  const inPhase = (name: string, phase: string) => volumeIs(name, ({ status }) => status?.phase === phase);
  const told = (namespace: string, name: string, reason: string, message: RegExp) =>
    until(plane.client, events, namespace, (all) =>
      all.some((one) => one.involvedObject.name === name && one.reason === reason && message.test(one.message ?? '')),
    );
  const remove = (namespace: string, name: string) => plane.client.delete(persistentVolumeClaims, name, { namespace });

  test('the smallest volume that does, by size, modes, class and labels', async () => {
    const ns = await plane.namespace('static');
    await volume('too-small', { capacity: { storage: '512Mi' } });
    await volume('large', { capacity: { storage: '5Gi' } }, { tier: 'fast' });
    await volume('fits', { capacity: { storage: '2Gi' }, accessModes: ['ReadWriteOnce', 'ReadOnlyMany'] });
    await volume('other-class', { storageClassName: 'manual' });
    await Promise.all(['too-small', 'large', 'fits', 'other-class'].map((name) => inPhase(name, 'Available')));
    await claim(ns, 'first');
    const first = await bound(ns, 'first');
    assert.equal(first.spec?.volumeName, 'fits');
    assert.deepEqual(first.status?.capacity, { storage: '2Gi' });
    assert.deepEqual(first.status?.accessModes, ['ReadWriteOnce', 'ReadOnlyMany']);
    const { spec, metadata } = await inPhase('fits', 'Bound');
    assert.equal(spec?.claimRef?.uid, first.metadata.uid);
    assert.equal(metadata.annotations?.['pv.kubernetes.io/bound-by-controller'], 'yes');
    await claim(ns, 'many', { accessModes: ['ReadWriteMany'] });
    await told(
      ns,
      'many',
      'FailedBinding',
      /^no persistent volumes available for this claim and no storage class is set$/,
    );
    await claim(ns, 'slow', { selector: { matchLabels: { tier: 'slow' } } });
    await claim(ns, 'fast', { selector: { matchLabels: { tier: 'fast' } } });
    assert.equal((await bound(ns, 'fast')).spec?.volumeName, 'large');
    await volume('slow', {}, { tier: 'slow' });
    assert.equal((await bound(ns, 'slow')).spec?.volumeName, 'slow', 'a volume that comes later');
    await claim(ns, 'manual', { storageClassName: 'manual' });
    assert.equal((await bound(ns, 'manual')).spec?.volumeName, 'other-class');
    await claim(ns, 'no-class', { storageClassName: 'absent' });
    await told(ns, 'no-class', 'ProvisioningFailed', /^storageclass\.storage\.k8s\.io "absent" not found$/);
  });

  test('chosen by hand, from either side, and what does not go together', async () => {
    const ns = await plane.namespace('by-hand');
    await volume('reserved', { claimRef: { namespace: ns, name: 'mine' } });
    await volume('named', { capacity: { storage: '3Gi' } });
    await inPhase('reserved', 'Available');
    await claim(ns, 'mine');
    await claim(ns, 'chooser', { volumeName: 'named' });
    assert.equal((await bound(ns, 'mine')).spec?.volumeName, 'reserved');
    const chooser = await bound(ns, 'chooser');
    assert.equal(chooser.metadata.annotations?.['pv.kubernetes.io/bound-by-controller'], undefined);
    await claim(ns, 'too-late', { volumeName: 'named' });
    await told(ns, 'too-late', 'FailedBinding', /^volume "named" already bound to a different claim\.$/);
    await volume('tiny', { capacity: { storage: '1Mi' } });
    await claim(ns, 'too-much', { volumeName: 'tiny' });
    await told(ns, 'too-much', 'VolumeMismatch', /^Cannot bind to requested volume "tiny": requested PV is too small$/);
  });

  test('released when the claim goes, lost when the volume goes; neither goes while it is used', async () => {
    const ns = await plane.namespace('ends');
    await volume('kept', { persistentVolumeReclaimPolicy: 'Retain' });
    await claim(ns, 'used');
    await bound(ns, 'used');
    await plane.client.create(pods, {
      metadata: { name: 'user', namespace: ns },
      spec: {
        nodeName: 'node-1',
        containers: [{ name: 'c', image: 'i' }],
        volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'used' } }],
      },
    });
    await claimIs(ns, 'used', ({ metadata }) => metadata.finalizers?.includes('kubernetes.io/pvc-protection') === true);
    await volumeIs('kept', ({ metadata }) => metadata.finalizers?.includes('kubernetes.io/pv-protection') === true);
    await remove(ns, 'used');
    await plane.client.delete(persistentVolumes, 'kept');
    assert.equal(
      (await claimIs(ns, 'used', ({ metadata }) => metadata.deletionTimestamp !== undefined)).status?.phase,
      'Bound',
    );
    await plane.client.delete(pods, 'user', { namespace: ns, gracePeriodSeconds: 0 });
    await until(plane.client, persistentVolumeClaims, ns, (all) => all.length === 0);
    await until(
      plane.client,
      persistentVolumes,
      undefined,
      (all) => !all.some(({ metadata }) => metadata.name === 'kept'),
    );
    await volume('gone', {}, { only: 'gone' });
    await claim(ns, 'loser', { selector: { matchLabels: { only: 'gone' } } });
    await bound(ns, 'loser');
    await volumeIs('gone', ({ metadata }) => metadata.finalizers !== undefined);
    await plane.client.delete(persistentVolumes, 'gone');
    // As an administrator who insists.
    await plane.client.patch(persistentVolumes, 'gone', { type: 'merge', body: { metadata: { finalizers: null } } });
    await claimIs(ns, 'loser', ({ status }) => status?.phase === 'Lost');
    await told(ns, 'loser', 'ClaimLost', /lost its PersistentVolume\. Data on the volume is lost!/);
    await volume('deletes', { persistentVolumeReclaimPolicy: 'Delete' }, { only: 'deletes' });
    await claim(ns, 'left', { selector: { matchLabels: { only: 'deletes' } } });
    await bound(ns, 'left');
    await remove(ns, 'left');
    assert.match((await inPhase('deletes', 'Failed')).status?.message ?? '', /no deletable volume plugin matched/);
  });

  test('the default class is made once, and stays as the administrator left it', async () => {
    const [made] = await until(plane.client, storageClasses, undefined, (all) =>
      all.some(({ metadata }) => metadata.name === 'local'),
    );
    assert.equal(made?.provisioner, 'sampan.dev/local');
    assert.equal(made?.volumeBindingMode, 'WaitForFirstConsumer');
    assert.equal(made?.allowVolumeExpansion, true);
    await until(plane.client, namespaces, undefined, (all) =>
      all.some(({ metadata }) => metadata.annotations?.['storage.sampan.dev/default-class-made'] === 'true'),
    );
    await plane.client.delete(storageClasses, 'local');
    await plane.restartControllers();
    const ns = await plane.namespace('defaults');
    const early = await plane.client.create(persistentVolumeClaims, {
      metadata: { name: 'early', namespace: ns },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Ti' } } },
    });
    assert.equal(early.spec?.storageClassName, undefined);
    await plane.client.create(storageClasses, {
      metadata: { name: 'late', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
      provisioner: 'example.com/other',
    });
    await claimIs(ns, 'early', ({ spec }) => spec?.storageClassName === 'late');
    await told(ns, 'early', 'ExternalProvisioning', /external provisioner 'example\.com\/other'/);
    await plane.client.delete(storageClasses, 'late');
    await claim(ns, 'any', { storageClassName: 'local' });
    await told(ns, 'any', 'ProvisioningFailed', /"local" not found/);
  });

  test('made on demand for the node that was chosen, made larger, and deleted when its node let it go', async () => {
    const ns = await plane.namespace('on-demand');
    await plane.client.create(storageClasses, {
      metadata: { name: 'wait' },
      provisioner: 'sampan.dev/local',
      volumeBindingMode: 'WaitForFirstConsumer',
      allowVolumeExpansion: true,
    });
    await claim(ns, 'data', { storageClassName: 'wait', resources: { requests: { storage: '1500Ki' } } });
    await told(ns, 'data', 'WaitForFirstConsumer', /^waiting for first consumer to be created before binding$/);
    const select = (node: string) =>
      plane.client.patch(
        persistentVolumeClaims,
        'data',
        { type: 'merge', body: { metadata: { annotations: { 'volume.kubernetes.io/selected-node': node } } } },
        { namespace: ns },
      );
    await select('nowhere');
    await claimIs(
      ns,
      'data',
      ({ metadata }) =>
        metadata.annotations?.['volume.kubernetes.io/storage-provisioner'] === 'sampan.dev/local' &&
        metadata.annotations['volume.kubernetes.io/selected-node'] === undefined,
    );
    await select('node-1');
    const data = await bound(ns, 'data');
    assert.equal(data.status?.capacity?.['storage'], '16Mi', 'the least there is');
    const name = `pvc-${data.metadata.uid}`;
    const made = await inPhase(name, 'Bound');
    assert.deepEqual(made.spec?.csi, { driver: 'local.sampan.dev', volumeHandle: name, fsType: 'ext4' });
    assert.equal(made.metadata.labels?.['local.sampan.dev/node'], 'node-1');
    assert.deepEqual(made.spec?.nodeAffinity?.required?.nodeSelectorTerms[0]?.matchExpressions, [
      { key: 'kubernetes.io/hostname', operator: 'In', values: ['node-1'] },
    ]);
    await told(ns, 'data', 'ProvisioningSucceeded', new RegExp(`^Successfully provisioned volume ${name}$`));
    const body = { spec: { resources: { requests: { storage: '64Mi' } } } };
    await plane.client.patch(persistentVolumeClaims, 'data', { type: 'merge', body }, { namespace: ns });
    await volumeIs(name, ({ spec }) => spec?.capacity?.['storage'] === '64Mi');
    await claimIs(ns, 'data', ({ status }) => status?.conditions?.[0]?.type === 'FileSystemResizePending');
    await remove(ns, 'data');
    const going = await volumeIs(
      name,
      ({ metadata }) => metadata.deletionTimestamp !== undefined && metadata.finalizers?.length === 1,
    );
    assert.deepEqual(going.metadata.finalizers, [finalizer], 'its node has it on the disk');
    await plane.client.patch(persistentVolumes, name, { type: 'merge', body: { metadata: { finalizers: null } } });
    await until(
      plane.client,
      persistentVolumes,
      undefined,
      (all) => !all.some(({ metadata }) => metadata.name === name),
    );
  });

  test('a class that binds at once takes a Ready node; what cannot be made is named by its field', async () => {
    const ns = await plane.namespace('at-once');
    await plane.client.create(storageClasses, {
      metadata: { name: 'now' },
      provisioner: 'sampan.dev/local',
      reclaimPolicy: 'Retain',
    });
    await claim(ns, 'data', { storageClassName: 'now' });
    const data = await bound(ns, 'data');
    assert.equal((await inPhase(`pvc-${data.metadata.uid}`, 'Bound')).spec?.persistentVolumeReclaimPolicy, 'Retain');
    await claim(ns, 'many', { storageClassName: 'now', accessModes: ['ReadWriteMany'] });
    await told(
      ns,
      'many',
      'ProvisioningFailed',
      /StorageClass "now": spec\.accessModes: "ReadWriteMany" is not supported: use ReadWriteOnce or ReadWriteOncePod/,
    );
    await claim(ns, 'block', { storageClassName: 'now', volumeMode: 'Block' });
    const made = await inPhase(`pvc-${(await bound(ns, 'block')).metadata.uid}`, 'Bound');
    assert.deepEqual([made.spec?.volumeMode, made.spec?.csi?.fsType], ['Block', undefined]);
    await plane.client.patch(nodes, 'node-1', { type: 'merge', body: { spec: { unschedulable: true } } });
    await claim(ns, 'nowhere', { storageClassName: 'now' });
    await told(ns, 'nowhere', 'ProvisioningFailed', /no node is Ready that the class allows/);
    await plane.client.patch(nodes, 'node-1', { type: 'merge', body: { spec: { unschedulable: null } } });
    await bound(ns, 'nowhere');
  });

  test('an ephemeral volume is a claim that goes with its pod, and never takes over another', async () => {
    const ns = await plane.namespace('ephemeral');
    const pod = (name: string) =>
      plane.client.create(pods, {
        metadata: { name, namespace: ns },
        spec: {
          nodeName: 'node-1',
          containers: [{ name: 'c', image: 'i' }],
          volumes: [
            {
              name: 'v',
              ephemeral: {
                volumeClaimTemplate: {
                  metadata: { labels: { of: 'template' } },
                  spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
                },
              },
            },
          ],
        },
      });
    await pod('a');
    const made = await claimIs(ns, 'a-v', () => true);
    assert.deepEqual([made.metadata.labels?.['of'], made.metadata.ownerReferences?.[0]?.kind], ['template', 'Pod']);
    await plane.client.delete(pods, 'a', { namespace: ns, gracePeriodSeconds: 0 });
    await until(plane.client, persistentVolumeClaims, ns, (all) => all.length === 0);
    await claim(ns, 'b-v');
    await pod('b');
    await told(
      ns,
      'b',
      'FailedBinding',
      /PVC ephemeral\/b-v was not created for pod ephemeral\/b \(pod is not owner\)/,
    );
  });
});
