import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SingleFlight } from './single-flight.ts';

test('callers at the same time share one run, later ones start another', async () => {
  const flights = new SingleFlight<number>();
  let runs = 0;
  const work = async (): Promise<number> => ++runs;
  assert.deepEqual(
    await Promise.all([
      flights.run('a', undefined, work),
      flights.run('a', undefined, work),
      flights.run('b', undefined, work),
    ]),
    [1, 1, 2],
  );
  assert.equal(await flights.run('a', undefined, work), 3);
});

test('a failure reaches every caller and is not kept', async () => {
  const flights = new SingleFlight<number>();
  const failing = async (): Promise<number> => {
    throw new Error('no');
  };
  const both = [flights.run('a', undefined, failing), flights.run('a', undefined, failing)];
  for (const { status } of await Promise.allSettled(both)) assert.equal(status, 'rejected');
  assert.equal(await flights.run('a', undefined, async () => 1), 1);
});

test('the work is aborted when the last caller has left', async () => {
  const flights = new SingleFlight<void>();
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  let left = 0;
  const work = async (signal: AbortSignal): Promise<void> => {
    signal.addEventListener('abort', () => resolve());
    await aborted;
    left += 1;
  };
  const [one, two] = [new AbortController(), new AbortController()];
  const first = flights.run('a', one.signal, work);
  const second = flights.run('a', two.signal, work);
  one.abort(new Error('first'));
  await assert.rejects(first, /first/);
  assert.equal(left, 0);
  two.abort(new Error('second'));
  await assert.rejects(second, /second/);
  assert.equal(left, 1, 'the work has ended before its last caller hears of it');
  await assert.rejects(flights.run('a', AbortSignal.abort(new Error('before')), work), /before/);
});
