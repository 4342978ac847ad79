import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createPodQueue } from './pod-queue.ts';
import { pod } from './scheduling.fixture.ts';

describe('pod queue', () => {
  const start = () => {
    const clock = { now: 0 };
    let calls = 0;
    const queue = createPodQueue(
      () => calls++,
      () => clock.now,
    );
    const take = () => {
      const taken = queue.next();
      assert.ok(taken);
      return taken;
    };
    return { clock, queue, take, calls: () => calls };
  };
  const fit = new Set(['NodeResourcesFit']);

  it('gives the most important first, then the one that came first', () => {
    const { queue } = start();
    for (const [name, priority] of [
      ['a', 0],
      ['b', 10],
      ['c', 0],
      ['d', 10],
    ] as const)
      queue.add(pod({ name, priority }));
    queue.remove('c');
    assert.deepEqual(
      [1, 2, 3, 4].map(() => queue.next()?.pod.name),
      ['b', 'd', 'a', undefined],
    );
    queue.close();
  });

  it('a pod that fits nowhere waits for what helps the plugin that turned it away', () => {
    const { queue, take, clock } = start();
    queue.add(pod({ name: 'a' }));
    queue.turnedAway(take(), fit);
    clock.now = 60_000;
    queue.wake('NodeAffinity', () => true);
    queue.wake('NodeResourcesFit', () => false);
    assert.equal(queue.next(), undefined);
    assert.deepEqual([queue.waitingFor('NodeResourcesFit'), queue.waitingFor('NodeAffinity')], [1, 0]);
    queue.wake('NodeResourcesFit', ({ name }) => name === 'a');
    assert.equal(queue.next()?.pod.name, 'a');
    assert.equal(queue.waitingFor('NodeResourcesFit'), 0);
    queue.close();
  });

  it('backs off 1 s, doubling to 10 s, however often it is woken; others go on', (context) => {
    context.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
    const queue = createPodQueue(() => undefined, Date.now);
    queue.add(pod({ name: 'a' }));
    const waits: number[] = [];
    for (let attempt = 0; attempt < 6; attempt++) {
      const taken = queue.next();
      assert.ok(taken);
      queue.turnedAway(taken, fit);
      const failed = Date.now();
      queue.wake('NodeResourcesFit', () => true);
      while (queue.counts().active === 0) context.mock.timers.tick(100);
      waits.push(Date.now() - failed);
    }
    assert.deepEqual(waits, [1000, 2000, 4000, 8000, 10_000, 10_000]);
    const taken = queue.next();
    assert.ok(taken);
    queue.failed(taken);
    queue.add(pod({ name: 'b' }));
    assert.equal(queue.next()?.pod.name, 'b');
    assert.equal(queue.next(), undefined);
    queue.close();
  });

  it('tries again after five minutes though nothing happened', (context) => {
    context.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
    const queue = createPodQueue(() => undefined, Date.now);
    queue.add(pod({ name: 'a' }));
    const taken = queue.next();
    assert.ok(taken);
    queue.turnedAway(taken, fit);
    context.mock.timers.tick(4 * 60_000);
    assert.equal(queue.next(), undefined);
    context.mock.timers.tick(90_000);
    assert.equal(queue.next()?.pod.name, 'a');
    queue.close();
  });

  it('a gated pod is not tried, and at once when its gates go', () => {
    const { queue, clock } = start();
    queue.add(pod({ name: 'a', schedulingGates: [{ name: 'g' }] }));
    assert.deepEqual([queue.next(), queue.counts().gated], [undefined, 1]);
    clock.now = 10;
    queue.add(pod({ name: 'a' }));
    assert.equal(queue.next()?.pod.name, 'a');
    queue.close();
  });

  it('a pod that changed while it waited is tried as it is now', () => {
    const { queue, take, clock } = start();
    queue.add(pod({ name: 'a' }));
    queue.turnedAway(take(), fit);
    clock.now = 1000;
    queue.add(pod({ name: 'a', labels: { new: 'yes' } }));
    assert.deepEqual(queue.next()?.pod.labels, { new: 'yes' });
    assert.equal(queue.next(), undefined);
    queue.close();
  });

  it('what went while it was tried does not come back', () => {
    const { queue, take } = start();
    queue.add(pod({ name: 'a' }));
    const taken = take();
    queue.remove('a');
    queue.failed(taken);
    queue.turnedAway(taken, fit);
    assert.deepEqual(queue.counts(), { active: 0, backoff: 0, waiting: 0, gated: 0 });
    queue.close();
  });
});
