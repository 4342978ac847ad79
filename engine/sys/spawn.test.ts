import assert from 'node:assert/strict';
import { closeSync, existsSync, readlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { text } from 'node:stream/consumers';
import { until } from '#testing/until.ts';
import { makePipe, reap, spawnProcess } from './spawn.ts';

const SCRIPT = `pwd; echo "$WORD $PATH"; cut -d ' ' -f 6 /proc/$$/stat; echo $$
  grep -E '^Sig(Ign|Blk)' /proc/self/status; ls /proc/self/fd | grep -x -e $OURS; cat; readlink /proc/$$/fd/2`;

test('a program gets what it is given, and nothing else of ours', { timeout: 120_000 }, async () => {
  const { read, write } = makePipe();
  const pid = spawnProcess({
    program: '/bin/sh',
    args: ['-c', SCRIPT],
    environment: { PATH: process.env['PATH'] ?? '', WORD: 'häuser "x"', OURS: String(read) },
    directory: '/usr',
    descriptors: new Map([[1, write]]),
  });
  closeSync(write);
  const lines = (await text(new Socket({ fd: read, readable: true, writable: false }))).trim().split('\n');
  // Its session, its signals, no descriptor of ours, and an empty standard input.
  const zero = '0'.repeat(16);
  assert.deepEqual(lines, [
    '/usr',
    `häuser "x" ${process.env['PATH']}`,
    String(pid),
    String(pid),
    `SigBlk:\t${zero}`,
    `SigIgn:\t${zero}`,
    '/dev/null',
  ]);
  reap(pid);
  await until(async () => !existsSync(`/proc/${pid}`));
});

test('the end of one that lives is noticed when it comes', { timeout: 120_000 }, async () => {
  const pid = spawnProcess({
    program: '/bin/sleep',
    args: ['1000'],
    environment: {},
    directory: '/',
    descriptors: new Map(),
  });
  reap(pid);
  assert.match(readlinkSync(`/proc/${pid}/exe`), /sleep|busybox|coreutils/);
  process.kill(pid, 'SIGKILL');
  await until(async () => !existsSync(`/proc/${pid}`));
});

test('what cannot be executed is an error here', () => {
  const request = { args: [], environment: {}, directory: '/', descriptors: new Map<number, number>() };
  assert.throws(() => spawnProcess({ ...request, program: '/no/such/program' }), { code: 'ENOENT' });
  assert.throws(() => spawnProcess({ ...request, program: '/bin/sh', directory: '/no/such' }), { code: 'ENOENT' });
});
