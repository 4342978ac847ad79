/** Frames of SPDY/3.1 (the protocol's draft 3.1, section 2.2), read from and written to bytes. */

export const frameType = { synStream: 1, synReply: 2, rst: 3, settings: 4, ping: 6, goAway: 7, headers: 8 } as const;
export const finFlag = 1;

export type Frame =
  | { kind: 'data'; stream: number; flags: number; data: Buffer }
  | { kind: 'control'; type: number; flags: number; payload: Buffer };

const headerBytes = 8;
const version = 3;
/** Data is handed on as it comes, so that only what must be whole is held. */
const longestControl = 64 * 1024;

/** Rejects where the bytes are no SPDY/3. Pieces of a long data frame are frames of their own, the flags with the last. */
export async function* readFrames(source: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let held: Buffer = Buffer.alloc(0);
  let open: { stream: number; flags: number; left: number } | undefined;
  for await (const chunk of source) {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    for (;;) {
      if (open !== undefined) {
        const data = held.subarray(0, open.left);
        held = held.subarray(data.length);
        open.left -= data.length;
        const { stream, left } = open;
        const flags = left === 0 ? open.flags : 0;
        if (left === 0) open = undefined;
        if (data.length > 0 || flags !== 0) yield { kind: 'data', stream, flags, data };
        if (left > 0) break;
        continue;
      }
      if (held.length < headerBytes) break;
      const first = held.readUInt32BE(0);
      const flags = held.readUInt8(4);
      const length = held.readUIntBE(5, 3);
      if (first < 0x8000_0000) {
        open = { stream: first, flags, left: length };
        held = held.subarray(headerBytes);
        continue;
      }
      if (((first >>> 16) & 0x7fff) !== version) throw new Error('a frame of another version than SPDY/3');
      if (length > longestControl) throw new Error(`a control frame of more than ${longestControl} bytes`);
      if (held.length < headerBytes + length) break;
      const payload = held.subarray(headerBytes, headerBytes + length);
      held = held.subarray(headerBytes + length);
      yield { kind: 'control', type: first & 0xffff, flags, payload };
    }
  }
}

export function dataFrame(stream: number, data: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(headerBytes);
  head.writeUInt32BE(stream, 0);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(data.length, 5, 3);
  return Buffer.concat([head, data]);
}

export function controlFrame(type: number, payload: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(headerBytes);
  head.writeUInt16BE(0x8000 | version, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([head, payload]);
}

export function numbers(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index);
  return bytes;
}
