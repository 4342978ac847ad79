/** How a crashing container comes back, on a clock of the test's own: what the worker does at each wake is what `planPod` says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podObject } from '#testing/agent-pod.ts';
import { backoffPolicyOf } from './backoff.ts';
import { planPod } from './plan.ts';
import type { ContainerRecord } from './records.ts';

/** Seconds between each end and the next start, where runs last as long as given. */
function pauses(annotations: Record<string, string>, lifetimes: readonly number[]): number[] {
  const pod = podObject('a', {}, annotations);
  const [definition] = pod.spec?.containers ?? [];
  assert.ok(definition);
  const waits: number[] = [];
  let now = 1_000_000;
  let record: ContainerRecord = {
    name: 'main',
    role: 'main',
    definition,
    state: 'running',
    attempt: 0,
    crashes: 0,
    startedAt: now,
  };
  for (const lifetime of lifetimes) {
    now += lifetime * 1000;
    const exit = { code: 1, oomKilled: false, at: now };
    record = { ...record, state: 'exited', exit };
    for (;;) {
      const plan = planPod({
        pod,
        records: [record],
        sandbox: 'ready',
        busy: new Set(),
        replacing: new Set(),
        holds: new Map(),
        started: () => true,
        condemned: new Map(),
        backoff: backoffPolicyOf(annotations),
        mode: 'run',
        now,
      });
      const [action] = plan.actions;
      if (action?.do === 'start') {
        waits.push((now - exit.at) / 1000);
        const { attempt, crashes } = action;
        assert.equal(attempt, record.attempt + 1);
        record = { name: 'main', role: 'main', definition, state: 'running', attempt, crashes, startedAt: now };
        break;
      }
      assert.ok(plan.wakeAt !== undefined && plan.wakeAt > now, 'it wakes by itself, later');
      assert.equal(plan.backingOff.get('main')?.until, plan.wakeAt);
      now = plan.wakeAt;
    }
  }
  return waits;
}

const crashes = (count: number): number[] => Array.from({ length: count }, () => 1);

test('kubernetes: at once, then 10 s doubling to 5 min, and anew after 10 min of health', () => {
  assert.deepEqual(pauses({}, crashes(8)), [0, 10, 20, 40, 80, 160, 300, 300]);
  assert.deepEqual(pauses({}, [1, 1, 1, 600, 1]), [0, 10, 20, 0, 10]);
});

test('cloudfoundry: three times at once, then 30 s doubling to 16 min, and anew after 5 min of health', () => {
  const annotations = { 'node.sampan.dev/backoff': 'cloudfoundry' };
  assert.deepEqual(pauses(annotations, crashes(11)), [0, 0, 0, 30, 60, 120, 240, 480, 960, 960, 960]);
  assert.deepEqual(pauses(annotations, [1, 1, 1, 1, 300, 1, 1, 1]), [0, 0, 0, 30, 0, 0, 0, 30]);
});
