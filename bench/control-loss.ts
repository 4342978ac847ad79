/**
 * Server, agent and platform killed with SIGKILL at once, while an app with two instances is asked through the router: how many
 * requests fail, and when both APIs answer again.
 */
import { request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Load, TestPlatform, until } from '#testing/platform.ts';
import { talkativeApp, writeApp } from '#testing/sample-apps.ts';
import { median, type Row } from './row.ts';

const ROUNDS = 5;
/** Milliseconds after which a keeper starts what died at once again, rather than later each time. */
const OLD_ENOUGH = 11_000;
const ROLES = ['server', 'agent', 'platform'];

export async function run(): Promise<Row[]> {
  const platform = new TestPlatform('bench-control');
  const times: number[] = [];
  try {
    await platform.must('up');
    writeApp(join(platform.directory, 'app'), talkativeApp('one'));
    await platform.must('push', 'app', '-p', join(platform.directory, 'app'), '-m', '128M', '-i', '2');
    const host = platform.host('app');
    await until('serving', async () => (await platform.ask(host)).status === 200);
    const load = new Load(platform, host, 8);
    for (let round = 0; round < ROUNDS; round++) {
      await delay(OLD_ENOUGH);
      const pids = ROLES.flatMap((role) => platform.roles(role));
      if (pids.length !== ROLES.length) throw new Error(`${pids.length} processes of ${ROLES.length} are there`);
      const begun = performance.now();
      for (const pid of pids) process.kill(pid, 'SIGKILL');
      await Promise.all([
        until('the Kubernetes API', async () => (await readyz(platform.instance.ports.kubernetes)) === 200),
        until(
          'the Cloud Foundry API',
          async () => (await platform.ask(platform.host('api'), { path: '/v3/info' })).status === 200,
        ),
      ]);
      times.push((performance.now() - begun) / 1000);
    }
    await load.stop();
    return [
      { what: 'requests that failed', unit: `of ${load.requests}`, ours: load.failures.length, goal: '0' },
      { what: 'killed to both APIs answering', unit: 's', ours: median(times), goal: 'at most 3 s (stretch 1 s)' },
    ];
  } finally {
    await platform.purge();
  }
}

/** The status; 0 where nobody answers. */
function readyz(port: number): Promise<number> {
  return new Promise((resolve) => {
    const sent = request({ port, path: '/readyz', rejectUnauthorized: false, agent: false });
    sent.on('error', () => resolve(0));
    sent.on('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sent.end();
  });
}
