/** SPDY/3.1 with a client made of the same frames; with real ones it is tested in `testing/agent-streams.test.ts`. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Duplex, PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { serveSpdy, type SpdyStream } from './connection.ts';
import { controlFrame, dataFrame, finFlag, type Frame, frameType, numbers, readFrames } from './frames.ts';
import { dictionary, HeaderCodec } from './headers.ts';

test('the dictionary is the one of SPDY/3', () => {
  // zlib names it by its checksum, in the third to sixth byte.
  assert.equal(deflateSync('x', { dictionary }).subarray(2, 6).toString('hex'), 'e3c6a7c2');
});

interface Bench {
  streams: SpdyStream[];
  send(frame: Buffer): void;
  next(): Promise<Frame>;
  over: Promise<void>;
  codec: HeaderCodec;
}

function bench(onStream: (stream: SpdyStream) => void = () => {}): Bench {
  const [toServer, toClient] = [new PassThrough(), new PassThrough()];
  const streams: SpdyStream[] = [];
  const socket = new Duplex({
    read: () => void toServer.resume(),
    write: (chunk: Buffer, _encoding, done) => void toClient.write(chunk, done),
  });
  toServer.on('data', (chunk: Buffer) => void (socket.push(chunk) || toServer.pause()));
  const over = serveSpdy(socket, (stream) => {
    streams.push(stream);
    onStream(stream);
  });
  const frames = readFrames(toClient);
  return {
    streams,
    over,
    codec: new HeaderCodec(),
    send: (frame) => void toServer.write(frame),
    next: async () => (await frames.next()).value as Frame,
  };
}

async function open(bed: Bench, id: number, headers: Record<string, string>): Promise<void> {
  const block = await bed.codec.write(new Map(Object.entries(headers)));
  bed.send(controlFrame(frameType.synStream, Buffer.concat([numbers(id, 0), Buffer.alloc(2), block])));
  const reply = await bed.next();
  assert.deepEqual([reply.kind, reply.kind === 'control' && reply.type], ['control', frameType.synReply]);
}

test('streams carry headers and data in both directions, each to its own end', async () => {
  const bed = bench((stream) => stream.pipe(stream));
  await open(bed, 1, { streamtype: 'data', port: '80' });
  await open(bed, 3, { streamtype: 'data', port: '81' });
  assert.deepEqual(
    bed.streams.map(({ headers }) => headers.get('port')),
    ['80', '81'],
  );
  bed.send(dataFrame(3, Buffer.from('three')));
  bed.send(dataFrame(1, Buffer.from('one'), finFlag));
  const seen = new Map<number, string>();
  for (let ended = false; !ended; ) {
    const frame = await bed.next();
    assert.ok(frame.kind === 'data');
    seen.set(frame.stream, (seen.get(frame.stream) ?? '') + frame.data.toString());
    ended = frame.stream === 1 && frame.flags === finFlag;
  }
  assert.deepEqual(Object.fromEntries(seen), { 1: 'one', 3: 'three' });
});

test('a frame that comes a byte at a time is the same frame', async () => {
  const bed = bench();
  const block = await bed.codec.write(new Map([['streamtype', 'error']]));
  const bytes = Buffer.concat([
    controlFrame(frameType.synStream, Buffer.concat([numbers(1, 0), Buffer.alloc(2), block])),
    dataFrame(1, Buffer.from('slow'), finFlag),
  ]);
  for (const byte of bytes) bed.send(Buffer.from([byte]));
  await bed.next();
  assert.equal(await text(bed.streams[0] ?? assert.fail()), 'slow');
});

test('pings are answered, a reset ends a stream, and the end of the connection all of them', async () => {
  const bed = bench();
  await open(bed, 1, {});
  await open(bed, 3, {});
  bed.send(controlFrame(frameType.ping, numbers(7)));
  const pong = await bed.next();
  assert.deepEqual(pong, { kind: 'control', type: frameType.ping, flags: 0, payload: numbers(7) });
  const [first, second] = bed.streams;
  assert.ok(first && second);
  const reset = once(first, 'close');
  bed.send(controlFrame(frameType.rst, numbers(1, 5)));
  await reset;
  assert.equal(second.destroyed, false);
  const ofSpdy2 = Buffer.from([0x80, 2, 0, 1, 0, 0, 0, 0]);
  bed.send(ofSpdy2);
  await bed.over;
  assert.equal(second.destroyed, true);
});

test('a header block that unpacks to too much ends the connection', async () => {
  const bed = bench();
  const block = await bed.codec.write(new Map([['x', 'y'.repeat(1_000_000)]]));
  bed.send(controlFrame(frameType.synStream, Buffer.concat([numbers(1, 0), Buffer.alloc(2), block])));
  await bed.over;
  assert.deepEqual(bed.streams, []);
});
