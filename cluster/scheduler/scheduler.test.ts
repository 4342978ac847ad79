import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Stored } from '../kinds/kind.ts';
import type { Node, Pod, PodSpec } from '../kinds/types/core.ts';
import { describeReasons, reasonsAgainst } from './filter.ts';
import { createNodes, type NodeState } from './nodes.ts';
import { createPodQueue } from './pod-queue.ts';
import { podRequests, podUsage } from './resources.ts';
import { pickNode } from './score.ts';

function pod(spec: Partial<PodSpec>, owner?: string): Pod {
  return {
    metadata: {
      name: 'p',
      namespace: 'n',
      ...(owner && { ownerReferences: [{ apiVersion: 'v1', kind: 'X', name: 'x', uid: owner, controller: true }] }),
    },
    spec: { containers: [{ name: 'c' }], ...spec },
  };
}

function withNodes(...list: (Partial<Node> & { name: string })[]): ReturnType<typeof createNodes> {
  const nodes = createNodes();
  for (const { name, spec, status, metadata } of list) {
    nodes.setNode({
      metadata: { ...metadata, name, uid: name, resourceVersion: '1', creationTimestamp: '' },
      ...(spec && { spec }),
      status: {
        allocatable: { cpu: '1', memory: '1Gi', pods: '3' },
        conditions: [{ type: 'Ready', status: 'True' }],
        ...status,
      },
    } satisfies Stored<Node>);
  }
  return nodes;
}

function against(subject: Pod, nodes: ReturnType<typeof createNodes>): string {
  const reasons = new Map<string, number>();
  for (const node of nodes.all()) {
    for (const reason of reasonsAgainst(subject, podUsage(subject), node))
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  return reasons.size === 0 ? '' : describeReasons(nodes.all().length, reasons);
}

const requesting = (requests: Record<string, string>): Partial<PodSpec> => ({
  containers: [{ name: 'c', resources: { requests } }],
});

describe('pod requests', () => {
  it('adds containers, takes the greatest init container, counts sidecars beside both', () => {
    const cpu = (name: string, value: string, restartPolicy?: string) => ({
      name,
      resources: { requests: { cpu: value } },
      ...(restartPolicy && { restartPolicy }),
    });
    const total = (spec: Partial<PodSpec>) => podRequests(pod(spec)).get('cpu');
    assert.equal(total({ containers: [cpu('a', '100m'), cpu('b', '0.25')] }), 350);
    assert.equal(total({ containers: [cpu('a', '100m')], initContainers: [cpu('i', '1'), cpu('j', '300m')] }), 1000);
    assert.equal(
      total({ containers: [cpu('a', '100m')], initContainers: [cpu('s', '50m', 'Always'), cpu('i', '200m')] }),
      250,
    );
    assert.equal(total({ containers: [cpu('a', '100m')], overhead: { cpu: '10m' } }), 110);
    assert.equal(
      podRequests(pod({ containers: [{ name: 'a', resources: { limits: { memory: '1Mi' } } }] })).get('memory'),
      2 ** 20,
    );
  });
});

describe('filter', () => {
  it('says what a node lacks', () => {
    const nodes = withNodes({ name: 'a' });
    assert.equal(against(pod({}), nodes), '');
    assert.equal(against(pod(requesting({ cpu: '2' })), nodes), '0/1 nodes are available: 1 Insufficient cpu.');
    assert.equal(
      against(pod(requesting({ cpu: '2', memory: '2Gi', 'example.com/gpu': '1' })), nodes),
      '0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient example.com/gpu, 1 Insufficient memory.',
    );
    nodes.place('one', 'a', podUsage(pod(requesting({ cpu: '900m' }))));
    assert.equal(against(pod(requesting({ cpu: '100m' })), nodes), '');
    assert.equal(against(pod(requesting({ cpu: '101m' })), nodes), '0/1 nodes are available: 1 Insufficient cpu.');
    nodes.place('two', 'a', podUsage(pod({})));
    nodes.place('three', 'a', podUsage(pod({})));
    assert.equal(against(pod({}), nodes), '0/1 nodes are available: 1 Too many pods.');
    assert.ok(nodes.remove('one'));
    assert.equal(against(pod(requesting({ cpu: '1' })), nodes), '');
    assert.equal(against(pod({}), createNodes()), '');
    assert.equal(describeReasons(0, new Map()), 'no nodes available to schedule pods');
  });

  it('keeps off nodes that are tainted, cordoned, not ready or not wanted', () => {
    const nodes = withNodes(
      { name: 'cordoned', spec: { unschedulable: true } },
      { name: 'tainted', spec: { taints: [{ key: 'k', value: 'v', effect: 'NoSchedule' }] } },
      { name: 'down', status: { conditions: [{ type: 'Ready', status: 'Unknown' }] } },
      { name: 'other', metadata: { labels: { zone: 'b' } } },
    );
    assert.equal(
      against(pod({ nodeSelector: { zone: 'a' } }), nodes),
      "0/4 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {k: v}, 1 node(s) were not ready, 1 node(s) were unschedulable.",
    );
    const free = (subject: Pod): string[] =>
      nodes
        .all()
        .filter((node) => reasonsAgainst(subject, podUsage(subject), node).length === 0)
        .map(({ name }) => name);
    assert.deepEqual(free(pod({ tolerations: [{ key: 'k', operator: 'Equal', value: 'v', effect: 'NoSchedule' }] })), [
      'tainted',
      'other',
    ]);
    assert.deepEqual(free(pod({ tolerations: [{ operator: 'Exists' }] })), ['cordoned', 'tainted', 'other']);
    const affinity = (operator: string, values: string[]): Partial<PodSpec> => ({
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchExpressions: [{ key: 'zone', operator, values }] }, {}],
          },
        },
      },
    });
    assert.deepEqual(free(pod(affinity('In', ['a', 'b']))), ['other']);
    assert.deepEqual(free(pod(affinity('NotIn', ['b']))), []);
  });

  it('gives a host port to one pod', () => {
    const ports = (hostPort: number, hostIP?: string): Partial<PodSpec> => ({
      containers: [{ name: 'c', ports: [{ containerPort: 80, hostPort, ...(hostIP && { hostIP }) }] }],
    });
    const nodes = withNodes({ name: 'a' });
    nodes.place('one', 'a', podUsage(pod(ports(80, '10.0.0.1'))));
    assert.match(against(pod(ports(80)), nodes), /1 node\(s\) didn't have free ports for the requested pod ports/);
    assert.equal(against(pod(ports(80, '10.0.0.2')), nodes), '');
    assert.equal(against(pod(ports(81)), nodes), '');
  });
});

describe('score', () => {
  const pick = (subject: Pod, nodes: NodeState[]): string | undefined =>
    pickNode(subject, podUsage(subject), nodes)?.name;

  it('prefers the emptier node, and above that one without pods of the same owner', () => {
    const nodes = withNodes({ name: 'a' }, { name: 'b' });
    nodes.place('x', 'a', podUsage(pod(requesting({ cpu: '100m' }))));
    assert.equal(pick(pod({}, 'owner'), nodes.all()), 'b');
    nodes.place('y', 'b', podUsage(pod({}, 'owner')));
    nodes.place('z', 'a', podUsage(pod(requesting({ cpu: '500m' }))));
    assert.equal(pick(pod({}, 'owner'), nodes.all()), 'a');
    assert.equal(pick(pod({}, 'someone else'), nodes.all()), 'b');
  });
});

describe('pod queue', () => {
  it('gives the highest priority first, then the oldest', () => {
    const queue = createPodQueue(() => undefined);
    queue.add('n/a', 'a', 0);
    queue.add('n/b', 'b', 10);
    queue.add('n/c', 'c', 0);
    queue.add('n/d', 'd', 10);
    queue.remove('n/c');
    assert.deepEqual(
      [queue.next()?.uid, queue.next()?.uid, queue.next()?.uid, queue.next()],
      ['b', 'd', 'a', undefined],
    );
    queue.close();
  });

  it('tries a pod that fits nowhere again after a change, when its back-off is over', () => {
    let now = 0;
    const queue = createPodQueue(
      () => undefined,
      () => now,
    );
    queue.add('n/a', 'a', 0);
    const first = queue.next();
    assert.ok(first);
    queue.failed(first, false);
    now = 50;
    queue.wakeAll();
    assert.equal(queue.next(), undefined);
    now = 100;
    queue.wakeAll();
    const second = queue.next();
    assert.equal(second, first);
    queue.failed(first, false);
    now = 299;
    queue.wakeAll();
    assert.equal(queue.next(), undefined);
    // A change of the pod itself is tried at once.
    queue.add('n/a', 'a', 0);
    assert.equal(queue.next()?.uid, 'a');
    queue.close();
  });
});
