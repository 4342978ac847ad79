import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerStatus, Pod } from '#cluster/kinds/types/core.ts';
import { isRestarting } from './table.ts';

function pod(ready: 'True' | 'False', status: Partial<ContainerStatus>, phase = 'Running'): Pod {
  const container = { name: 'app', image: '', imageID: '', ready: ready === 'True', restartCount: 1, ...status };
  return {
    metadata: { name: 'web' },
    status: { phase, conditions: [{ type: 'Ready', status: ready }], containerStatuses: [container] },
  };
}

const running = { running: { startedAt: '2026-01-01T00:00:00Z' } };

test('an instance that is not ready is kept while it starts again, and not when it says so itself', () => {
  assert.ok(isRestarting(pod('False', { started: false, state: { terminated: { exitCode: 1 } } })), 'it has died');
  assert.ok(isRestarting(pod('False', { started: false, state: running })), 'it is not up yet');
  assert.ok(isRestarting(pod('True', { started: true, state: running })), 'its death is not known yet');
  assert.ok(!isRestarting(pod('False', { started: true, state: running })), 'it fails its readiness check');
  assert.ok(!isRestarting(pod('False', { started: false, state: { waiting: { reason: 'CrashLoopBackOff' } } })));
  assert.ok(!isRestarting(pod('False', { started: false }, 'Failed')));
  assert.ok(!isRestarting(undefined));
});
