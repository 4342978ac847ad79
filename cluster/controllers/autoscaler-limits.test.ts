import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HorizontalPodAutoscalerBehavior, HPAScalingRules } from '../kinds/types/autoscaling-v2.ts';
import { limit, type Memory, noteScale } from './autoscaler-limits.ts';

const NOW = 10_000_000;
const SECOND = 1_000;

/** What the API fills in. */
const UP: HPAScalingRules = {
  stabilizationWindowSeconds: 0,
  selectPolicy: 'Max',
  policies: [
    { type: 'Pods', value: 4, periodSeconds: 15 },
    { type: 'Percent', value: 100, periodSeconds: 15 },
  ],
};
const DOWN: HPAScalingRules = {
  selectPolicy: 'Max',
  policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }],
};

interface Case {
  current: number;
  wanted: number;
  up?: HPAScalingRules;
  down?: HPAScalingRules;
  /** Recommendations by their age in seconds. */
  before?: Record<number, number>;
  /** Changes by their age in seconds. */
  scaled?: Record<number, number>;
  /** Without any behavior. */
  plain?: boolean;
  expected: [replicas: number, able: string, limited: string];
}

function verdict({ current, wanted, up, down, before = {}, scaled = {}, plain = false }: Case) {
  const memory: Memory = { recommendations: [], ups: [], downs: [] };
  for (const [age, replicas] of Object.entries(before))
    memory.recommendations.push({ at: NOW - Number(age) * SECOND, replicas });
  for (const [age, change] of Object.entries(scaled)) noteScale(memory, 0, change, NOW - Number(age) * SECOND);
  const behavior: HorizontalPodAutoscalerBehavior = { scaleUp: { ...UP, ...up }, scaleDown: { ...DOWN, ...down } };
  const spec = {
    minReplicas: 2,
    maxReplicas: 50,
    scaleTargetRef: { kind: 'Deployment', name: 'web' },
    ...(plain ? {} : { behavior }),
  };
  const { replicas, able, limited } = limit({ spec, current, wanted, memory, now: NOW });
  assert.equal(limited.status, limited.reason === 'DesiredWithinRange' ? 'False' : 'True');
  return [replicas, able.reason, limited.reason];
}

const pods = (value: number, periodSeconds = 60) => ({ type: 'Pods', value, periodSeconds });
const percent = (value: number, periodSeconds = 60) => ({ type: 'Percent', value, periodSeconds });

const cases: Record<string, Case> = {
  'within bounds': { current: 10, wanted: 12, expected: [12, 'ReadyForNewScale', 'DesiredWithinRange'] },
  'the least': { current: 4, wanted: 1, expected: [2, 'ReadyForNewScale', 'TooFewReplicas'] },
  'the most': { current: 40, wanted: 60, expected: [50, 'ReadyForNewScale', 'TooManyReplicas'] },
  'usual speed: twice as many': { current: 10, wanted: 30, expected: [20, 'ReadyForNewScale', 'ScaleUpLimit'] },
  'usual speed: four more': { current: 2, wanted: 30, expected: [6, 'ReadyForNewScale', 'ScaleUpLimit'] },
  'the slower policy': {
    current: 10,
    wanted: 30,
    up: { selectPolicy: 'Min' },
    expected: [14, 'ReadyForNewScale', 'ScaleUpLimit'],
  },
  'no way up': {
    current: 10,
    wanted: 30,
    up: { selectPolicy: 'Disabled' },
    expected: [10, 'ReadyForNewScale', 'ScaleUpLimit'],
  },
  'what was added in the period counts': {
    current: 13,
    wanted: 30,
    up: { policies: [pods(4)] },
    scaled: { 59: 3, 61: 5 },
    expected: [14, 'ReadyForNewScale', 'ScaleUpLimit'],
  },
  'down by pods': {
    current: 20,
    wanted: 5,
    down: { policies: [pods(4)] },
    expected: [16, 'ReadyForNewScale', 'ScaleDownLimit'],
  },
  'down by percent, the faster': {
    current: 25,
    wanted: 5,
    down: { policies: [pods(1), percent(10)] },
    expected: [22, 'ReadyForNewScale', 'ScaleDownLimit'],
  },
  'down by percent, the slower': {
    current: 25,
    wanted: 5,
    down: { policies: [pods(1), percent(10)], selectPolicy: 'Min' },
    expected: [24, 'ReadyForNewScale', 'ScaleDownLimit'],
  },
  'no way down': {
    current: 20,
    wanted: 5,
    down: { selectPolicy: 'Disabled' },
    expected: [20, 'ReadyForNewScale', 'ScaleDownLimit'],
  },
  'down: the highest of the last five minutes': {
    current: 10,
    wanted: 3,
    before: { 299: 8, 301: 10, 10: 4 },
    expected: [8, 'ScaleDownStabilized', 'DesiredWithinRange'],
  },
  'down: of the window that is asked for': {
    current: 10,
    wanted: 3,
    down: { stabilizationWindowSeconds: 5 },
    before: { 299: 8, 10: 4 },
    expected: [3, 'ReadyForNewScale', 'DesiredWithinRange'],
  },
  'up: the lowest of the window': {
    current: 10,
    wanted: 18,
    up: { stabilizationWindowSeconds: 60 },
    before: { 59: 12, 61: 9, 10: 14 },
    expected: [12, 'ScaleUpStabilized', 'DesiredWithinRange'],
  },
  'without behavior: five minutes, all the same': {
    plain: true,
    current: 10,
    wanted: 3,
    before: { 299: 8, 301: 10 },
    expected: [8, 'ScaleDownStabilized', 'DesiredWithinRange'],
  },
  'without behavior: twice as many': {
    plain: true,
    current: 10,
    wanted: 30,
    expected: [20, 'ReadyForNewScale', 'ScaleUpLimit'],
  },
  'without behavior: the most': {
    plain: true,
    current: 40,
    wanted: 60,
    expected: [50, 'ReadyForNewScale', 'TooManyReplicas'],
  },
  'without behavior: the least': {
    plain: true,
    current: 10,
    wanted: 1,
    expected: [2, 'ReadyForNewScale', 'TooFewReplicas'],
  },
};

test('windows, policies and bounds', () => {
  for (const [name, one] of Object.entries(cases)) assert.deepEqual(verdict(one), one.expected, name);
});

test('what it recommends is remembered as it was asked for, for an hour', () => {
  const memory: Memory = { recommendations: [{ at: NOW - 3_600_000, replicas: 1 }], ups: [], downs: [] };
  const spec = { maxReplicas: 5, scaleTargetRef: { kind: 'Deployment', name: 'web' } };
  limit({ spec, current: 4, wanted: 9, memory, now: NOW });
  assert.deepEqual(memory.recommendations, [{ at: NOW, replicas: 9 }]);
  noteScale(memory, 4, 5, NOW);
  noteScale(memory, 5, 2, NOW);
  assert.deepEqual([memory.ups, memory.downs], [[{ at: NOW, change: 1 }], [{ at: NOW, change: 3 }]]);
});
