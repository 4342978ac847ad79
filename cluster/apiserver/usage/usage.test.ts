import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type NodeSummary, parseSummary } from './summary.ts';
import { Usage, usageOf } from './usage.ts';

const MIB = 1024 * 1024;

/** A node of one pod with one container. */
function summary(at: number, cpuNanos: number, startedAt = 0): NodeSummary {
  return {
    node: { at, cpuNanos: cpuNanos * 2, workingSetBytes: 100 * MIB },
    pods: new Map([['ns/pod', new Map([['main', { at, cpuNanos, workingSetBytes: MIB, startedAt }]])]]),
  };
}

const mainOf = (before: NodeSummary | undefined, now: NodeSummary) =>
  usageOf(before, now).pods.get('ns/pod')?.get('main');

test('usage is the mean between two readings', () => {
  const usage = usageOf(summary(10_000, 1e9), summary(25_000, 4e9));
  assert.deepEqual(usage.node, { at: 25_000, window: 15_000, nanoCores: 4e8, workingSetBytes: 100 * MIB });
  assert.deepEqual(usage.pods.get('ns/pod')?.get('main'), {
    at: 25_000,
    window: 15_000,
    nanoCores: 2e8,
    workingSetBytes: MIB,
  });
});

test('a container that began since the last reading used all of it since it began', () => {
  assert.deepEqual(mainOf(summary(10_000, 9e9), summary(25_000, 1e9, 20_000)), {
    at: 25_000,
    window: 5_000,
    nanoCores: 2e8,
    workingSetBytes: MIB,
  });
});

test('what is not known is left out, and with it the pod', () => {
  assert.equal(mainOf(undefined, summary(25_000, 1e9)), undefined, 'one reading only');
  assert.equal(usageOf(undefined, summary(25_000, 1e9)).node, undefined);
  assert.equal(mainOf(summary(24_900, 0), summary(25_000, 1e9)), undefined, 'too short a window');
  assert.equal(mainOf(summary(10_000, 2e9), summary(25_000, 1e9)), undefined, 'a counter that went back');
  const unseen = summary(25_000, 1e9, 5_000);
  assert.equal(
    mainOf({ ...summary(10_000, 0), pods: new Map() }, unseen),
    undefined,
    'began earlier, was not seen then',
  );
  const two = summary(25_000, 1e9);
  two.pods.get('ns/pod')?.set('new', { at: 25_000, cpuNanos: 1, workingSetBytes: 1, startedAt: 24_900 });
  assert.equal(usageOf(summary(10_000, 0), two).pods.has('ns/pod'), false, 'a container is not known yet');
});

test('readers share a reading; the first of all takes two; nobody is asked while it is new', async () => {
  let [clock, asked] = [0, 0];
  const logged: string[] = [];
  const usage = new Usage({
    nodeNames: () => ['good', 'dead'],
    summary: async (node) => {
      if (node === 'dead') throw new Error('no route');
      asked++;
      return summary(asked * 2_000, asked * 1e9);
    },
    resolution: 15_000,
    log: (_level, message) => logged.push(message),
    now: () => clock,
  });
  const [one, other] = await Promise.all([usage.read(), usage.read()]);
  assert.equal(one, other);
  assert.deepEqual([[...one.keys()], asked], [['good'], 2]);
  assert.equal(one.get('good')?.node?.nanoCores, 1e9);
  assert.deepEqual(logged, ['the usage of node dead is not known'], 'told once');
  clock = 14_999;
  assert.equal(await usage.read(), one);
  assert.equal(asked, 2);
  clock = 15_000;
  await usage.read();
  assert.equal(asked, 3);
  clock = 15_000 + 60_001;
  await usage.read();
  assert.equal(asked, 5, 'after a pause its last reading would tell of the past');
});

test('a summary in another form is refused', () => {
  const sample = {
    cpu: { time: '2026-01-01T00:00:00Z', usageCoreNanoSeconds: 1 },
    memory: { workingSetBytes: 1 },
  };
  assert.equal(parseSummary({ node: sample }).node.cpuNanos, 1);
  for (const [wrong, message] of [
    [null, /no object with a field pods/],
    [{ node: 1 }, /no object with a field cpu/],
    [{ node: { ...sample, memory: { workingSetBytes: -1 } } }, /-1 for an amount/],
    [{ node: { ...sample, cpu: { ...sample.cpu, time: 'now' } } }, /"now" for a time/],
    [{ node: sample, pods: [{ podRef: { name: 1 } }] }, /for a name/],
  ] as const)
    assert.throws(() => parseSummary(wrong), message);
});
