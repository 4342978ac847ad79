import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { mergeMatchLabelKeys } from './match-label-keys.ts';
import { validatePodUpdate } from './pod-update-validate.ts';
import { validateScheduling } from './scheduling-validate.ts';
import type { Pod, PodSpec } from './types/core.ts';

const node = (requirement: object): object => ({
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [requirement] }] },
    },
  },
});
const near = (term: object): object => ({
  affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } },
});
const spread = (...constraints: object[]): object => ({
  topologySpreadConstraints: constraints.map((one) => ({
    maxSkew: 1,
    topologyKey: 'zone',
    whenUnsatisfiable: 'DoNotSchedule',
    ...one,
  })),
});
const term = 'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]';
const pod = 'spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]';

describe('what the scheduler reads is validated', () => {
  const cases: [string, object, string][] = [
    [
      'no term',
      { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] } } } },
      'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term',
    ],
    [
      'In without values',
      node({ key: 'a', operator: 'In' }),
      `${term}.matchExpressions[0].values: Required value: must be specified when \`operator\` is 'In' or 'NotIn'`,
    ],
    [
      'Exists with values',
      node({ key: 'a', operator: 'Exists', values: ['b'] }),
      `${term}.matchExpressions[0].values: Forbidden: may not be specified when \`operator\` is 'Exists' or 'DoesNotExist'`,
    ],
    [
      'Gt with two',
      node({ key: 'a', operator: 'Gt', values: ['1', '2'] }),
      `${term}.matchExpressions[0].values: Required value: must be specified single value when \`operator\` is 'Lt' or 'Gt'`,
    ],
    [
      'an operator',
      node({ key: 'a', operator: 'Like' }),
      `${term}.matchExpressions[0].operator: Invalid value: "Like": not a valid selector operator`,
    ],
    ['no topology key', near({ labelSelector: {} }), `${pod}.topologyKey: Required value: can not be empty`],
    [
      'match label keys alone',
      near({ topologyKey: 'zone', matchLabelKeys: ['a'] }),
      `${pod}.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set`,
    ],
    [
      'no skew',
      spread({ maxSkew: 0 }),
      'spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero',
    ],
    [
      'twice the same',
      spread({}, {}),
      'spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: Duplicate value: "{zone, DoNotSchedule}"',
    ],
    [
      'domains of a wish',
      spread({ whenUnsatisfiable: 'ScheduleAnyway', minDomains: 2 }),
      'spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway',
    ],
    [
      'a policy',
      spread({ nodeTaintsPolicy: 'Maybe' }),
      'spec.topologySpreadConstraints[0].nodeTaintsPolicy: Unsupported value: "Maybe": supported values: "Honor", "Ignore"',
    ],
    [
      'a toleration of nothing',
      { tolerations: [{ value: 'a' }] },
      'spec.tolerations[0].operator: Invalid value: "": operator must be Exists when `key` is empty, which means "match all values and all keys"',
    ],
    [
      'seconds without NoExecute',
      { tolerations: [{ key: 'a', operator: 'Exists', tolerationSeconds: 5 }] },
      'spec.tolerations[0].effect: Invalid value: "": effect must be \'NoExecute\' when `tolerationSeconds` is set',
    ],
    [
      'an effect',
      { tolerations: [{ key: 'a', operator: 'Exists', effect: 'No' }] },
      'spec.tolerations[0].effect: Unsupported value: "No": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"',
    ],
    [
      'a node behind a gate',
      { schedulingGates: [{ name: 'a' }], nodeName: 'n' },
      'spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared',
    ],
    [
      'a gate twice',
      { schedulingGates: [{ name: 'a' }, { name: 'a' }] },
      'spec.schedulingGates[1]: Duplicate value: "a"',
    ],
  ];
  for (const [what, spec, message] of cases) {
    it(what, () => {
      const errors = validateScheduling({ containers: [], ...spec } as PodSpec, 'spec');
      assert.deepEqual(
        errors.map(({ field, message: text }) => `${field}: ${text}`),
        [message],
      );
    });
  }

  it('leaves what is right', () => {
    const right = {
      ...node({ key: 'a', operator: 'Gt', values: ['1'] }),
      ...spread({ minDomains: 2 }),
      tolerations: [{ operator: 'Exists' }],
    };
    assert.deepEqual(validateScheduling({ containers: [], ...right } as PodSpec, 'spec'), []);
  });
});

it('keys to match become part of the selector', () => {
  const one = {
    metadata: { labels: { hash: '1', tenant: 'a' } },
    spec: near({
      topologyKey: 'zone',
      labelSelector: {},
      matchLabelKeys: ['hash', 'absent'],
      mismatchLabelKeys: ['tenant'],
    }),
  } as unknown as Pod;
  mergeMatchLabelKeys(one);
  const [merged] = one.spec?.affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  assert.deepEqual(merged?.labelSelector?.matchExpressions, [
    { key: 'hash', operator: 'In', values: ['1'] },
    { key: 'tenant', operator: 'NotIn', values: ['a'] },
  ]);
});

describe('a gated pod', () => {
  const gated = (spec: object): Pod =>
    ({ metadata: {}, spec: { containers: [], schedulingGates: [{ name: 'a' }], ...spec } }) as unknown as Pod;
  const terms = (...list: object[]): object => ({
    affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: list } } },
  });
  const [a, b] = ['a', 'b'].map((key) => ({ key, operator: 'Exists' }));
  const cases: [string, object, object, string[]][] = [
    ['gets a selector', {}, { nodeSelector: { z: 'x' } }, []],
    ['gets more of one', { nodeSelector: { z: 'x' } }, { nodeSelector: { z: 'x', y: '1' } }, []],
    ['loses none', { nodeSelector: { z: 'x' } }, {}, ['spec.nodeSelector']],
    ['changes none', { nodeSelector: { z: 'x' } }, { nodeSelector: { z: 'y' } }, ['spec.nodeSelector']],
    ['gets an affinity', {}, terms({ matchExpressions: [a] }), []],
    ['gets more of it', terms({ matchExpressions: [a] }), terms({ matchExpressions: [b, a] }), []],
    [
      'gets no alternative',
      terms({ matchExpressions: [a] }),
      terms({ matchExpressions: [a] }, { matchExpressions: [b] }),
      ['spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms'],
    ],
    [
      'changes no requirement',
      terms({ matchExpressions: [a] }),
      terms({ matchExpressions: [b] }),
      ['spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]'],
    ],
    ['gets no affinity to pods', {}, near({ topologyKey: 'z' }), ['spec']],
  ];
  for (const [what, old, now, fields] of cases)
    it(what, () =>
      assert.deepEqual(
        validatePodUpdate(gated(now), gated(old)).map(({ field }) => field),
        fields,
      ),
    );
});
