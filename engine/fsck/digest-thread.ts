/** A thread that reads files and tells their digests: one message in, one out. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';

const buffer = Buffer.allocUnsafe(1024 * 1024);

parentPort?.on('message', ({ path, algorithm }: { path: string; algorithm: string }) => {
  try {
    const descriptor = openSync(path, 'r');
    try {
      const hash = createHash(algorithm);
      let sizeBytes = 0;
      for (let read = -1; read !== 0; sizeBytes += read) {
        read = readSync(descriptor, buffer);
        if (read > 0) hash.update(buffer.subarray(0, read));
      }
      parentPort?.postMessage({ hex: hash.digest('hex'), sizeBytes });
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    parentPort?.postMessage({ code: (error as NodeJS.ErrnoException).code ?? 'UNKNOWN', message: String(error) });
  }
});
