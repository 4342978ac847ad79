import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startProbes } from './probes.ts';

test('a probe waits for initialDelaySeconds, and asks then', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  let asked = 0;
  const ready = Promise.withResolvers<void>();
  const probes = startProbes({
    definition: {
      name: 'c',
      readinessProbe: { initialDelaySeconds: 5, timeoutSeconds: 3, periodSeconds: 1, exec: { command: ['true'] } },
    },
    startedAt: Date.now(),
    known: { started: false, ready: false },
    check: async (_probe, timeout) => {
      asked += 1;
      assert.equal(timeout, 3000);
      return { ok: true, message: '' };
    },
    onChange: () => ready.resolve(),
    onCondemned: () => undefined,
    onFailure: () => undefined,
  });
  t.mock.timers.tick(4999);
  assert.deepEqual([asked, probes.ready], [0, false]);
  t.mock.timers.tick(1);
  await ready.promise;
  assert.deepEqual([asked, probes.ready], [1, true]);
  probes.close();
});

test('a delay that no timer holds is not taken for none', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  let asked = 0;
  const probes = startProbes({
    definition: { name: 'c', readinessProbe: { initialDelaySeconds: 2 ** 31 - 1, exec: { command: ['true'] } } },
    startedAt: Date.now(),
    known: { started: false, ready: false },
    check: async () => {
      asked += 1;
      return { ok: true, message: '' };
    },
    onChange: () => undefined,
    onCondemned: () => undefined,
    onFailure: () => undefined,
  });
  t.mock.timers.tick(2 ** 31 - 2);
  assert.equal(asked, 0);
  // The longest that there is: Node would take a longer one for one of no time.
  t.mock.timers.tick(1);
  assert.equal(asked, 1);
  probes.close();
});

test('ready is who answered well successThreshold times in a row', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const answers = [true, false, true, true];
  const ready = Promise.withResolvers<void>();
  let asked = 0;
  const probes = startProbes({
    definition: { name: 'c', readinessProbe: { successThreshold: 2, periodSeconds: 1, exec: { command: ['true'] } } },
    startedAt: Date.now(),
    known: { started: false, ready: false },
    check: async () => ({ ok: answers[asked++] ?? true, message: '' }),
    onChange: () => ready.resolve(),
    onCondemned: () => undefined,
    onFailure: () => undefined,
  });
  while (!probes.ready) {
    t.mock.timers.tick(1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await ready.promise;
  assert.equal(asked, 4);
  probes.close();
});
