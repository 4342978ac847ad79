/**
 * The wire format of Protocol Buffers (https://protobuf.dev/programming-guides/encoding/), without schemas: whoever reads or
 * writes a message knows its field numbers. Integers are JavaScript numbers: of 64 bits, those beyond 2^53 lose their last digits.
 */
export class ProtobufError extends Error {
  readonly code = 'protobuf-malformed';
  constructor(message: string) {
    super(message);
    this.name = 'ProtobufError';
  }
}

const VARINT = 0;
const FIXED_64 = 1;
const BYTES = 2;
const FIXED_32 = 5;
const SEVEN_BYTES = 2 ** 49;

/** Collects a message's parts; they are copied once, by `finish`. Empty fields are the caller's to leave out. */
export class ProtobufWriter {
  private readonly parts: Uint8Array[] = [];
  private length = 0;

  /** Of int32, int64, bool and enums; a negative number takes ten bytes. */
  int(field: number, value: number): this {
    return this.push(varints(field * 8 + VARINT, value));
  }

  bytes(field: number, value: Uint8Array | ProtobufWriter): this {
    const length = value instanceof ProtobufWriter ? value.length : value.byteLength;
    this.push(varints(field * 8 + BYTES, length));
    if (!(value instanceof ProtobufWriter)) return this.push(value);
    for (const part of value.parts) this.parts.push(part);
    this.length += value.length;
    return this;
  }

  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value));
  }

  get size(): number {
    return this.length;
  }

  /** @param head  so many bytes are left free before the message */
  finish(head = 0): Buffer {
    const out = Buffer.allocUnsafe(head + this.length);
    let at = head;
    for (const part of this.parts) {
      out.set(part, at);
      at += part.byteLength;
    }
    return out;
  }

  private push(part: Uint8Array): this {
    this.parts.push(part);
    this.length += part.byteLength;
    return this;
  }
}

function varints(...values: number[]): Uint8Array {
  const out: number[] = [];
  for (const value of values) {
    if (value < 0) {
      let left = BigInt.asUintN(64, BigInt(value));
      for (; left > 0x7fn; left >>= 7n) out.push(Number(left & 0x7fn) | 0x80);
      out.push(Number(left));
      continue;
    }
    let left = value;
    for (; left > 0x7f; left = Math.floor(left / 128)) out.push((left % 128) | 0x80);
    out.push(left);
  }
  return Uint8Array.from(out);
}

/** A number for a varint, the bytes for what has a length. Fields of a fixed width are passed over. */
export interface ProtobufField {
  number: number;
  value: number | Buffer;
}

/** The fields of a message in their order; values are views of it. @throws ProtobufError */
export function* protobufFields(message: Uint8Array): Generator<ProtobufField> {
  const bytes = Buffer.isBuffer(message)
    ? message
    : Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  let at = 0;
  const varint = (): number => {
    let result = 0;
    let factor = 1;
    for (;;) {
      const byte = bytes[at++];
      if (byte === undefined) throw new ProtobufError('it ends within a number');
      result += (byte & 0x7f) * factor;
      if (byte < 0x80) return result;
      factor *= 128;
      if (factor === SEVEN_BYTES) return longVarint(BigInt(result));
    }
  };
  const longVarint = (low: bigint): number => {
    let result = low;
    for (let shift = 49n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 63n) throw new ProtobufError('it ends within a number');
      result |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return Number(BigInt.asIntN(64, result));
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    const wire = tag % 8;
    if (wire === VARINT) {
      yield { number, value: varint() };
      continue;
    }
    const length = wire === BYTES ? varint() : wire === FIXED_64 ? 8 : wire === FIXED_32 ? 4 : -1;
    if (length < 0 || at + length > bytes.length) throw new ProtobufError('it ends within a field');
    const start = at;
    at += length;
    if (wire === BYTES) yield { number, value: bytes.subarray(start, at) };
  }
}

/** Of a field that holds bytes, text or a message. @throws ProtobufError for a number */
export function protobufBytes(value: number | Buffer | undefined): Buffer {
  if (typeof value === 'number') throw new ProtobufError('a number where a message was expected');
  return value ?? Buffer.alloc(0);
}
