import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createNode, setReady, startControlPlane, type ControlPlane, until } from '#testing/control-plane.ts';
import { until as eventually } from '#testing/until.ts';
import type { Stored } from '../kinds/kind.ts';
import { leases, nodes, pods } from '../kinds/resources.ts';
import type { Node, Pod, PodSpec } from '../kinds/types/core.ts';
import type { OwnerReference } from '../kinds/types/meta.ts';
import { createNodeLifecycleController } from './node-lifecycle.ts';
import { isReady } from './objects.ts';
import { startControllers } from './run.ts';
import { createPodCollector } from './pod-collector.ts';

const leaseNamespace = 'kube-node-lease';
/** Milliseconds. No test takes as long: whom nobody lets fall silent never is. */
const leaseGrace = 3_600_000;

function isUnreachable(node: Stored<Node> | undefined): boolean {
  return (
    node?.spec?.taints?.length === 2 &&
    node.spec.taints.every(({ key }) => key === 'node.kubernetes.io/unreachable') &&
    (node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'Unknown') ?? false)
  );
}

describe('node lifecycle, and the clock', () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane();
  });
  after(() => plane.close());

  it('loses no node and evicts no pod when an hour passes in a moment, or comes again', async () => {
    let set = 0;
    const running = await startControllers([createNodeLifecycleController({ leaseGrace: leaseGrace / 2 })], {
      ...plane.context,
      now: () => Date.now() + set,
    });
    try {
      await plane.namespace(leaseNamespace).catch(() => undefined);
      await plane.namespace('clocks');
      for (const name of ['one', 'other']) {
        await createNode(plane.client, name);
        await plane.client.create(leases, {
          metadata: { name, namespace: leaseNamespace },
          spec: { holderIdentity: name, leaseDurationSeconds: 40, renewTime: '2024-01-01T00:00:00.000000Z' },
        });
      }
      const spec = { nodeName: 'one', containers: [{ name: 'c', image: 'i' }] };
      await plane.client.create(pods, { metadata: { name: 'stays', namespace: 'clocks' }, spec });
      for (const jump of [leaseGrace, -leaseGrace]) {
        set = jump;
        // Each change of a node is looked at, and makes the look's own mark where it is wanted.
        for (const name of ['one', 'other']) {
          const taints = [{ key: 'example.com/looked', value: jump > 0 ? 'later' : 'earlier', effect: 'NoSchedule' }];
          const conditions = [
            { type: 'Ready', status: 'True' },
            { type: 'DiskPressure', status: jump > 0 ? 'True' : 'False' },
          ];
          await plane.client.patch(nodes, name, { type: 'merge', body: { spec: { taints } } });
          await plane.client.patch(
            nodes,
            name,
            { type: 'merge', body: { status: { conditions } } },
            { subresource: 'status' },
          );
        }
        const wanted = jump > 0 ? ['example.com/looked', 'node.kubernetes.io/disk-pressure'] : ['example.com/looked'];
        await until(plane.client, nodes, undefined, (all) =>
          all.every(
            ({ spec: own }) =>
              own?.taints
                ?.map(({ key }) => key)
                .toSorted()
                .join() === wanted.join(),
          ),
        );
      }
      const { items } = await plane.client.list(pods, { namespace: 'clocks' });
      assert.equal(items[0]?.metadata.deletionTimestamp, undefined);
      assert.deepEqual(plane.warnings, []);
    } finally {
      await running.close();
    }
  });

  it('looks again by itself when a node has been silent for as long as it may', async () => {
    await plane.start(createNodeLifecycleController({ leaseGrace: 300 }));
    await createNode(plane.client, 'silent');
    await until(plane.client, nodes, undefined, (all) =>
      isUnreachable(all.find(({ metadata }) => metadata.name === 'silent')),
    );
  });
});

describe('node lifecycle', () => {
  let plane: ControlPlane;
  /** Milliseconds by which the controller's clock is ahead of this one. */
  let ahead = 0;
  before(async () => {
    plane = await startControlPlane();
    await plane.namespace(leaseNamespace).catch(() => undefined);
    await plane.start(
      createNodeLifecycleController({ leaseGrace, removeAfter: 100, elapsed: () => performance.now() + ahead }),
      createPodCollector({ quarantine: 100 }),
    );
  });
  after(() => plane.close());

  async function renew(name: string): Promise<void> {
    const renewTime = new Date().toISOString().replace('Z', '000Z');
    const body = { spec: { holderIdentity: name, leaseDurationSeconds: 40, renewTime } };
    await plane.client
      .patch(leases, name, { type: 'merge', body }, { namespace: leaseNamespace })
      .catch(() => plane.client.create(leases, { metadata: { name, namespace: leaseNamespace }, ...body }));
  }

  /** The controller looks at every change. */
  async function touch(name: string): Promise<void> {
    const annotations = { 'example.com/ahead': String(ahead) };
    await plane.client.patch(nodes, name, { type: 'merge', body: { metadata: { annotations } } });
  }

  /** Time passes until that is noticed: the node's last word may have been heard late. */
  async function fallSilent(name: string): Promise<void> {
    await eventually(async () => {
      ahead += leaseGrace;
      await touch(name);
      return isUnreachable(await plane.client.get(nodes, name));
    });
  }

  /** As an agent does: it says so again while that is not what is said of its node, such as when its lease was seen after its status. */
  async function speak(name: string): Promise<void> {
    await renew(name);
    const body = { status: { conditions: [{ type: 'Ready', status: 'True' }] } };
    await eventually(async () => {
      await plane.client.patch(nodes, name, { type: 'merge', body }, { subresource: 'status' });
      const { spec } = await plane.client.get(nodes, name);
      return (spec?.taints ?? []).length === 0;
    });
  }

  async function boundPod(
    namespace: string,
    name: string,
    node: string,
    spec: Partial<PodSpec> = {},
    ownerReferences: OwnerReference[] = [],
  ): Promise<void> {
    const pod: Pod = {
      metadata: { name, namespace, ownerReferences },
      spec: { nodeName: node, terminationGracePeriodSeconds: 1, containers: [{ name: 'c', image: 'i' }], ...spec },
    };
    await plane.client.create(pods, pod);
    await setReady(plane.client, await plane.client.get(pods, name, namespace), true);
  }

  it('keeps new pods off a node that lacks something, for as long as it does', async () => {
    await createNode(plane.client, 'short');
    const say = async (status: string): Promise<void> => {
      const conditions = ['Ready', 'DiskPressure'].map((type) => ({
        type,
        status: type === 'Ready' ? 'True' : status,
      }));
      await plane.client.patch(
        nodes,
        'short',
        { type: 'merge', body: { status: { conditions } } },
        { subresource: 'status' },
      );
    };
    const taintsOf = async (wanted: readonly string[]): Promise<void> => {
      await until(plane.client, nodes, undefined, (all) => {
        const node = all.find(({ metadata }) => metadata.name === 'short');
        const taints = (node?.spec?.taints ?? []).map(({ key, effect }) => `${key}:${effect}`);
        return taints.join() === wanted.join();
      });
    };
    await say('True');
    await taintsOf(['node.kubernetes.io/disk-pressure:NoSchedule']);
    await say('False');
    await taintsOf([]);
    await plane.client.delete(nodes, 'short');
  });

  it('takes a silent node out of service, evicts its pods, and takes it back when it speaks', async () => {
    const namespace = await plane.namespace('silent');
    await createNode(plane.client, 'silent');
    await renew('silent');
    const forUnreachable = (tolerationSeconds?: number) => ({
      tolerations: [
        {
          key: 'node.kubernetes.io/unreachable',
          operator: 'Exists',
          effect: 'NoExecute',
          ...(tolerationSeconds !== undefined && { tolerationSeconds }),
        },
      ],
    });
    await boundPod(namespace, 'gone-at-once', 'silent', forUnreachable(0));
    await boundPod(namespace, 'gone-later', 'silent', forUnreachable(leaseGrace / 2000));
    await boundPod(namespace, 'stays', 'silent', forUnreachable());
    await fallSilent('silent');
    const unknown = await plane.client.get(nodes, 'silent');
    assert.deepEqual(
      unknown.spec?.taints?.map(({ key, effect }) => [key, effect]),
      [
        ['node.kubernetes.io/unreachable', 'NoSchedule'],
        ['node.kubernetes.io/unreachable', 'NoExecute'],
      ],
    );
    // It was the only node: nothing would serve better elsewhere.
    const still = await plane.client.list(pods, { namespace });
    assert.ok(
      still.items.length === 3 &&
        still.items.every((pod) => isReady(pod) && pod.metadata.deletionTimestamp === undefined),
    );
    await createNode(plane.client, 'well');

    const left = await until(plane.client, pods, namespace, (list) => list.length === 2);
    assert.deepEqual(left.map(({ metadata }) => metadata.name).toSorted(), ['gone-later', 'stays']);
    assert.ok(left.every((pod) => pod.metadata.deletionTimestamp === undefined));
    ahead += leaseGrace / 2;
    await touch('silent');
    await until(
      plane.client,
      pods,
      namespace,
      (list) => list.length === 1 && list[0]?.metadata.name === 'stays' && !isReady(list[0]),
    );

    await speak('silent');
    for (const name of ['silent', 'well']) await plane.client.delete(nodes, name);
  });

  it('leaves pods of a StatefulSet until an administrator says that the node is off', async () => {
    const namespace = await plane.namespace('stateful');
    await createNode(plane.client, 'off');
    await renew('off');
    const owner = { apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'db', uid: 'db', controller: true };
    const unreachable = { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' };
    const tolerations = [{ ...unreachable, tolerationSeconds: 0 }];
    await boundPod(namespace, 'web', 'off', { tolerations });
    await boundPod(namespace, 'db-0', 'off', { tolerations }, [owner]);
    await fallSilent('off');
    await createNode(plane.client, 'other');
    const [left] = await until(plane.client, pods, namespace, (list) => list.length === 1);
    assert.equal(left?.metadata.name, 'db-0');
    assert.notEqual(left.metadata.deletionTimestamp, undefined);
    const taint = { key: 'node.kubernetes.io/out-of-service', value: 'nodeshutdown', effect: 'NoExecute' };
    const node = await plane.client.get(nodes, 'off');
    await plane.client.update(nodes, {
      ...node,
      spec: { ...node.spec, taints: [...(node.spec?.taints ?? []), taint] },
    });
    await until(plane.client, pods, namespace, (list) => list.length === 0);
  });

  it('removes pods of nodes that are no more, and those deleted before they had one', async () => {
    const namespace = await plane.namespace('orphaned');
    await createNode(plane.client, 'short');
    await boundPod(namespace, 'orphaned', 'short', { tolerations: [{ operator: 'Exists' }] });
    await plane.client.create(pods, {
      metadata: { name: 'nowhere', namespace },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
    await plane.client.delete(pods, 'nowhere', { namespace });
    await until(plane.client, pods, namespace, (list) => list.length === 1);
    await plane.client.delete(nodes, 'short');
    await until(plane.client, pods, namespace, (list) => list.length === 0);
    assert.deepEqual(
      plane.warnings.filter((line) => !line.includes('does not answer')),
      [],
    );
  });
});
