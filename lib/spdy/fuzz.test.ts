/** Whatever bytes a client sends, the connection ends, and nothing else does. */
import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { fuzz } from '#testing/fuzz.ts';
import { serveSpdy } from './connection.ts';
import { controlFrame, dataFrame, finFlag, frameType, numbers } from './frames.ts';
import { HeaderCodec } from './headers.ts';

async function conversation(): Promise<Buffer> {
  const codec = new HeaderCodec();
  const frames: Buffer[] = [];
  for (const id of [1, 3]) {
    const block = await codec.write(
      new Map([
        ['streamtype', 'data'],
        ['port', '80'],
        ['requestid', String(id)],
      ]),
    );
    frames.push(controlFrame(frameType.synStream, Buffer.concat([numbers(id, 0), Buffer.alloc(2), block])));
  }
  codec.close();
  frames.push(dataFrame(1, Buffer.from('one')), controlFrame(frameType.ping, numbers(1)));
  frames.push(dataFrame(3, Buffer.from('three'), finFlag), controlFrame(frameType.rst, numbers(1, 5)));
  return Buffer.concat(frames);
}

test('no bytes break the server', { timeout: 60_000 }, async () => {
  const { outcomes } = await fuzz({
    name: 'spdy',
    corpus: [await conversation()],
    inputs: 2000,
    run: async (input) => {
      let [streams, echoed] = [0, 0];
      const socket = new Duplex({
        read: () => undefined,
        write: (chunk: Buffer, _encoding, done) => {
          echoed += chunk.length;
          done();
        },
      });
      const over = serveSpdy(socket, (stream) => {
        streams += 1;
        stream.pipe(stream);
      });
      socket.push(input);
      socket.push(null);
      await over;
      assert.equal(socket.destroyed, true);
      return `${streams} ${echoed > 0}`;
    },
  });
  assert.ok(outcomes > 1, 'all inputs came to the same');
});
