/**
 * Logs and measurements of a whole platform: the message bus, statistics, the log cache's API and its PromQL, the page for
 * Prometheus, limits of logs.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { TestPlatform, until } from '#testing/platform.ts';
import { processesWith } from '#testing/processes.ts';
import { talkativeApp, writeApp } from '#testing/sample-apps.ts';

interface Stats {
  resources: {
    state: string;
    usage: { cpu: number; cpu_entitlement: number | null; mem: number; disk: number; log_rate: number };
    log_rate_limit: number;
  }[];
}

interface Envelope {
  instance_id: string;
  tags: Record<string, string>;
  gauge?: { metrics: Record<string, { value: number }> };
  log?: { payload: string };
}

const platform = new TestPlatform('logs');

describe('logs and measurements', { concurrency: 1 }, () => {
  let token: string;
  let guid: string;

  before(async () => {
    await platform.must('up', '--allow-outbound', '127.0.0.1/32');
    const source = writeApp(join(platform.directory, 'app'), talkativeApp('one'));
    writeFileSync(
      join(source, 'manifest.yml'),
      'applications: [{name: talker, memory: 128M, log-rate-limit-per-second: 2KB}]\n',
    );
    await platform.must('push', 'talker', '-p', source, '-f', join(source, 'manifest.yml'));
    token = await login();
    guid = (await platform.mustJson<{ guid: string }>('app', 'talker')).guid;
  });
  after(() => platform.purge());

  const port = (which: string): number => (platform.instance.ports as Record<string, number>)[which] ?? 0;

  async function login(): Promise<string> {
    const password = readFileSync(join(platform.dataDirectory, 'admin-password'), 'utf8').trim();
    const answer = await fetch(`http://127.0.0.1:${port('uaa')}/oauth/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from('cf:').toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'password', username: 'admin', password }),
    });
    return ((await answer.json()) as { access_token: string }).access_token;
  }

  async function get(which: 'platform' | 'logCache', path: string): Promise<Response> {
    return await fetch(`http://127.0.0.1:${port(which)}${path}`, { headers: { authorization: `bearer ${token}` } });
  }

  async function stats(): Promise<Stats['resources'][number] | undefined> {
    return ((await (await get('platform', `/v3/apps/${guid}/processes/web/stats`)).json()) as Stats).resources[0];
  }

  async function envelopes(query: string): Promise<Envelope[]> {
    const answer = await get('logCache', `/api/v1/read/${guid}?${query}`);
    return ((await answer.json()) as { envelopes: { batch: Envelope[] } }).envelopes.batch;
  }

  const busProcesses = () =>
    processesWith((line) => line.startsWith('nats-server') && line.includes(platform.dataDirectory)).map(
      ({ pid }) => pid,
    );

  test('statistics come by the bus, and go on when it is killed', async () => {
    const first = await until('a measure', async () => {
      const one = await stats();
      return (one?.usage.mem ?? 0) > 1024 * 1024 && one;
    });
    assert.equal(first.state, 'RUNNING');
    assert.ok(
      (first.usage.cpu_entitlement ?? -1) >= first.usage.cpu,
      'a part of a core is more of what it is entitled to',
    );
    assert.equal(first.log_rate_limit, 2048);
    const gauges = await until('an envelope', async () => {
      const found = await envelopes('envelope_types=GAUGE');
      return found.length > 0 && found;
    });
    assert.equal(gauges[0]?.tags['app_name'], 'talker');
    assert.equal(gauges[0]?.gauge?.metrics['memory_quota']?.value, 128 * 1024 * 1024);

    const [pid = 0] = busProcesses();
    assert.equal(busProcesses().length, 1);
    process.kill(pid, 'SIGKILL');
    assert.ok(((await stats())?.usage.mem ?? 0) > 1024 * 1024, 'while it is away');
    await until('another server', async () => busProcesses().some((one) => one !== pid), 60);
    await until(
      'a message over it',
      async () => {
        await stats();
        return (await envelopes('envelope_types=GAUGE')).length > gauges.length;
      },
      60,
    );
    assert.equal((await platform.ask(platform.host('talker'))).status, 200);
  });

  test('requests are measured: by PromQL, and by the page for Prometheus', async () => {
    for (let index = 0; index < 5; index++) await platform.ask(platform.host('talker'), { path: '/slow?ms=30' });
    const query = encodeURIComponent(`count_over_time(http{source_id="${guid}",uri=~".*slow.*"}[5m])`);
    await until('the requests', async () => {
      const answer = (await (await get('logCache', `/api/v1/query?query=${query}`)).json()) as {
        data: { result: unknown[] };
      };
      return answer.data.result.length > 0;
    });
    const page = await until('the page', async () => {
      const text = await (await get('logCache', '/metrics')).text();
      const count = /^sampan_route_request_duration_seconds_count\{.*app="talker".*path="\/"\} (\d+)$/m.exec(text)?.[1];
      return Number(count) >= 5 && text;
    });
    execFileSync('promtool', ['check', 'metrics'], { input: page, stdio: ['pipe', 'pipe', 'pipe'] });
    assert.match(page, /^sampan_app_instance_memory_bytes\{.*app="talker".*,instance="0"\} \d{7,}$/m);
    assert.match(page, /^sampan_app_instances_running\{.*app="talker".*\} 1$/m);
    assert.match(page, /^sampan_bus_up 1$/m);
    assert.match(page, /^sampan_router_up 1$/m);
    assert.equal((await fetch(`http://127.0.0.1:${port('logCache')}/metrics`)).status, 401);
  });

  test('a drain that the app is bound to gets its log', async () => {
    let text = '';
    const receiver = createServer((socket) => {
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
      socket.on('error', () => undefined);
    });
    await once(receiver.listen(0, '127.0.0.1'), 'listening');
    const post = async (path: string, body: unknown): Promise<Record<string, unknown>> => {
      const answer = await fetch(`http://127.0.0.1:${port('platform')}${path}`, {
        method: 'POST',
        headers: { authorization: `bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      assert.ok(answer.ok, `${answer.status} ${path}`);
      return (await answer.json()) as Record<string, unknown>;
    };
    const { resources } = (await (await get('platform', '/v3/spaces')).json()) as { resources: { guid: string }[] };
    const instance = await post('/v3/service_instances', {
      type: 'user-provided',
      name: 'drain',
      syslog_drain_url: `syslog://127.0.0.1:${(receiver.address() as AddressInfo).port}`,
      relationships: { space: { data: { guid: resources[0]?.guid } } },
    });
    await post('/v3/service_credential_bindings', {
      type: 'app',
      relationships: { service_instance: { data: { guid: instance['guid'] } }, app: { data: { guid } } },
    });
    await until('lines of the app and of the router', async () => {
      await platform.ask(platform.host('talker'), { path: '/log?count=1&tag=drained' });
      return /\[APP\/PROC\/WEB\/0\].*line 0 of drained\n/.test(text) && /\[RTR\/0\].*drained/.test(text);
    });
    assert.match(text, /^\d+ <14>1 \S+\+00:00 default\.dev\.talker /);
    receiver.close();
  });

  test('an instance that logs too much is told so in its log, and its other lines come', async () => {
    await platform.ask(platform.host('talker'), { path: '/log?count=2000&tag=flood' });
    const texts = async (): Promise<string[]> =>
      (await envelopes('envelope_types=LOG&limit=1000&descending=true')).map(({ log }) =>
        Buffer.from(log?.payload ?? '', 'base64').toString(),
      );
    const said = /^app instance exceeded log rate limit \(2048 bytes\/sec\): (\d+) lines? left out$/;
    await until('every line or its number', async () => {
      const all = await texts();
      const leftOut = all.reduce((sum, line) => sum + Number(said.exec(line)?.[1] ?? 0), 0);
      const came = all.filter((line) => line.endsWith('of flood')).length;
      return leftOut > 0 && came > 0 && leftOut + came === 2000;
    });
    await until('a line of later', async () => {
      await platform.ask(platform.host('talker'), { path: '/log?count=1&tag=later' });
      return (await texts()).includes('line 0 of later');
    });
  });
});
