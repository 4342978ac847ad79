import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Instance } from './instance.ts';
import { failedFile, waitReady } from './supervise.ts';

test('who waits is told why a role does not start, whatever it removes and writes anew meanwhile', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'sampan-supervise-'));
  const instance = { name: 'waits', runDirectory: directory, dataDirectory: directory } as Instance;
  const path = failedFile(instance, 'server');
  const waits = waitReady(instance, { milliseconds: 120_000, roles: ['server'] });
  const script = `const { rmSync, writeFileSync } = require('node:fs');
    for (let round = 0; round < 300; round++) { writeFileSync(${JSON.stringify(path)}, ''); rmSync(${JSON.stringify(path)}); }
    writeFileSync(${JSON.stringify(path)}, 'the disk is full');`;
  spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
  try {
    await assert.rejects(waits, { code: 'not-ready', message: 'The server cannot start: the disk is full.' });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
