import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createWorkQueue } from './work-queue.ts';

const careless = {
  retry: { firstMilliseconds: 1, lastMilliseconds: 1 },
  onFailure: (key: string, error: unknown) => assert.fail(`${key}: ${String(error)}`),
};

describe('work queue', () => {
  it('never works on a key twice at the same time, and again when it came meanwhile', async () => {
    const log: string[] = [];
    const gates = new Map<string, PromiseWithResolvers<void>>();
    const done = Promise.withResolvers<void>();
    const queue = createWorkQueue({
      workers: 2,
      ...careless,
      async work(key) {
        log.push(`begin ${key}`);
        const gate = Promise.withResolvers<void>();
        gates.set(key, gate);
        await gate.promise;
        log.push(`end ${key}`);
        if (log.filter((line) => line === 'begin a').length === 2 && key === 'c') done.resolve();
      },
    });
    const settle = async (): Promise<void> => {
      for (let turn = 0; turn < 9; turn++) await Promise.resolve();
    };
    const release = async (key: string): Promise<void> => {
      gates.get(key)?.resolve();
      await settle();
    };
    for (const key of ['a', 'b', 'c']) queue.add(key);
    await settle();
    queue.add('a');
    assert.deepEqual(log, ['begin a', 'begin b'], 'two workers; the second `a` waits for the first');
    await release('a');
    assert.deepEqual(log.slice(2), ['end a', 'begin c']);
    await release('b');
    assert.deepEqual(log.slice(4), ['end b', 'begin a']);
    await release('c');
    await done.promise;
    const closed = queue.close();
    queue.add('d');
    await release('a');
    await closed;
    assert.ok(!log.includes('begin d'));
  });

  it('waits longer after each failure, and forgets them after a success', async () => {
    const waits: [number, number][] = [];
    let runs = 0;
    const done = Promise.withResolvers<void>();
    const queue = createWorkQueue({
      workers: 1,
      retry: { firstMilliseconds: 1, lastMilliseconds: 3 },
      async work() {
        runs += 1;
        if (runs === 5) queue.add('slow', 1);
        else if (runs === 7) done.resolve();
        else throw new Error('not yet');
      },
      onFailure: (key, error, { count, retryMilliseconds }) => {
        assert.equal(key, 'slow');
        assert.match(String(error), /not yet/);
        waits.push([count, retryMilliseconds]);
      },
    });
    queue.add('slow');
    await done.promise;
    assert.deepEqual(waits, [
      [1, 1],
      [2, 2],
      [3, 3],
      [4, 3],
      [1, 1],
    ]);
    await queue.close();
  });

  it('works once on a key that comes many times at once, or sooner than it was planned', async () => {
    const worked: string[] = [];
    const last = Promise.withResolvers<void>();
    const queue = createWorkQueue({
      workers: 1,
      ...careless,
      async work(key) {
        worked.push(key);
        if (key === 'last') last.resolve();
      },
    });
    for (let count = 0; count < 3; count++) queue.add('many');
    queue.add('planned', 3_600_000);
    queue.add('planned', 1);
    queue.add('planned', 7_200_000);
    queue.add('last', 10);
    assert.deepEqual(worked, []);
    await last.promise;
    assert.deepEqual(worked, ['many', 'planned', 'last']);
    await queue.close();
  });
});
