/**
 * Memory (PSS) and cpu of everything of ours with nothing deployed, HAProxy included. The base stack is made by a first
 * push, and the platform is started anew: what is measured is a platform at rest, not one that prepares itself.
 */
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { TestPlatform } from '#testing/platform.ts';
import { processesWith } from '#testing/processes.ts';
import type { Row } from './row.ts';

interface Use {
  pss: number;
  /** By process. */
  ticks: Map<number, number>;
}

export async function run(): Promise<Row[]> {
  const platform = new TestPlatform('bench-idle');
  try {
    await platform.must('up');
    await platform.must('push', 'hello', '-p', join(import.meta.dirname, '..', 'examples', 'hello-node'));
    await platform.must('delete', 'hello', '-f', '-r');
    await platform.must('down');
    await platform.must('up');
    await delay(20_000);
    const before = useOf(platform);
    const seconds = 30;
    await delay(seconds * 1000);
    const after = useOf(platform);
    const used = [...after.ticks].reduce((sum, [pid, ticks]) => sum + ticks - (before.ticks.get(pid) ?? 0), 0);
    return [
      {
        what: 'PSS memory of server, agent, platform, keepers and HAProxy',
        unit: 'MB',
        ours: after.pss / 1024,
        goal: 'at most 250 MB',
      },
      { what: 'cpu, share of a core', unit: '%', ours: used / seconds, goal: 'at most 1 %' },
    ];
  } finally {
    await platform.purge();
  }
}

/** Clock ticks are hundredths of a second (USER_HZ). */
function useOf(platform: TestPlatform): Use {
  const marks = [platform.dataDirectory, platform.instance.runDirectory, `sampan-keeper-${platform.name}-`];
  const use: Use = { pss: 0, ticks: new Map() };
  for (const { pid } of processesWith((line) => marks.some((mark) => line.includes(mark)))) {
    try {
      use.pss += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /, '')
        .split(' ');
      use.ticks.set(pid, Number(fields[11]) + Number(fields[12]));
    } catch (error) {
      if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  return use;
}
