import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LogParser, preciseTime } from './log-format.ts';

const time = '2026-01-02T03:04:05.123456789+00:00';

test('lines come whole however they are cut', () => {
  const text = Buffer.from(
    `${time} stdout F one\n${time} stderr P tw\n${time} stdout F \n${time} stderr F o\nrubbish\n`,
  );
  for (let size = 1; size < 40; size += 1) {
    const parser = new LogParser();
    const lines: string[] = [];
    for (let at = 0; at < text.length; at += size) {
      for (const { stream, line } of parser.push(text.subarray(at, at + size))) lines.push(`${stream}:${line}`);
    }
    assert.deepEqual(lines, ['stdout:one', 'stdout:', 'stderr:two'], `pieces of ${size}`);
  }
});

test('a line without end is cut at a mebibyte', () => {
  const parser = new LogParser();
  const piece = Buffer.from(`${time} stdout P ${'x'.repeat(8192)}\n`);
  let total = 0;
  for (let index = 0; index < 300; index += 1) for (const { line } of parser.push(piece)) total += line.length;
  assert.equal(total, 2 * 1024 * 1024);
  assert.equal(parser.flush()[0]?.line.length, 300 * 8192 - total);
});

test('times keep their fraction', () => {
  assert.equal(preciseTime('1970-01-01T00:00:01.500250000Z'), 1500.25);
});

test('what is left out is counted by lines, whatever pieces they were written in', () => {
  const piece = (tag: string, text: string): string => `${time} stdout ${tag} ${text}\n`;
  const text = Buffer.from(
    piece('F', 'one') + piece('P', 'tw') + piece('P', 'o') + piece('F', '') + piece('F', 'three') + piece('P', 'fo'),
  );
  const rest = Buffer.from(piece('P', 'u') + piece('F', 'r') + piece('F', 'five'));
  for (let size = 1; size <= text.length; size += 7) {
    const parser = new LogParser();
    let lines = 0;
    for (let at = 0; at < text.length; at += size) lines += parser.skip(text.subarray(at, at + size));
    assert.equal(lines, 4, `pieces of ${size}`);
    assert.deepEqual(
      parser.push(rest).map(({ line }) => String(line)),
      ['five'],
    );
  }
});

test('a hole without an end of a record is passed over', () => {
  const parser = new LogParser();
  const hole = Buffer.alloc(64 * 1024);
  for (let index = 0; index < 200; index += 1) assert.deepEqual(parser.push(hole), []);
  parser.push(Buffer.from('\n'));
  assert.deepEqual(
    parser.push(Buffer.from(`${time} stdout F after\n`)).map(({ line }) => String(line)),
    ['after'],
  );
});
