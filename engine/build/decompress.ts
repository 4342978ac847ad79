/** Archives by their first bytes: gzip, zstd, bzip2, xz, or as they are. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { EngineError } from '../engine.ts';

type Compression = 'gzip' | 'zstd' | 'bzip2' | 'xz';

const MAGIC: readonly [Compression, readonly number[]][] = [
  ['gzip', [0x1f, 0x8b, 0x08]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

export function compressionOf(head: Uint8Array): Compression | undefined {
  return MAGIC.find(([, bytes]) => bytes.every((byte, index) => head[index] === byte))?.[0];
}

/** Whether the block is a tar header: its checksum is right (IEEE 1003.1, ustar). */
export function isTarHeader(block: Uint8Array): boolean {
  if (block.length < 512) return false;
  const text = Buffer.from(block.subarray(148, 156)).toString('latin1').replaceAll('\0', ' ').trim();
  if (!/^[0-7]{1,7}$/.test(text)) return false;
  let sum = 8 * 0x20;
  for (let index = 0; index < 512; index += 1) if (index < 148 || index >= 156) sum += block[index] ?? 0;
  return sum === Number.parseInt(text, 8);
}

/** The first bytes of a stream, at least `length` where it is that long, and the whole stream again. */
export async function peek(
  source: AsyncIterable<Uint8Array>,
  length: number,
): Promise<{ head: Buffer; whole: AsyncIterable<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  while (bytes < length) {
    const next = await iterator.next();
    if (next.done === true) break;
    chunks.push(next.value);
    bytes += next.value.byteLength;
  }
  const head = Buffer.concat(chunks);
  return {
    head,
    whole: (async function* () {
      try {
        if (head.length > 0) yield head;
        for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
      } finally {
        await iterator.return?.();
      }
    })(),
  };
}

/** @throws EngineError `invalid` where the bytes are damaged, `unavailable` where the program for them is not installed */
export async function decompressed(source: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>> {
  const { head, whole } = await peek(source, 8);
  const compression = compressionOf(head);
  if (compression === undefined) return whole;
  return compression === 'gzip' || compression === 'zstd' ? inflate(whole, compression) : filter(whole, compression);
}

async function* inflate(source: AsyncIterable<Uint8Array>, compression: 'gzip' | 'zstd'): AsyncGenerator<Uint8Array> {
  const decoder = compression === 'gzip' ? createGunzip() : createZstdDecompress();
  const feeding = pipeline(source, decoder).catch((error: Error) => void decoder.destroy(error));
  try {
    yield* decoder as AsyncIterable<Buffer>;
  } catch (error) {
    throw damaged(error, compression);
  } finally {
    decoder.destroy();
    await feeding;
  }
}

/** Decoders that Node does not have, as filters. */
async function* filter(source: AsyncIterable<Uint8Array>, compression: 'bzip2' | 'xz'): AsyncGenerator<Uint8Array> {
  const child = spawn(compression, ['--decompress', '--stdout'], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' },
  });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint = `${complaint}${text}`.slice(-2000)));
  const ended = once(child, 'close') as Promise<[number | null]>;
  ended.catch(() => undefined);
  // Where it ends early its exit status says why.
  const feeding = pipeline(Readable.from(source), child.stdin).catch((error: unknown) => error);
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    const [code] = await ended;
    const failure = await feeding;
    if (code !== 0) throw damaged(complaint.trim() || failure, compression);
    if (failure !== undefined) throw failure;
  } catch (error) {
    if ((error as NodeJS.ErrnoException | undefined)?.code !== 'ENOENT') throw error;
    const name = compression === 'xz' ? 'xz-utils' : 'bzip2';
    throw new EngineError(
      'unavailable',
      `${compression} is not installed, which the archive needs: apt-get install ${name}`,
      {
        cause: error,
      },
    );
  } finally {
    child.kill('SIGKILL');
    child.stdin.destroy();
    await feeding;
  }
}

function damaged(cause: unknown, compression: string): unknown {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? '';
  if (cause instanceof Error && !/^Z_|ZSTD|ZLIB/.test(code)) return cause;
  const detail = cause instanceof Error ? cause.message : String(cause ?? '');
  return new EngineError('invalid', `the archive's ${compression} data are damaged: ${detail}`, {
    ...(cause instanceof Error ? { cause } : {}),
  });
}
