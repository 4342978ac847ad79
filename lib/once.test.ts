import assert from 'node:assert/strict';
import { test } from 'node:test';
import { once } from './once.ts';

test('it is made once for all who ask, and after a failure again', async () => {
  const calls: PromiseWithResolvers<string>[] = [];
  const get = once(() => {
    const call = Promise.withResolvers<string>();
    calls.push(call);
    return call.promise;
  });
  assert.equal(calls.length, 0);
  const failing = [get(), get()];
  calls[0]?.reject(new Error('not now'));
  for (const each of failing) await assert.rejects(each, /not now/);
  const working = [get(), get()];
  calls[1]?.resolve('made');
  assert.deepEqual(await Promise.all([...working, get()]), ['made', 'made', 'made']);
  assert.equal(calls.length, 2);
});
