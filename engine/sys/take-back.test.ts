import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { takeBack } from './take-back.ts';

test("what a container's root was given, and shut to others, is everybody's again", () => {
  const directory = mkdtempSync(join(tmpdir(), 'take-back-'));
  try {
    const device = join(directory, 'null');
    writeFileSync(device, '');
    chownSync(device, 100_000, 100_000);
    chmodSync(device, 0o600);
    takeBack(device);
    const { uid, gid, mode } = statSync(device);
    assert.deepEqual([uid, gid, mode & 0o777], [0, 0, 0o666]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
