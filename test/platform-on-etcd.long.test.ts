/** The platform on a cluster whose state is in etcd: apps are pushed and served, and go on when its server or etcd die. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ClusterBed } from '#testing/cluster-bed.ts';
import { Load, until } from '#testing/platform.ts';
import { talkativeApp, writeApp } from '#testing/sample-apps.ts';

let bed: ClusterBed;

describe('the platform on etcd', { concurrency: 1 }, () => {
  before(async () => {
    bed = await ClusterBed.open('on-etcd');
    await bed.must('up', '--store', 'etcd', ...bed.endpointFlags);
  });
  after(() => bed.close());

  const push = (version: string): Promise<string> => {
    const app = writeApp(join(bed.directory, 'app'), talkativeApp(version));
    return bed.must('push', 'steady', '-p', app, '-m', '128M', '-i', '2');
  };
  const serves = (version: string) =>
    until(`version ${version}`, async () => {
      const { status, body } = await bed.ask(bed.host('steady'));
      return status === 200 && body.includes(version);
    });

  test('an app is pushed, served, scaled and pushed again', async () => {
    await push('one');
    await serves('one');
    await bed.must('scale', 'steady', '-i', '3');
    await push('two');
    await serves('two');
    assert.match(await bed.must('app', 'steady'), /state: +started/);
  });

  test('kill -9 of the server and of etcd: no request fails, and the next push is served', async () => {
    const load = new Load(bed, bed.host('steady'));
    const pid = Number(readFileSync(join(bed.instance.runDirectory, 'server.pid'), 'utf8'));
    process.kill(pid, 'SIGKILL');
    const [member] = bed.etcd.members;
    await member?.kill();
    await until('the load went on without them', async () => load.requests > 100);
    await member?.start();
    await bed.must('up');
    await load.stop();
    assert.deepEqual(load.failures, []);
    await push('three');
    await serves('three');
  });
});
