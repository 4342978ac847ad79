import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { readWhole, withLog } from '#testing/log-files.ts';
import type { LogGap } from '../engine.ts';
import { LogLimiter } from './log-limit.ts';
import { readLog } from './log-reader.ts';
import { surplus } from './log-bound.ts';
import { countLines } from './log-count.ts';
import { noteRemoved } from './log-losses.ts';
import { listSegments, removeSegments, turnOver } from './log-segments.ts';

const BEGIN = Date.parse('2026-01-02T03:04:05Z');
const at = (milliseconds: number): string => new Date(BEGIN + milliseconds).toISOString().replace('Z', '000000+00:00');
const record = (milliseconds: number, text: string, stream = 'stdout'): string =>
  `${at(milliseconds)} ${stream} F ${text}\n`;

/** One closed file is kept. */
async function rotate(path: string): Promise<void> {
  turnOver(path);
  const closed = (await listSegments(path)).filter((segment) => segment.path !== path);
  for (const going of surplus(closed, { maxBytes: 1, maxFiles: 2 })) {
    await noteRemoved(path, going.identity, await countLines(going.path, new AbortController().signal));
    await rm(going.path);
  }
}

const missing = (gaps: LogGap[]): number => gaps.reduce((sum, { lines }) => sum + lines, 0);

test('a limit of bytes: a second at once, then as much in a second', () => {
  const limiter = new LogLimiter({ bytesPerSecond: 100 });
  assert.equal(limiter.takes(0, 60), true);
  assert.equal(limiter.takes(0, 60), 'bytes');
  assert.equal(limiter.takes(0, 40), true);
  assert.equal(limiter.takes(499, 50), 'bytes');
  assert.equal(limiter.takes(500, 50), true);
  assert.equal(limiter.takes(100_000, 101), 'bytes', 'a line that is longer than the limit never passes');
  assert.equal(limiter.takes(100_000, 100), true);
  assert.equal(limiter.takes(99_000, 1), 'bytes', 'a clock that goes back gives nothing');
});

test('a limit of nothing, and none', () => {
  const nothing = new LogLimiter({ bytesPerSecond: 0 });
  assert.equal(nothing.takes(0, 0), 'bytes');
  assert.equal(nothing.takes(5000, 1), 'bytes');
  const none = new LogLimiter({});
  for (let index = 0; index < 10_000; index++) assert.equal(none.takes(0, 1 << 20), true);
});

test('lines above the limit are left out, of both streams together, and counted', () =>
  withLog(async (path) => {
    const texts = ['aaaa', 'bbbb', 'cccc', 'dddd', 'eeee'];
    const all = texts.map((text, index) => record(index * 100, text, index % 2 ? 'stderr' : 'stdout')).join('');
    await writeFile(path, all + record(60_000, 'late'));
    const { lines, gaps } = await readWhole(path, { limit: { bytesPerSecond: 8 } });
    // At 200 ms there are 1.6 bytes, at 400 ms 3.2.
    assert.deepEqual(lines, ['aaaa', 'bbbb', 'late']);
    assert.equal(missing(gaps), 3);
    assert.deepEqual(gaps[0], { reason: 'bytes', lines: 1, time: at(200) });
  }));

test('a flood is left out by the piece, and every line of it is counted', () =>
  withLog(async (path) => {
    const count = 30_000;
    const parts: string[] = [];
    // 100,000 lines a second, and a quiet end.
    for (let index = 0; index < count; index++) parts.push(record(Math.floor(index / 100), `line ${index}`));
    await writeFile(path, parts.join('') + record(60_000, 'the end'));
    const { lines, gaps } = await readWhole(path, { limit: { linesPerSecond: 1000 } });
    assert.equal(lines.length + missing(gaps), count + 1);
    assert.equal(lines.at(-1), 'the end');
    // What a second allows at once, and three tenths of it, less what was not used in between.
    assert.ok(lines.length >= 1100 && lines.length <= 1301, String(lines.length));
    assert.ok(gaps.every(({ reason }) => reason === 'lines'));
    assert.equal((await readWhole(path, {})).lines.length, count + 1, 'it is all there without a limit');
  }));

test('a look from a time on leaves out what was before, and does not count it', () =>
  withLog(async (path) => {
    const parts: string[] = [];
    for (let index = 0; index < 20_000; index++) parts.push(record(index, `line ${index}`));
    await writeFile(path, parts.join(''));
    const { lines, gaps } = await readWhole(path, { since: BEGIN + 19_000, limit: { linesPerSecond: 5000 } });
    assert.deepEqual([lines.length, lines[0], gaps], [1000, 'line 19000', []]);
  }));

test('files that rotation took are known to who comes too late', () =>
  withLog(async (path) => {
    for (let file = 0; file < 4; file++) {
      const from = file * 1000;
      await writeFile(path, Array.from({ length: 10 }, (_, line) => record(from + line, `${file}/${line}`)).join(''));
      if (file < 3) await rotate(path);
    }
    // Of four files two are left: 20 lines are gone.
    assert.equal((await listSegments(path)).length, 2);
    const since = async (time: number) => readWhole(path, { since: BEGIN + time });
    assert.deepEqual((await since(0)).gaps, [{ reason: 'rotation', lines: 20, time: at(1009) }]);
    assert.deepEqual((await since(1005)).gaps, [{ reason: 'rotation', lines: 10, time: at(1009) }]);
    assert.deepEqual((await since(1009)).gaps, [], 'it had them all');
    assert.deepEqual((await readWhole(path, {})).gaps, [], 'who never read misses nothing');
    assert.equal((await since(0)).lines.length, 20);
    await removeSegments(path);
    assert.deepEqual((await since(0)).gaps, []);
  }));

test('a reader that is held up learns what went meanwhile', () =>
  withLog(async (path) => {
    const write = (file: number): Promise<void> =>
      writeFile(path, Array.from({ length: 10 }, (_, line) => record(file * 1000 + line, `${file}/${line}`)).join(''));
    await write(0);
    const gaps: LogGap[] = [];
    const lines: string[] = [];
    const source = { path, isEnded: true, ended: Promise.resolve() };
    for await (const { line } of readLog(source, { follow: true, onGap: (gap) => gaps.push(gap) })) {
      lines.push(String(line));
      if (lines.length !== 5) continue;
      for (const file of [1, 2, 3]) {
        await rotate(path);
        await write(file);
      }
    }
    // The first was open, the second went.
    assert.deepEqual(
      lines,
      [0, 2, 3].flatMap((file) => Array.from({ length: 10 }, (_, line) => `${file}/${line}`)),
    );
    assert.deepEqual(gaps, [{ reason: 'rotation', lines: 10, time: at(1009) }]);
  }));
