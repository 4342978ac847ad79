import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Readable } from 'node:stream';
import { readBounded } from './read-bounded.ts';

const tooLong = () => new RangeError('too long');

test('whatever pieces it comes in, it is whole', async () => {
  const whole = Buffer.from(Array.from({ length: 10_000 }, (_, index) => index & 255));
  for (const size of [1, 7, 4096, 9999, 10_000]) {
    const pieces: Buffer[] = [];
    for (let at = 0; at < whole.length; at += size) pieces.push(whole.subarray(at, at + size));
    const before = pieces.map((piece) => Buffer.from(piece));
    assert.deepEqual(await readBounded(Readable.from(pieces), whole.length, tooLong), whole, `pieces of ${size}`);
    assert.deepEqual(pieces, before, 'they are not written to');
  }
  assert.equal((await readBounded(Readable.from([]), 0, tooLong)).length, 0);
  assert.equal((await readBounded(Readable.from([Buffer.alloc(0), new Uint8Array([1])]), 1, tooLong)).length, 1);
});

test('one byte above the bound is an error of the caller’s, and the rest is not read', async () => {
  let read = 0;
  let closed = false;
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        read += 10;
        yield new Uint8Array(10);
      }
    } finally {
      closed = true;
    }
  }
  await assert.rejects(readBounded(endless(), 99, tooLong), { name: 'RangeError', message: 'too long' });
  assert.deepEqual([read, closed], [100, true]);
  assert.equal((await readBounded(Readable.from([new Uint8Array(99)]), 99, tooLong)).length, 99);
  await assert.rejects(readBounded(Readable.from([new Uint8Array(100)]), 99, tooLong), RangeError);
});

test('what the source fails with is what comes', async () => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(1);
    throw new Error('broken off');
  }
  await assert.rejects(readBounded(broken(), 10, tooLong), { message: 'broken off' });
});
