import assert from 'node:assert/strict';
import test from 'node:test';
import { deploymentKind } from '../kinds/deployment.ts';
import { podKind } from '../kinds/pod.ts';
import { schemaOf } from '../kinds/schema.ts';
import { strategicMerge } from './strategic-merge.ts';

const pod = schemaOf(podKind);
const merge = (target: object, patch: object) => strategicMerge(target, patch, pod) as Record<string, never>;

test('strategic merge: lists with a merge key are merged by it', () => {
  const target = {
    spec: {
      containers: [
        { name: 'a', image: '1', env: [{ name: 'X', value: '1' }] },
        { name: 'b', image: '1' },
      ],
    },
  };
  const patch = {
    spec: {
      containers: [
        { name: 'a', env: [{ name: 'Y', value: '2' }] },
        { name: 'c', image: '3' },
      ],
    },
  };
  assert.deepEqual(merge(target, patch), {
    spec: {
      containers: [
        {
          name: 'a',
          image: '1',
          env: [
            { name: 'Y', value: '2' },
            { name: 'X', value: '1' },
          ],
        },
        { name: 'c', image: '3' },
        { name: 'b', image: '1' },
      ],
    },
  });
});

test('strategic merge: an item is deleted, an object replaced, a field removed', () => {
  const target = {
    spec: { containers: [{ name: 'a' }, { name: 'b' }], securityContext: { runAsUser: 1, fsGroup: 2 }, nodeName: 'n' },
  };
  const patch = {
    spec: {
      containers: [{ name: 'a', $patch: 'delete' }],
      securityContext: { runAsUser: 3, $patch: 'replace' },
      nodeName: null,
    },
  };
  assert.deepEqual(merge(target, patch), { spec: { containers: [{ name: 'b' }], securityContext: { runAsUser: 3 } } });
});

test('strategic merge: the order of a list follows the patch', () => {
  const target = { spec: { containers: [{ name: 'a' }, { name: 'b' }, { name: 'x' }] } };
  const patch = {
    spec: { '$setElementOrder/containers': [{ name: 'c' }, { name: 'b' }, { name: 'a' }], containers: [{ name: 'c' }] },
  };
  const { spec } = merge(target, patch) as unknown as { spec: { containers: { name: string }[] } };
  assert.deepEqual(
    spec.containers.map(({ name }) => name),
    ['c', 'b', 'a', 'x'],
  );
});

test('strategic merge: what is new comes first, what was there keeps its place beside the others', () => {
  const names = (target: string[], patch: string[]) => {
    const of = (all: string[]) => ({ spec: { containers: all.map((name) => ({ name })) } });
    const { spec } = merge(of(target), of(patch)) as unknown as { spec: { containers: { name: string }[] } };
    return spec.containers.map(({ name }) => name).join('');
  };
  assert.equal(names(['a', 'b'], ['x']), 'xab');
  assert.equal(names(['a', 'b', 'c'], ['b']), 'abc');
  assert.equal(names(['a', 'b', 'c'], ['c', 'x']), 'abcx');
  assert.equal(names(['a', 'b', 'c'], ['x', 'b']), 'xabc');
});

test('strategic merge: lists of plain values, atomic lists, retained keys', () => {
  const finalizers = { metadata: { finalizers: ['a', 'b'] } };
  assert.deepEqual(
    merge(finalizers, { metadata: { finalizers: ['c'], '$deleteFromPrimitiveList/finalizers': ['a'] } }),
    {
      metadata: { finalizers: ['c', 'b'] },
    },
  );
  assert.deepEqual(merge({ spec: { tolerations: [{ key: 'a' }] } }, { spec: { tolerations: [{ key: 'b' }] } }), {
    spec: { tolerations: [{ key: 'b' }] },
  });
  const strategy = { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } };
  const recreate = { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } };
  assert.deepEqual(strategicMerge(strategy, recreate, schemaOf(deploymentKind)), {
    spec: { strategy: { type: 'Recreate' } },
  });
  const more = { spec: { strategy: { ...recreate.spec.strategy, rollingUpdate: {} } } };
  assert.throws(() => strategicMerge(strategy, more, schemaOf(deploymentKind)), /invalid patch format of retainKeys/);
});

test('strategic merge: an item without its key is refused', () => {
  assert.throws(
    () => merge({ spec: { containers: [] } }, { spec: { containers: [{ image: 'x' }] } }),
    /does not contain declared merge key: name/,
  );
});
