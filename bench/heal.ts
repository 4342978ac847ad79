/** An app's process killed, to serving again: one instance, asked through the router. */
import { join } from 'node:path';
import { TestPlatform, until } from '#testing/platform.ts';
import { talkativeApp, writeApp } from '#testing/sample-apps.ts';
import { type Row, median } from './row.ts';

export async function run(): Promise<Row[]> {
  const platform = new TestPlatform('bench-heal');
  const times: number[] = [];
  try {
    await platform.must('up');
    writeApp(join(platform.directory, 'app'), talkativeApp('one'));
    await platform.must('push', 'app', '-p', join(platform.directory, 'app'), '-m', '128M');
    const started = async (): Promise<number | undefined> => {
      const answer = await platform.ask(platform.host('app'));
      return answer.status === 200 ? (JSON.parse(answer.body) as { started: number }).started : undefined;
    };
    for (let round = 0; round < 3; round++) {
      const before = await until('serving', started);
      const begun = performance.now();
      await platform.ask(platform.host('app'), { path: '/crash' });
      await until('serving again', async () => ((await started()) ?? before) > before);
      times.push(performance.now() - begun);
    }
    return [{ what: 'process killed to serving again', unit: 'ms', ours: median(times), goal: 'start time + 200 ms' }];
  } finally {
    await platform.purge();
  }
}
