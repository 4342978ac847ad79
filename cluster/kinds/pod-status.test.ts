import assert from 'node:assert/strict';
import test from 'node:test';
import { duration } from './columns.ts';
import { qosClass } from './pod.ts';
import { summarizePod } from './pod-status.ts';
import type { ContainerState, Pod, PodStatus } from './types/core.ts';

const NOW = Date.parse('2026-01-01T00:10:00Z');

function pod(status: PodStatus, more: Partial<Pod> = {}): Pod {
  return { metadata: {}, spec: { containers: [{ name: 'a' }] }, status, ...more };
}
function container(state: ContainerState, ready = false, restartCount = 0) {
  return { name: 'a', image: 'i', imageID: '', ready, restartCount, state };
}

test('the status of a pod in one word', () => {
  const cases: [Pod, string][] = [
    [pod({ phase: 'Pending' }), 'Pending'],
    [
      pod({ phase: 'Pending', containerStatuses: [container({ waiting: { reason: 'ContainerCreating' } })] }),
      'ContainerCreating',
    ],
    [pod({ phase: 'Running', containerStatuses: [container({ running: {} }, true)] }), 'Running'],
    [
      pod({ phase: 'Running', containerStatuses: [container({ waiting: { reason: 'CrashLoopBackOff' } })] }),
      'CrashLoopBackOff',
    ],
    [
      pod({ phase: 'Failed', containerStatuses: [container({ terminated: { exitCode: 1, reason: 'Error' } })] }),
      'Error',
    ],
    [pod({ phase: 'Failed', containerStatuses: [container({ terminated: { exitCode: 3 } })] }), 'ExitCode:3'],
    [
      pod({ phase: 'Succeeded', containerStatuses: [container({ terminated: { exitCode: 0, reason: 'Completed' } })] }),
      'Completed',
    ],
    [pod({ phase: 'Failed', reason: 'Evicted' }), 'Evicted'],
    [pod({ phase: 'Running' }, { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }), 'Terminating'],
    [
      pod({ phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' }] }),
      'SchedulingGated',
    ],
    [
      pod(
        { phase: 'Pending', initContainerStatuses: [container({ running: {} })] },
        { spec: { initContainers: [{ name: 'a' }, { name: 'b' }], containers: [{ name: 'c' }] } },
      ),
      'Init:0/2',
    ],
  ];
  for (const [object, expected] of cases) assert.equal(summarizePod(object, NOW).status, expected);
});

test('ready and restarts', () => {
  const status = container({ running: {} }, true, 3);
  const restarted = { ...status, lastState: { terminated: { exitCode: 1, finishedAt: '2026-01-01T00:05:00Z' } } };
  const { ready, total, restarts } = summarizePod(pod({ phase: 'Running', containerStatuses: [restarted] }), NOW);
  assert.deepEqual([ready, total, restarts], [1, 1, '3 (5m ago)']);
});

test('durations in two units at most', () => {
  const cases: [number, string][] = [
    [0, '0s'],
    [119, '119s'],
    [120, '2m'],
    [200, '3m20s'],
    [900, '15m'],
    [3600 * 3 + 60, '3h1m'],
    [3600 * 30, '30h'],
    [86400 * 3, '3d'],
    [86400 * 3 + 7200, '3d2h'],
    [86400 * 100, '100d'],
    [86400 * 800, '2y70d'],
  ];
  for (const [seconds, text] of cases) assert.equal(duration(seconds), text);
});

test('quality of service', () => {
  const of = (resources: object) => qosClass({ containers: [{ name: 'a', resources }] });
  assert.equal(of({}), 'BestEffort');
  assert.equal(of({ requests: { cpu: '1' } }), 'Burstable');
  assert.equal(of({ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1000m', memory: '1024Mi' } }), 'Guaranteed');
});
