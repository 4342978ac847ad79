/**
 * Lines of logs from apps to a reader of the log-cache API: how many of those written come, at Cloud Foundry's rate and above it, from
 * one instance and from several; what a flood does to others. Readers are the API's own: a stream (`follow`, as `sampan logs` has it)
 * and polls (`read`, as `cf logs` does).
 */
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { TestPlatform, until } from '#testing/platform.ts';
import { type Files, writeApp } from '#testing/sample-apps.ts';
import { percentile, type Row } from './row.ts';

const SECONDS = 10;
/** Lines a second: more than the node lets pass. */
const FLOOD = 200_000;

/** Writes so many lines a second, each with its tag, its number and its time; or as many as it can. */
const app: Files = {
  'package.json': JSON.stringify({ name: 'writer', version: '1.0.0', scripts: { start: 'node server.js' } }),
  'server.js': `
const http = require('node:http');
const fs = require('node:fs');
const line = (tag, id, number) => tag + ' ' + id + ' ' + number + ' ' + Date.now() + ' ' + 'x'.repeat(40) + '\\n';
http.createServer((request, response) => {
  const url = new URL(request.url, 'http://app');
  const tag = url.searchParams.get('tag');
  const id = url.searchParams.get('id');
  const rate = Number(url.searchParams.get('rate'));
  const total = rate * Number(url.searchParams.get('seconds'));
  response.end('begun');
  if (tag === null) return;
  const begun = Date.now();
  let written = 0;
  const timer = setInterval(() => {
    const due = Math.min(total, Math.floor((Date.now() - begun) / 1000 * rate));
    let text = '';
    for (; written < due; written++) { text += line(tag, id, written); if (text.length > 60000) { fs.writeSync(1, text); text = ''; } }
    if (text !== '') fs.writeSync(1, text);
    if (written >= total) clearInterval(timer);
  }, 10);
}).listen(process.env.PORT);
`,
};

interface Envelope {
  timestamp: string;
  log?: { payload: string };
}

/** What came of each tag: numbers by writer, milliseconds on the way, and how many the log itself says were left out. */
class Tally {
  readonly numbers = new Map<string, Set<string>>();
  readonly ways: number[] = [];
  leftOut = 0;

  take({ log }: Envelope): void {
    const text = Buffer.from(log?.payload ?? '', 'base64').toString();
    const [, tag = '', id = '', number = '', at = ''] = /^(\w+) (\d+) (\d+) (\d+) x/.exec(text) ?? [];
    if (tag === '') {
      const said = /(\d+) lines? left out$|^(\d+) lines were dropped|lost: (\d+) were/.exec(text);
      this.leftOut += Number(said?.[1] ?? said?.[2] ?? said?.[3] ?? 0);
      return;
    }
    const seen = this.numbers.get(tag) ?? new Set();
    this.numbers.set(tag, seen);
    seen.add(`${id} ${number}`);
    if (seen.size % 100 === 0) this.ways.push(Date.now() - Number(at));
  }

  of(tag: string): number {
    return this.numbers.get(tag)?.size ?? 0;
  }
}

class Bed {
  readonly platform = new TestPlatform('bench-logs');
  token = '';

  async start(): Promise<void> {
    await this.platform.must('up');
    for (const name of ['writer', 'quiet']) {
      await this.platform.must('push', name, '-p', writeApp(join(this.platform.directory, name), app), '-m', '128M');
    }
    const password = readFileSync(join(this.platform.dataDirectory, 'admin-password'), 'utf8').trim();
    const answer = await fetch(`http://127.0.0.1:${this.port('uaa')}/oauth/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from('cf:').toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'password', username: 'admin', password }),
    });
    this.token = ((await answer.json()) as { access_token: string }).access_token;
  }

  port(which: string): number {
    return (this.platform.instance.ports as Record<string, number>)[which] ?? 0;
  }

  async guid(name: string): Promise<string> {
    return (await this.platform.mustJson<{ guid: string }>('app', name)).guid;
  }

  /** The reader of `sampan logs`. */
  async follow(guid: string, tally: Tally): Promise<() => void> {
    const sent = request({
      port: this.port('logCache'),
      host: '127.0.0.1',
      path: `/api/v1/follow/${guid}`,
      headers: { authorization: `bearer ${this.token}` },
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    sent.once('response', (response) => {
      let rest = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        const lines = (rest + part).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line !== '') tally.take(JSON.parse(line) as Envelope);
      });
      resolve();
    });
    sent.on('error', () => undefined);
    sent.end();
    await promise;
    return () => sent.destroy();
  }

  /** The reader of `cf logs`: from the newest that it saw on, what is a second old, without a pause while something comes. */
  walk(guid: string, tally: Tally): () => void {
    let stopped = false;
    let start = BigInt(Date.now()) * 1_000_000n;
    const step = async (): Promise<void> => {
      const query = `start_time=${start}&end_time=${BigInt(Date.now() - 1000) * 1_000_000n}&limit=1000&envelope_types=LOG`;
      const answer = await fetch(`http://127.0.0.1:${this.port('logCache')}/api/v1/read/${guid}?${query}`, {
        headers: { authorization: `bearer ${this.token}` },
      });
      const { envelopes } = (await answer.json()) as { envelopes?: { batch: Envelope[] } };
      for (const envelope of envelopes?.batch ?? []) tally.take(envelope);
      const last = envelopes?.batch.at(-1)?.timestamp;
      if (last === undefined) await delay(250);
      else start = BigInt(last) + 1n;
      if (!stopped) void step();
    };
    void step();
    return () => {
      stopped = true;
    };
  }

  /** The router spreads so many requests over the instances; each begins to write. */
  async write(
    name: string,
    options: { tag: string; rate: number; seconds: number; instances?: number },
  ): Promise<void> {
    const { tag, rate, seconds, instances = 1 } = options;
    for (let id = 0; id < instances; id++) {
      const path = `/?tag=${tag}&id=${id}&rate=${rate}&seconds=${seconds}`;
      await this.platform.ask(this.platform.host(name), { path });
    }
  }
}

/** Until nothing has come for a while: at the end what is missing is lost. */
async function settled(tally: Tally, tag: string, total: number): Promise<void> {
  let before = -1;
  await until(
    'the last lines',
    async () => {
      const now = tally.of(tag) + tally.leftOut;
      const done = now >= total || now === before;
      before = now;
      if (!done) await delay(10_000);
      return done;
    },
    120,
  );
}

export async function run(): Promise<Row[]> {
  const bed = new Bed();
  try {
    await bed.start();
    return [...(await rates(bed)), ...(await flood(bed))];
  } finally {
    await bed.platform.purge();
  }
}

async function rates(bed: Bed): Promise<Row[]> {
  const one = await rate(bed, { tag: 'one', rate: 16_000, instances: 1, polled: true, goal: '0' });
  const fast = await rate(bed, { tag: 'fast', rate: 50_000, instances: 1, polled: false, goal: 'at most 0.01 %' });
  await bed.platform.must('scale', 'writer', '-i', '8');
  const many = await rate(bed, { tag: 'many', rate: 2000, instances: 8, polled: true, goal: '0' });
  await bed.platform.must('scale', 'writer', '-i', '1');
  return [...one, ...fast, ...many];
}

interface Load {
  tag: string;
  rate: number;
  instances: number;
  /** Read in both ways at once. */
  polled: boolean;
  goal: string;
}

async function rate(bed: Bed, { tag, rate: each, instances, polled, goal }: Load): Promise<Row[]> {
  const guid = await bed.guid('writer');
  const total = each * instances * SECONDS;
  const streamed = new Tally();
  const walked = new Tally();
  const ends = [await bed.follow(guid, streamed), ...(polled ? [bed.walk(guid, walked)] : [])];
  await bed.write('writer', { tag, rate: each, seconds: SECONDS, instances });
  await settled(streamed, tag, total);
  if (polled) await settled(walked, tag, total);
  for (const end of ends) end();
  const what = `${each * instances} lines/s for ${SECONDS} s, ${instances === 1 ? 'one instance' : `${instances} instances`}`;
  const lost = total - walked.of(tag);
  return [
    ...lossRows(`${what}, streamed`, total, streamed, { tag, goal }),
    ...(polled ? [{ what: `${what}, polled: lost`, unit: '%', ours: share(lost, total), goal }] : []),
    { what: `${what}: p99 from written to read`, unit: 'ms', ours: percentile(streamed.ways, 0.99), goal: '' },
  ];
}

function lossRows(what: string, total: number, tally: Tally, { tag, goal }: { tag: string; goal: string }): Row[] {
  const lost = total - tally.of(tag);
  return [
    { what: `${what}: lost`, unit: '%', ours: share(lost, total), goal },
    { what: `${what}: lost and not counted`, unit: 'lines', ours: Math.max(0, lost - tally.leftOut), goal: '0' },
  ];
}

function share(part: number, whole: number): number {
  return (Math.max(0, part) / whole) * 100;
}

/** One app writes as fast as it can; another one writes and answers meanwhile. */
async function flood(bed: Bed): Promise<Row[]> {
  const quiet = new Tally();
  const noisy = new Tally();
  const ends = [await bed.follow(await bed.guid('quiet'), quiet), await bed.follow(await bed.guid('writer'), noisy)];
  const answers = async (): Promise<number[]> => {
    const times: number[] = [];
    for (let index = 0; index < 100; index++) {
      const begun = performance.now();
      await bed.platform.ask(bed.platform.host('quiet'));
      times.push(performance.now() - begun);
      await delay(SECONDS * 5);
    }
    return times;
  };
  const before = percentile(await answers(), 0.99);
  await bed.write('writer', { tag: 'flood', rate: FLOOD, seconds: SECONDS });
  await bed.write('quiet', { tag: 'quiet', rate: 100, seconds: SECONDS });
  const meanwhile = percentile(await answers(), 0.99);
  await settled(quiet, 'quiet', 100 * SECONDS);
  await settled(noisy, 'flood', FLOOD * SECONDS);
  for (const end of ends) end();
  const total = FLOOD * SECONDS;
  return [
    { what: 'beside a flood: lost of a quiet app', unit: 'lines', ours: 100 * SECONDS - quiet.of('quiet'), goal: '0' },
    { what: 'its p99 of answers, without the flood', unit: 'ms', ours: before, goal: '' },
    { what: 'its p99 of answers, with it', unit: 'ms', ours: meanwhile, goal: '' },
    { what: 'of the flood: read', unit: 'lines', ours: noisy.of('flood'), goal: '' },
    { what: 'of the flood: counted as left out', unit: 'lines', ours: noisy.leftOut, goal: '' },
    {
      what: 'of the flood: neither',
      unit: 'lines',
      ours: Math.max(0, total - noisy.of('flood') - noisy.leftOut),
      goal: '0',
    },
  ];
}
