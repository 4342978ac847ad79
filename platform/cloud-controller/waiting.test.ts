import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Jobs } from './jobs.ts';
import { type Changes, waitSeconds, whenSettled } from './waiting.ts';

/** Changes that the test makes. */
function changes(): { informer: Changes; change: () => void; listeners: Set<() => void> } {
  const listeners = new Set<() => void>();
  const informer = {
    onChange(listener: () => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  return { informer, listeners, change: () => [...listeners].forEach((listener) => listener()) };
}

test('wait is read from Prefer, among other preferences, and bounded', () => {
  assert.equal(waitSeconds('wait=10'), 10);
  assert.equal(waitSeconds('respond-async, wait=5'), 5);
  assert.equal(waitSeconds(['respond-async', 'wait=7']), 7);
  assert.equal(waitSeconds('wait=9999'), 30);
  assert.equal(waitSeconds('wait=0'), 0);
  for (const none of [undefined, '', 'wait=', 'wait=x', 'await=5', 'wait=-3']) assert.equal(waitSeconds(none), 3);
});

test('an answer is held until it is settled', async () => {
  const { informer, change, listeners } = changes();
  let state = 'STAGING';
  let answered = false;
  const request = { headers: { prefer: 'wait=30' }, signal: new AbortController().signal };
  const waiting = whenSettled(request, informer, () => state !== 'STAGING').then(() => (answered = true));
  change();
  await new Promise(setImmediate);
  assert.equal(answered, false);
  state = 'STAGED';
  change();
  await waiting;
  assert.equal(listeners.size, 0);
});

test('who does not want to wait, asks for what is settled, or went away is not kept', async () => {
  const { informer, listeners } = changes();
  const signal = new AbortController().signal;
  await whenSettled({ headers: { prefer: 'wait=0' }, signal }, informer, () => false);
  await whenSettled({ headers: { prefer: 'wait=30' }, signal }, informer, () => true);
  const gone = new AbortController();
  const held = whenSettled({ headers: { prefer: 'wait=30' }, signal: gone.signal }, informer, () => false);
  gone.abort();
  await held;
  assert.equal(listeners.size, 0);
});

test('who waits for a job hears of its end, whether it went well or not', async () => {
  const jobs = new Jobs({ exists: () => false, log: () => undefined });
  for (const state of ['COMPLETE', 'FAILED']) {
    const work = Promise.withResolvers<void>();
    const guid = jobs.start('thing.change', () => work.promise);
    const stateOf = () => jobs.get(guid)?.state;
    const request = { headers: { prefer: 'wait=30' }, signal: new AbortController().signal };
    let answered = false;
    const held = whenSettled(request, jobs, () => stateOf() !== 'PROCESSING').then(() => (answered = true));
    // The end of another one's work settles nothing.
    const other = jobs.start('thing.change', () => Promise.resolve());
    await whenSettled(request, jobs, () => jobs.get(other)?.state === 'COMPLETE');
    assert.equal(answered, false);
    if (state === 'COMPLETE') work.resolve();
    else work.reject(new Error('it does not work'));
    await held;
    assert.equal(stateOf(), state);
  }
});
