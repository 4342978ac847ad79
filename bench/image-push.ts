/** A prebuilt image from the instance's own registry to the first 200: a new app each time, pushed by the real command. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TestPlatform } from '#testing/platform.ts';
import { talkativeApp, writeApp } from '#testing/sample-apps.ts';
import { copyImage } from './docker-builds.ts';
import { untilAnswer } from './first-answer.ts';
import { type Row, median } from './row.ts';

const rounds = 6;

export async function run(): Promise<Row[]> {
  const platform = new TestPlatform('bench-image');
  const answered: number[] = [];
  const ended: number[] = [];
  try {
    await platform.must('up');
    const source = writeApp(join(platform.directory, 'app'), talkativeApp('one'));
    await platform.must('push', 'source', '-p', source, '-m', '128M');
    const droplet = (await platform.mustJson<{ image: string }>('app', 'source')).image;
    // A droplet is its app's own: others run what somebody has pushed.
    const image = droplet.replace(/\/.*/, '/bench/app:one');
    await copyImage(platform, droplet, `docker://${image}`);
    await rm(source, { recursive: true });
    for (let round = 0; round < rounds; round++) {
      const name = `image-${round}`;
      const begun = performance.now();
      const pushed = platform.must('push', name, '--docker-image', image, '-m', '128M');
      const first = untilAnswer({
        port: platform.instance.ports.http,
        host: platform.host(name),
        path: '/',
        ready: (body) => body.includes('"version":"one"'),
      });
      await Promise.all([pushed.then(() => ended.push(performance.now() - begun)), first]);
      answered.push((await first) - begun);
      await platform.must('delete', name, '-f', '-r');
    }
    const row = (what: string, times: number[]): Row => ({
      what,
      unit: 's',
      ours: median(times.slice(1)) / 1000,
      goal: 'at most 1 s',
    });
    return [
      row('sampan push NAME --docker-image, to the first 200', answered),
      row('the same, to the end of the command', ended),
    ];
  } finally {
    await platform.purge();
  }
}
