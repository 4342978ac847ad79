import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostError } from './host-error.ts';
import { mergedNodeFlags, type NodeFlags, nodeOptions } from './node-flags.ts';

test('flags of the node as the agent takes them', () => {
  assert.deepEqual(nodeOptions({}), { settings: {}, eviction: {} });
  assert.deepEqual(
    nodeOptions({
      evictionHard: 'memory.available<200Mi, nodefs.available<7.5%',
      evictionSoft: 'memory.available<1Gi',
      evictionSoftGracePeriod: 'memory.available=90s',
      evictionMaxPodGracePeriod: '60',
      evictionPressureTransitionPeriod: '30s',
      maxPods: '110',
      systemReserved: 'cpu=500m,memory=1Gi',
      nodeLabels: 'disk=ssd,example.com/rack=,topology.kubernetes.io/zone=z1',
      registerWithTaints: 'dedicated=db:NoSchedule,spot:PreferNoSchedule',
    }),
    {
      settings: {
        maxPods: 110,
        systemReserved: { cpu: '500m', memory: '1Gi' },
        labels: { disk: 'ssd', 'example.com/rack': '', 'topology.kubernetes.io/zone': 'z1' },
        taints: [
          { key: 'dedicated', value: 'db', effect: 'NoSchedule' },
          { key: 'spot', effect: 'PreferNoSchedule' },
        ],
      },
      eviction: {
        thresholds: { 'memory.available': '200Mi', 'nodefs.available': '7.5%' },
        soft: {
          thresholds: { 'memory.available': '1Gi' },
          graceMilliseconds: { 'memory.available': 90_000 },
          maxPodGraceSeconds: 60,
        },
        transition: 30_000,
      },
    },
  );
});

test('each is kept until it is given anew, and an empty text takes it back', () => {
  const first = mergedNodeFlags({ maxPods: '20', nodeLabels: 'a=b' }, undefined);
  assert.deepEqual(first, { maxPods: '20', nodeLabels: 'a=b' });
  const second = mergedNodeFlags({ maxPods: '30' }, first);
  assert.deepEqual(second, { maxPods: '30', nodeLabels: 'a=b' });
  assert.equal(mergedNodeFlags({ maxPods: '', nodeLabels: '' }, second), undefined);
});

test('what cannot be is refused with the flag, the value and what would do', () => {
  const refused: [NodeFlags, RegExp][] = [
    [{ evictionHard: 'memory.available=1Gi' }, /as --eviction-hard: there is no "<" in it/],
    [{ evictionHard: 'memory.free<1Gi' }, /"memory.free" as --eviction-hard: it is no signal of this node/],
    [{ evictionHard: 'memory.available<much' }, /much is neither a quantity nor a percentage/],
    [{ evictionHard: 'memory.available<101%' }, /101% is neither/],
    [{ evictionHard: 'memory.available<-1Gi' }, /-1Gi is neither/],
    [{ evictionSoft: 'memory.available<1Gi' }, /--eviction-soft-grace-period says nothing of memory.available/],
    [{ evictionSoftGracePeriod: 'memory.available=1m' }, /there is no --eviction-soft/],
    [
      { evictionSoft: 'memory.available<1Gi', evictionSoftGracePeriod: 'memory.available=soon' },
      /"soon" as --eviction-soft-grace-period/,
    ],
    [{ evictionPressureTransitionPeriod: '5' }, /as --eviction-pressure-transition-period/],
    [{ maxPods: '0' }, /"0" as --max-pods/],
    [{ systemReserved: 'pods=3' }, /"pods=3" as --system-reserved/],
    [{ systemReserved: 'cpu=some' }, /"cpu=some" as --system-reserved/],
    [{ nodeLabels: 'a b=c' }, /as --node-labels/],
    [{ nodeLabels: 'node-restriction.kubernetes.io/a=b' }, /no node may say that of itself/],
    [{ registerWithTaints: 'a=b:Never' }, /"a=b:Never" as --register-with-taints: the effect is none of/],
    [{ registerWithTaints: 'a' }, /it is no KEY=VALUE:EFFECT/],
  ];
  for (const [flags, why] of refused)
    assert.throws(
      () => mergedNodeFlags(flags, undefined),
      (error) => error instanceof HostError && error.code === 'invalid-flag' && why.test(error.message),
      JSON.stringify(flags),
    );
});
