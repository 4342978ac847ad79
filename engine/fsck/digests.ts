/** Reads blobs with several threads, and remembers which were good, so that an interrupted check goes on where it was. */
import { once } from 'node:events';
import { appendFileSync, readFileSync, rmSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { hasCode } from '../sys/libc.ts';

export interface BlobFile {
  digest: string;
  path: string;
  algorithm: string;
  hex: string;
}

interface Answer {
  hex?: string;
  sizeBytes?: number;
  code?: string;
  message?: string;
}

const dayMilliseconds = 24 * 60 * 60 * 1000;

/** Lines of `digest size changed`, in a file that goes when a check has ended. */
class Progress {
  readonly #file: string;
  readonly #good = new Set<string>();

  constructor(file: string) {
    this.#file = file;
    const info = statSync(file, { throwIfNoEntry: false });
    if (info === undefined) return;
    if (Date.now() - info.mtimeMs > dayMilliseconds) rmSync(file);
    else for (const line of readFileSync(file, 'utf8').split('\n')) this.#good.add(line);
  }

  has(key: string): boolean {
    return this.#good.has(key);
  }

  add(key: string): void {
    appendFileSync(this.#file, `${key}\n`, { mode: 0o600 });
  }

  end(): void {
    rmSync(this.#file, { force: true });
  }
}

export interface DigestResult {
  /** Digests whose bytes are others, with what is there. */
  bad: Map<string, string>;
  bytes: number;
  resumed: number;
}

export async function checkDigests(
  blobs: readonly BlobFile[],
  progressFile: string,
  options: { signal?: AbortSignal; onProgress?: (progress: { bytes: number; totalBytes: number }) => void } = {},
): Promise<DigestResult> {
  const progress = new Progress(progressFile);
  const result: DigestResult = { bad: new Map(), bytes: 0, resumed: 0 };
  const sized = blobs.flatMap((blob) => {
    const info = statSync(blob.path, { bigint: true, throwIfNoEntry: false });
    return info === undefined
      ? []
      : [{ blob, size: Number(info.size), key: `${blob.digest} ${info.size} ${info.ctimeNs}` }];
  });
  const totalBytes = sized.reduce((sum, { size }) => sum + size, 0);
  const queue = sized.values();
  const worker = async (): Promise<void> => {
    const thread = new Worker(new URL('digest-thread.ts', import.meta.url));
    try {
      for (const { blob, size, key } of queue) {
        options.signal?.throwIfAborted();
        if (progress.has(key)) result.resumed += 1;
        else {
          const found = await digestOf(thread, blob, options.signal);
          if (found === undefined) continue;
          if (found === blob.hex) progress.add(key);
          else result.bad.set(blob.digest, `it has ${size} bytes of ${blob.algorithm}:${found}`);
        }
        result.bytes += size;
        options.onProgress?.({ bytes: result.bytes, totalBytes });
      }
    } finally {
      await thread.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), sized.length) }, worker));
  progress.end();
  return result;
}

/** Undefined where it was removed meanwhile; what cannot be read is as bad as what is wrong. */
async function digestOf(thread: Worker, blob: BlobFile, signal: AbortSignal | undefined): Promise<string | undefined> {
  thread.postMessage({ path: blob.path, algorithm: blob.algorithm });
  const [answer] = (await once(thread, 'message', signal === undefined ? {} : { signal }).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw error;
  })) as [Answer];
  if (answer.code === 'ENOENT') return undefined;
  return answer.hex ?? `nothing readable (${answer.code})`;
}

/** The size of a file; undefined where it is not there. */
export function sizeOf(path: string): number | undefined {
  try {
    return statSync(path).size;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
