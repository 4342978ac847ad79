/**
 * Run by `lock-file.test.ts` as `node lock-file.fixture.ts LOCK`: one that wants the lock, and is held up between reading who holds it and
 * acting on it, until `LOCK.go` is there.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const path = process.argv[2] ?? '';
const { readFileSync } = fs;
const clock = new Int32Array(new SharedArrayBuffer(4));

fs.readFileSync = ((file: string, options: BufferEncoding) => {
  const found = readFileSync(file, options);
  if (file === path) {
    fs.readFileSync = readFileSync;
    syncBuiltinESMExports();
    fs.writeSync(1, 'has read who holds it\n');
    while (!fs.existsSync(`${path}.go`)) Atomics.wait(clock, 0, 0, 10);
  }
  return found;
}) as typeof fs.readFileSync;
syncBuiltinESMExports();

const { LockTimeout, lockFile } = await import('./lock-file.ts');
try {
  await lockFile(path, 0);
  console.log('has it');
} catch (error) {
  if (!(error instanceof LockTimeout)) throw error;
  console.log(`held by ${error.holder}`);
}
