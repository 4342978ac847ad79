import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readWhole, withLog } from '#testing/log-files.ts';
import type { LogGap } from '../engine.ts';
import { until } from '#testing/until.ts';
import { mostFileBytes, surplus } from './log-bound.ts';
import { countLines, linesBeyond } from './log-count.ts';
import { LogParser } from './log-format.ts';
import { noteRemoved, noteUnwritten } from './log-losses.ts';
import { readLog } from './log-reader.ts';
import { LogRotation, beginLog, closeLog } from './log-rotation.ts';
import { listSegments, removeSegments, statSegment, turnOver } from './log-segments.ts';

const BEGIN = Date.parse('2026-01-02T03:04:05Z');
const MEBIBYTE = 1024 * 1024;
const record = (index: number, text: string, tag = 'F'): string =>
  `${new Date(BEGIN + index).toISOString().replace('Z', '000000+00:00')} stdout ${tag} ${text}\n`;
const records = (from: number, count: number): string =>
  Array.from({ length: count }, (_, line) => record(from + line, `line ${String(from + line).padStart(9, '0')}`)).join(
    '',
  );
const never = new AbortController().signal;
const fired = AbortSignal.abort();

const shapes = (gaps: LogGap[]): [string, number][] => gaps.map(({ reason, lines }) => [reason, lines]);

test('the newest files stay that together have the size of the log, and one in any case', () => {
  const closed = (...sizes: number[]) => sizes.map((size, index) => ({ path: `${index}`, identity: `${index}`, size }));
  const going = (files: number, ...sizes: number[]): number =>
    surplus(closed(...sizes), { maxBytes: 10, maxFiles: files }).length;
  assert.equal(going(5, 10, 10, 10, 10), 0);
  assert.equal(going(5, 10, 10, 10, 10, 10), 1);
  assert.equal(going(5, 14, 14, 14, 14), 1, 'three of them are the size of four');
  assert.equal(going(5, 10, 10, 10, 39), 2, 'one byte is missing to four');
  assert.equal(going(5, 10, 10, 10, 400), 3);
  assert.equal(going(5, 400, 10, 10), 0);
  assert.equal(going(1, 400), 0);
  assert.equal(going(1, 10, 400), 1);
  assert.equal(going(2), 0);
});

test('a file that is written ends at twice the size of the log, and not before a fast writer was looked at', () => {
  assert.equal(mostFileBytes({ maxBytes: 1, maxFiles: 1 }), 64 * MEBIBYTE);
  assert.equal(mostFileBytes({ maxBytes: 10 * MEBIBYTE, maxFiles: 5 }), 100 * MEBIBYTE);
  assert.equal(mostFileBytes({ maxBytes: Number.MAX_SAFE_INTEGER, maxFiles: 9999 }), Number.MAX_SAFE_INTEGER);
});

test('lines are counted, and where there is no time they are estimated', () =>
  withLog(async (path) => {
    await writeFile(path, records(0, 40_000));
    const last = record(39_999, '').split(' ')[0];
    assert.deepEqual(await countLines(path, never), { lines: 40_000, last });
    assert.deepEqual(await countLines(path, fired), { lines: 40_000, last }, 'all are of one length');
    await appendFile(path, records(40_000, 40_000).replaceAll('line', 'a longer line'));
    const { lines, last: end } = await countLines(path, fired);
    assert.ok(lines > 80_000 && lines < 100_000, String(lines));
    assert.equal(end, record(79_999, '').split(' ')[0]);
    await writeFile(path, records(0, 3));
    assert.equal((await countLines(path, fired)).lines, 3);
    await writeFile(path, '');
    assert.deepEqual(await countLines(path, fired), { lines: 0, last: '' });
    await truncate(path, MEBIBYTE);
    await appendFile(path, records(0, 3));
    const unfinished = await countLines(path, fired);
    assert.deepEqual(unfinished, { lines: 0, last: record(2, '').split(' ')[0] }, 'as far as it came');
  }));

test('what a full file could not take is told from what its writer has read', () =>
  withLog(async (path) => {
    await writeFile(path, records(0, 40_000));
    const { size } = statSync(path);
    // `line 000000000` and its newline.
    assert.equal(await linesBeyond(path, size, 50_000 * 15), 10_000);
    assert.equal(await linesBeyond(path, size, 40_000 * 15), 0);
    assert.equal(await linesBeyond(path, size, 0), 0);
    await truncate(path, size - 20);
    assert.equal(await linesBeyond(path, size - 20, 50_000 * 15), 10_000);
    await writeFile(path, 'x'.repeat(1000));
    assert.equal(await linesBeyond(path, 1000, 50_000 * 15), 0);
  }));

test('files move on as far as there is no room, and none is lost', () =>
  withLog(async (path, directory) => {
    for (const text of ['a', 'b', 'c']) {
      await writeFile(path, text);
      turnOver(path);
    }
    const texts = () =>
      readdirSync(directory)
        .sort()
        .map((name) => `${name} ${readFileSync(join(directory, name))}`);
    assert.deepEqual(texts(), ['container.log.1 c', 'container.log.2 b', 'container.log.3 a']);
    // As a kill between two renames leaves it.
    await rm(`${path}.2`);
    await writeFile(path, 'd');
    assert.deepEqual((await statSegment(path))?.identity, turnOver(path).identity);
    assert.deepEqual(texts(), ['container.log.1 d', 'container.log.2 c', 'container.log.3 a']);
  }));

test('a file that was cut off ends with a whole line, and what it could not take is said once', () =>
  withLog(async (path) => {
    await writeFile(path, records(0, 3) + record(3, 'begun ', 'P') + record(4, 'never written').slice(0, -8));
    const { identity } = (await statSegment(path)) ?? { identity: '' };
    await noteUnwritten(path, identity, 1000);
    await noteUnwritten(path, identity, 2000);
    const lines = ['line 000000000', 'line 000000001', 'line 000000002', 'begun '];
    assert.deepEqual((await readWhole(path)).lines, lines);
    assert.deepEqual(shapes((await readWhole(path)).gaps), [['overrun', 1000]], 'nothing follows');
    turnOver(path);
    await writeFile(path, record(Date.now() - BEGIN, 'after'));
    assert.deepEqual((await readWhole(path)).lines, [...lines, 'after']);
    assert.deepEqual(shapes((await readWhole(path)).gaps), [['overrun', 1000]]);
    assert.deepEqual(shapes((await readWhole(path, { since: BEGIN })).gaps), [['overrun', 1000]]);
    const later = await readWhole(path, { since: Date.now() + 60_000 });
    assert.deepEqual(later, { lines: [], gaps: [] });
    // A second one, which nobody could count, and the first file goes.
    await noteUnwritten(path, (await statSegment(path))?.identity ?? '', 0);
    turnOver(path);
    await writeFile(path, record(Date.now() - BEGIN, 'end'));
    const oldest = (await listSegments(path))[0];
    assert.equal(oldest?.identity, identity);
    await noteRemoved(path, identity, await countLines(oldest?.path ?? '', never));
    await noteRemoved(path, identity, { lines: 7, last: '' });
    await rm(oldest?.path ?? '');
    const rest = await readWhole(path, { since: BEGIN });
    assert.deepEqual(rest.lines, ['after', 'end']);
    // Before what is there, and within it.
    assert.deepEqual(shapes(rest.gaps), [
      ['overrun', 1000],
      ['rotation', 4],
      ['overrun', 0],
    ]);
    await removeSegments(path);
    assert.equal(existsSync(`${path}.removed`), false);
  }));

test('what is behind a cut is not joined to what is before it', () => {
  const parser = new LogParser();
  assert.deepEqual(parser.push(Buffer.from(`${record(0, 'begun', 'P')}${record(1, 'half').slice(0, 30)}`)), []);
  assert.equal(parser.isWithin, true);
  assert.deepEqual(
    parser.cut().map(({ line }) => String(line)),
    ['begun'],
  );
  assert.deepEqual(
    parser.push(Buffer.from(record(2, 'whole'))).map(({ line }) => String(line)),
    ['whole'],
  );
  assert.equal(parser.isWithin, false);
});

test('conmon is asked once for each new file, however long it takes', () =>
  withLog(async (path, directory) => {
    const fifo = join(await mkdtemp(join(tmpdir(), 'sampan-ctl-')), 'ctl');
    execFileSync('mkfifo', [fifo]);
    const end = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
    let asked = '';
    const listen = (): number => {
      const buffer = Buffer.alloc(4096);
      try {
        asked += buffer.toString('latin1', 0, readSync(end, buffer));
      } catch (error) {
        assert.match(String(error), /EAGAIN/);
      }
      return asked.split('2 0 0\n').length - 1;
    };
    const errors: unknown[] = [];
    const target = {
      logPath: path,
      control: fifo,
      conmonPid: '/none',
      mark: `${fifo}.mark`,
      maxBytes: 5000,
      maxFiles: 3,
    };
    await writeFile(path, records(0, 100));
    const rotation = new LogRotation(target, (error) => errors.push(error));
    try {
      for (let turn = 1; turn <= 5; turn += 1) {
        await until(async () => listen() >= turn, 60);
        assert.equal(existsSync(path), false);
        // It writes on where it was; each byte makes us look again.
        const enough = performance.now() + 300;
        await until(async () => {
          await appendFile(`${path}.1`, record(0, 'late'));
          return performance.now() > enough;
        }, 60);
        assert.equal(listen(), turn);
        await writeFile(path, records(turn * 100, 100));
      }
      await until(async () => listen() === 6 && readdirSync(directory).join().includes('removed'), 60);
    } finally {
      await rotation.close();
      closeSync(end);
      await rm(join(fifo, '..'), { recursive: true });
    }
    assert.deepEqual(errors, []);
    assert.deepEqual(
      (await listSegments(path)).map((segment) => segment.path),
      [`${path}.2`, `${path}.1`],
    );
  }));

test('between two runs a full file is left for a new one, and one that was cut off is told', () =>
  withLog(async (path) => {
    const size = { maxBytes: 1000, maxFiles: 2 };
    await beginLog(path, size);
    await closeLog(path, size);
    await writeFile(path, records(0, 10));
    await beginLog(path, size);
    assert.equal(existsSync(path), true, 'it is not full');
    // The last record is cut.
    const long = Buffer.from(record(0, 'x'.repeat(MEBIBYTE / 4)));
    await writeFile(path, Buffer.concat(Array.from({ length: 256 }, () => long)));
    await truncate(path, mostFileBytes(size));
    await closeLog(path, size);
    await beginLog(path, size);
    assert.equal(existsSync(path), false);
    await writeFile(path, record(Date.now() - BEGIN, 'again'));
    const { lines, gaps } = await readWhole(path);
    assert.deepEqual([lines.length, lines.at(-1), shapes(gaps)], [256, 'again', [['overrun', 0]]]);
  }));

test('who reads a log that is written faster than it is read comes to an end, and to what is said from now on', () =>
  withLog(async (path) => {
    for (const file of [0, 1, 2]) {
      await writeFile(path, records(file * 500, 500));
      if (file < 2) turnOver(path);
    }
    const source = { path, isEnded: false, ended: new Promise(() => {}) };
    /** Each line that is read makes ten new ones; now and then a new file. */
    let next = 1500;
    const write = (): void => {
      appendFileSync(path, records(next, 10));
      next += 10;
      if (next % 5000 === 0) turnOver(path);
    };
    let lines = 0;
    for await (const _ of readLog(source, {})) {
      lines += 1;
      write();
    }
    assert.equal(lines, 1500);
    for (const tail of [0, 3]) {
      const gone = new AbortController();
      const from = next - tail;
      const numbers: number[] = [];
      const options = { follow: true, tail, signal: gone.signal, onCaughtUp: write };
      await assert.rejects(
        async () => {
          for await (const { line } of readLog(source, options)) {
            numbers.push(Number(line.subarray(5)));
            if (numbers.length === tail + 10) gone.abort();
          }
        },
        { name: 'AbortError' },
      );
      assert.deepEqual(
        numbers,
        numbers.map((_, index) => from + index),
      );
    }
  }));
