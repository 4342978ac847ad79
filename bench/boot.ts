/** `sampan up` on a prepared machine, to ready: an instance that was set up before. */
import { TestPlatform } from '#testing/platform.ts';
import { type Row, median } from './row.ts';

export async function run(): Promise<Row[]> {
  const platform = new TestPlatform('bench-boot');
  const times: number[] = [];
  try {
    await platform.must('up');
    for (let round = 0; round < 5; round++) {
      await platform.must('down');
      const begun = performance.now();
      await platform.must('up');
      times.push((performance.now() - begun) / 1000);
    }
    return [{ what: 'sampan up, to ready', unit: 's', ours: median(times), goal: 'at most 3 s' }];
  } finally {
    await platform.purge();
  }
}
