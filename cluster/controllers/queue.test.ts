import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createWorkQueue } from './queue.ts';

describe('work queue', () => {
  it('never works on a key twice at the same time, and again when it came meanwhile', async () => {
    const log: string[] = [];
    const gates = new Map<string, PromiseWithResolvers<void>>();
    const done = Promise.withResolvers<void>();
    const queue = createWorkQueue({
      workers: 2,
      async work(key) {
        log.push(`begin ${key}`);
        const gate = Promise.withResolvers<void>();
        gates.set(key, gate);
        await gate.promise;
        log.push(`end ${key}`);
        if (log.filter((line) => line === 'begin a').length === 2 && key === 'c') done.resolve();
      },
    });
    const release = async (key: string): Promise<void> => {
      gates.get(key)?.resolve();
      for (let turn = 0; turn < 5; turn++) await Promise.resolve();
    };
    queue.add('a');
    queue.add('a');
    queue.add('b');
    queue.add('c');
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
    const worked: string[] = [];
    const twice = Promise.withResolvers<void>();
    const queue = createWorkQueue({
      workers: 1,
      async work(key) {
        worked.push(key);
        if (worked.length === 2) twice.resolve();
      },
    });
    assert.deepEqual(
      Array.from({ length: 4 }, () => queue.retry('slow')),
      [5, 10, 20, 40],
    );
    queue.forget('slow');
    assert.equal(queue.retry('slow'), 5);
    queue.add('later', 1);
    await twice.promise;
    assert.deepEqual(worked.toSorted(), ['later', 'slow']);
    await queue.close();
  });
});
