import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { linesOf } from './lines.ts';

const all = (pieces: (string | Uint8Array)[], longest?: number): Promise<string[]> =>
  Array.fromAsync(linesOf(Readable.from(pieces), longest));

test('lines are the same wherever they are cut, and the last needs no end', async () => {
  const text = 'one\n\ntwo ⛵\r\nthree';
  const lines = ['one', '', 'two ⛵\r', 'three'];
  const bytes = Buffer.from(text);
  for (let at = 0; at <= bytes.length; at += 1) {
    assert.deepEqual(await all([bytes.subarray(0, at), bytes.subarray(at)]), lines, `cut at ${at}`);
    assert.deepEqual(await all([text.slice(0, at), text.slice(at)]), lines);
  }
  assert.deepEqual(await all([`${text}\n`]), lines);
  assert.deepEqual(await all([]), []);
  assert.deepEqual(await all([bytes.subarray(0, 11)]), ['one', '', 'two \u{fffd}'], 'a character that is cut short');
});

test('a line that is too long comes in parts, whether it ends or not', async () => {
  assert.deepEqual(await all(['abcdefgh\nij'], 3), ['abc', 'def', 'gh', 'ij']);
  assert.deepEqual(await all(['ab', 'cd', 'ef', '\n', 'g'], 3), ['abc', 'def', 'g']);
  assert.deepEqual(await all(['abcdef'], 3), ['abc', 'def']);
});
