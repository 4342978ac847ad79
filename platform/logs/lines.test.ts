import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import test from 'node:test';
import { Cursor, readLines } from './lines.ts';
import { routerLine } from './router-lines.ts';
import type { LogEnvelope } from './logs.ts';
import { OlderWindow } from './older.ts';
import { LogMemory, Source } from './source.ts';
import { fromMilliseconds, nanoseconds, next, parseQueryTime, toRfc3339 } from '../time.ts';

const all = { limit: 10_000, descending: false };
const T = '2026-01-02T03:04:05';

async function read(cursor: Cursor, ...chunks: string[]): Promise<string[]> {
  const lines: string[] = [];
  await readLines(Readable.from(chunks.map((chunk) => Buffer.from(chunk))), cursor, (time, stream, payload, missing) =>
    lines.push(`${time.slice(-9)} ${stream} ${payload.toString()}${missing > 0 ? ` (${missing})` : ''}`),
  );
  return lines;
}

test('times: nanoseconds there and back', () => {
  assert.equal(nanoseconds(`${T}.123456789Z`), '1767323045123456789');
  assert.equal(nanoseconds(`${T}.5Z`), '1767323045500000000');
  assert.equal(nanoseconds(`${T}Z`), '1767323045000000000');
  assert.equal(toRfc3339('1767323045123456789'), `${T}.123456789Z`);
  assert.equal(nanoseconds('2026-01-02T05:04:05.5+02:00'), '1767323045500000000');
  for (const wrong of ['', 'now', T, '2026-13-02T03:04:05Z', `${T}.1234567890Z`]) {
    assert.equal(nanoseconds(wrong), undefined, wrong);
  }
  assert.equal(fromMilliseconds(1_767_323_045_123), '1767323045123000000');
  assert.equal(next('0999'), '0000000000000001000');
  assert.equal(parseQueryTime('-6795364578871345152'), '0000000000000000000');
  assert.equal(parseQueryTime('1e9'), undefined);
});

test('lines: a cursor goes on within lines of one time, and knows what it had', async () => {
  const cursor = new Cursor();
  const log = `${T}.1Z stdout a\n${T}.2Z stderr b\n${T}.2Z stdout c\n`;
  const first = ['100000000 stdout a', '200000000 stderr b', '200000000 stdout c'];
  assert.deepEqual(await read(cursor, log.slice(0, 40), log.slice(40)), first);
  assert.equal(cursor.sinceTime, `${T}.200000000Z`);
  const more = `${log}${T}.2Z stdout d\n${T}.3Z stdout \n`;
  assert.deepEqual(await read(cursor, more), ['200000000 stdout d', '300000000 stdout ']);
  assert.deepEqual(await read(cursor, `${T}.3Z stdout \n${T}.3Z stdout e`), ['300000000 stdout e']);
  assert.deepEqual(await read(cursor, `unable to read the log\n${T}.4Z stdout f\n`), ['400000000 stdout f']);
  // What the node says of missing lines is no line of the log: it is told, and counts for nothing.
  assert.deepEqual(await read(cursor, `${T}.1Z node 7 lost\n${T}.4Z stdout f\n`), ['100000000 node lost (7)']);
});

test('source: a backlog that never comes holds up nobody for long', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const source = new Source(new LogMemory());
  source.load();
  const read = source.loaded().then(() => source.range('', undefined, all).length);
  const common = { sourceId: 's', instanceId: '0', sourceType: 'STG', type: 'OUT' } as const;
  source.push({ ...common, timestamp: '1'.padStart(19, '0'), payload: Buffer.from('staging') });
  assert.equal(source.range('', undefined, all).length, 0);
  context.mock.timers.tick(3000);
  assert.equal(await read, 1);
});

test('source: lines of different streams are put in order, then only grow', async () => {
  const source = new Source(new LogMemory());
  const push = (timestamp: string, payload: string): void =>
    source.push({
      timestamp: timestamp.padStart(19, '0'),
      sourceId: 's',
      instanceId: '0',
      sourceType: 'APP',
      type: 'OUT',
      payload: Buffer.from(payload),
    });
  const texts = (): string[] =>
    source.range('', undefined, all).map(({ payload, timestamp }) => `${Number(timestamp)}${payload}`);
  push('5', 'b');
  push('3', 'a');
  push('5', 'c');
  assert.deepEqual(texts(), ['3a', '5b', '6c']);
  // A backlog holds back what comes meanwhile.
  const loaded = source.load();
  push('9', 'e');
  assert.deepEqual(texts(), ['3a', '5b', '6c']);
  push('8', 'd');
  loaded();
  push('1', 'late');
  assert.deepEqual(texts(), ['3a', '5b', '6c', '8d', '9e', '10late']);
  const first = source.range('5'.padStart(19, '0'), '9'.padStart(19, '0'), { limit: 2, descending: false });
  assert.deepEqual(
    first.map(({ payload }) => payload.toString()),
    ['b', 'c'],
  );
  const newest = source.range('', undefined, { limit: 2, descending: true });
  assert.deepEqual(
    newest.map(({ payload }) => payload.toString()),
    ['late', 'e'],
  );
  source.clear();
});

test('older lines: one reading serves who goes through them, without a gap when what is in memory moves on', async () => {
  const window = new OlderWindow();
  const pad = (time: number): string => String(time).padStart(19, '0');
  let written = 30_000;
  const asked: string[] = [];
  const read = async (start: string, limit: number): Promise<LogEnvelope[]> => {
    asked.push(start);
    const lines: LogEnvelope[] = [];
    for (let time = Number(start); time < written && lines.length < limit; time++) {
      const origin = { sourceId: 's', instanceId: '0', sourceType: 'APP', type: 'OUT' } as const;
      lines.push({ ...origin, timestamp: pad(time), payload: Buffer.from(String(time)) });
    }
    return lines;
  };
  const seen: number[] = [];
  const walk = async (): Promise<void> => {
    for (;;) {
      const batch = await window.range({ start: pad(seen.length), end: pad(written), limit: 1000 }, read);
      if (batch.length === 0) return;
      seen.push(...batch.map(({ payload }) => Number(payload.toString())));
    }
  };
  await walk();
  assert.equal(seen.length, 30_000);
  assert.ok(window.reaches(pad(30_000)) && !window.reaches(pad(30_001)));
  assert.ok(asked.length <= 3, asked.join());
  written = 30_500;
  await walk();
  assert.deepEqual(
    seen,
    seen.map((_, index) => index),
  );
  assert.equal(seen.length, 30_500);
  window.clear();
});

test('source: a noisy app keeps its newest lines, and takes no room from quiet ones', () => {
  const memory = new LogMemory();
  const sources = [new Source(memory), new Source(memory), new Source(memory), new Source(memory)];
  const [quiet, ...noisy] = sources;
  let time = 0;
  const fill = (source: Source | undefined, lines: number, size: number): void => {
    for (let index = 0; index < lines; index++) {
      const timestamp = String(++time).padStart(19, '0');
      const origin = { sourceId: 's', instanceId: '0', sourceType: 'APP', type: 'OUT' } as const;
      source?.push({ ...origin, timestamp, payload: Buffer.alloc(size) });
    }
    source?.range('', undefined, all);
  };
  fill(quiet, 10, 100);
  for (const source of noisy) fill(source, 2000, 20_000);
  assert.equal(quiet?.count, 10);
  for (const source of noisy) {
    assert.equal(source.count + source.expired, 2000);
    assert.ok(source.count > 500 && source.bytes <= 32 * 1024 * 1024, String(source.count));
  }
  assert.ok(memory.bytes <= 64 * 1024 * 1024);
  const bytes = sources.reduce((sum, source) => sum + source.bytes, 0);
  assert.equal(memory.bytes, bytes);
  for (const source of sources) source.clear();
  assert.equal(memory.bytes, 0);
});

test("router lines: Cloud Foundry's form, and a client's quotes do not break out of theirs", () => {
  const line = routerLine(
    {
      at: 1_767_323_045_123,
      backend: 'b',
      endpoint: 'web-1',
      requestId: 'id',
      clientIp: '10.0.0.1',
      client: '10.0.0.1:999',
      address: '10.1.0.2:8080',
      instance: 2,
      forwardedFor: '9.9.9.9',
      method: 'GET',
      host: 'h.test',
      path: '/?"a',
      protocol: 'HTTP/1.1',
      status: 200,
      bytesIn: 100,
      bytesOut: 2000,
      total: 12,
      queued: 1,
      response: 10,
      userAgent: 'x"\n[RTR/0]',
      referer: '',
      termination: '----',
      gap: 0,
    },
    'app-guid',
  );
  assert.equal(
    line,
    `h.test - [${T}.123000000Z] "GET /?\\"a HTTP/1.1" 200 100 2000 "-" "x\\"\\n[RTR/0]" "10.0.0.1:999" "10.1.0.2:8080" ` +
      'x_forwarded_for:"9.9.9.9, 10.0.0.1" vcap_request_id:"id" response_time:0.012000 gorouter_time:0.001000 ' +
      'app_id:"app-guid" app_index:"2" instance_id:"web-1"',
  );
});
