import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { enclosed } from './enclosed.ts';

const directory = mkdtempSync(join(tmpdir(), 'enclosed-'));
after(() => rmSync(directory, { recursive: true }));

/** Mounts something, and starts another that neither ends nor heeds a signal: its output is open for as long as one of them is there. */
const script = `mount -t tmpfs none "$1" && touch "$1/inside"; (trap '' TERM HUP INT; sleep 1000) & ls "$1"; wait`;
const words = ['-c', script, 'sh', directory];

async function untilItRuns(child: ChildProcess): Promise<void> {
  const [said] = (await once(child.stdout ?? child, 'data')) as [Buffer];
  assert.equal(String(said), 'inside\n');
  assert.ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes(directory), 'nobody outside sees what it mounts');
}

test('what is enclosed ends with its program', async () => {
  const child = spawn(...enclosed('sh', words), { stdio: ['ignore', 'pipe', 'inherit'] });
  await untilItRuns(child);
  child.kill('SIGKILL');
  await once(child, 'close');
});

test('what is enclosed ends with whoever started it, by a kill too', async () => {
  const fixture = fileURLToPath(new URL('enclosed.fixture.ts', import.meta.url));
  const child = spawn(process.execPath, [fixture, 'sh', ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
  await untilItRuns(child);
  child.kill('SIGKILL');
  await once(child, 'close');
});

test('output and exit status are those of the program', () => {
  const { status, stdout } = spawnSync(...enclosed('sh', ['-c', 'echo "$0: $PPID"; exit 7', 'its words']));
  assert.deepEqual([status, String(stdout)], [7, 'its words: 0\n']);
});
