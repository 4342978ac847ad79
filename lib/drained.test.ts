import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { drained } from './drained.ts';

const full = (): PassThrough => {
  const stream = new PassThrough({ highWaterMark: 1 });
  assert.equal(stream.write('more than it takes'), false);
  return stream;
};
const listeners = (stream: PassThrough): number => stream.listenerCount('drain') + stream.listenerCount('close');

test('waits for room, for the end, or for nobody, and leaves no listener', async () => {
  const ends: ((stream: PassThrough, stop: AbortController) => unknown)[] = [
    (stream) => stream.resume(),
    (stream) => stream.destroy(),
    (_stream, stop) => stop.abort(),
  ];
  for (const end of ends) {
    const [stream, stop] = [full(), new AbortController()];
    const before = listeners(stream);
    let isOver = false;
    const waiting = drained(stream, stop.signal).then(() => (isOver = true));
    await new Promise(setImmediate);
    assert.equal(isOver, false);
    end(stream, stop);
    await waiting;
    assert.equal(listeners(stream), before);
    stream.destroy();
  }
});

test('does not wait where there is room, nor where there never will be', async () => {
  await drained(new PassThrough());
  const gone = full();
  gone.destroy();
  await drained(gone);
  await drained(full(), AbortSignal.abort());
});
