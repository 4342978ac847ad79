/**
 * Source to the first 200 of its new version, everything warm and the dependencies unchanged: `sampan push` of an app that
 * runs, beside `docker build` and `docker run` of the same files. The peer's Dockerfile is the careful one, which installs
 * the dependencies from the lockfile in a step of its own, so that they come out of its cache.
 */
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TestPlatform } from '#testing/platform.ts';
import { untilAnswer } from './first-answer.ts';
import { dockerBuilds } from './docker-builds.ts';
import { type Row, median } from './row.ts';

const rounds = 7;
const example = join(import.meta.dirname, '..', 'examples', 'web-express');

export async function run(): Promise<Row[]> {
  const platform = new TestPlatform('bench-push');
  const source = join(platform.directory, 'app');
  const answered: number[] = [];
  const ended: number[] = [];
  const theirs: number[] = [];
  try {
    await cp(example, source, { recursive: true });
    const version = async (text: string): Promise<(body: string) => boolean> => {
      await mkdir(join(source, 'public'), { recursive: true });
      await writeFile(join(source, 'public', 'version.txt'), `${text}\n`);
      return (body) => body === `${text}\n`;
    };
    await platform.must('up');
    const push = (): Promise<string> => platform.must('push', '-p', source, '-f', join(source, 'manifest.yml'));
    await version('first');
    await push();
    const { image } = await platform.mustJson<{ image: string }>('app', 'web-express');
    await using peer = await dockerBuilds({ platform, image, source });
    for (let round = 0; round < rounds; round++) {
      let ready = await version(`ours ${round}`);
      let begun = performance.now();
      const pushed = push().then(() => ended.push(performance.now() - begun));
      const { http } = platform.instance.ports;
      const first = untilAnswer({ port: http, host: platform.host('web-express'), path: '/version.txt', ready });
      await Promise.all([pushed, first]);
      answered.push((await first) - begun);

      ready = await version(`theirs ${round}`);
      begun = performance.now();
      const port = await peer.buildAndRun();
      theirs.push((await untilAnswer({ port, host: '127.0.0.1', path: '/version.txt', ready })) - begun);
      await peer.remove();
    }
    const name = `docker build + docker run, ${peer.version}`;
    const row = (what: string, times: number[]): Row => ({
      what,
      unit: 's',
      ours: median(times.slice(2)) / 1000,
      peer: { name, value: median(theirs.slice(2)) / 1000 },
      goal: 'at most 0.5 x',
    });
    return [
      row('sampan push of examples/web-express again, to the first 200', answered),
      row('the same, to the end of the command', ended),
    ];
  } finally {
    await platform.purge();
  }
}
