import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Build } from '../../resources/types.ts';
import { failure } from './run-build.ts';

const build = { spec: { memoryMb: 2048, diskMb: 4096 } } as Stored<Build>;

test('how a build ended is told by its code, its reason, and its last lines', () => {
  const told = (exitCode: number, reason?: string, message?: string): string[] => {
    const error = failure(build, { exitCode, ...(reason ? { reason } : {}), ...(message ? { message } : {}) }, [
      '\u001b[31mlast words\u001b[0m',
    ]);
    return [error.code, error.message];
  };
  assert.deepEqual(told(1, 'Error'), ['build-failed', 'the build failed; its last lines:\nlast words']);
  assert.deepEqual(told(137, 'OOMKilled'), [
    'out-of-memory',
    'the build needs more than its 2048 MB of memory; its last lines:\nlast words',
  ]);
  assert.deepEqual(told(128, 'StartError', 'a mount was refused'), [
    'internal',
    "the build's container cannot start: a mount was refused",
  ]);
});
