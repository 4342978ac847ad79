/** A platform that is taken away while it makes its base stack, which unpacks and mounts below its directory. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { noTraces, tracesOf } from '#testing/leftovers.ts';
import { TestPlatform, until } from '#testing/platform.ts';

const platform = new TestPlatform('purge-building');
after(() => platform.purge());

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it ended meanwhile
  }
}

/** By what all of them have from mmdebstrap. */
function makers(): string[] {
  const mark = `TMPDIR=${platform.dataDirectory}/`;
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && textOf(`/proc/${name}/environ`).includes(mark));
}

async function untilItHasMounted(but: readonly string[] = []): Promise<string[]> {
  const below = `${platform.dataDirectory}/platform/staging/stack-`;
  const hasMounted = (pid: string): boolean => !but.includes(pid) && textOf(`/proc/${pid}/mountinfo`).includes(below);
  await until('mounts of who makes the stack', () => Promise.resolve(makers().some(hasMounted)), 300);
  assert.ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes(below), 'nobody else sees them');
  return makers();
}

test('who makes the stack ends with the platform, killed too, and a purge in the midst of it leaves nothing', async () => {
  await platform.must('up');
  const { runDirectory } = platform.instance;
  const first = await untilItHasMounted();
  process.kill(Number(readFileSync(join(runDirectory, 'platform.pid'), 'utf8')), 'SIGKILL');
  await until('the end of who made it', () => Promise.resolve(!makers().some((pid) => first.includes(pid))), 60);
  await untilItHasMounted(first);
  await platform.must('down', '--purge');
  assert.deepEqual(makers(), []);
  assert.deepEqual(tracesOf(platform.name, [platform.dataDirectory, runDirectory, platform.name]), noTraces);
  assert.equal(existsSync(platform.dataDirectory), false);
});
