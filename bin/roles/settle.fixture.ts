/** Run by `settle.test.ts`: says what it holds before and after, in bytes, and how much is in its cache of compiled code. */
import { readdirSync } from 'node:fs';
import { settle } from './settle.ts';

/** Big enough to be seen, small enough to be left in the heap and in the C library's: text that nobody has any more, and bytes. */
let garbage: unknown[] | undefined = Array.from({ length: 50_000 }, (_, at) => [
  `${at} `.repeat(100),
  Buffer.alloc(900),
]);
await new Promise((done) => setImmediate(done));
const before = process.memoryUsage();
garbage = undefined;
// A timer that nothing waits for keeps no process.
const stay = setInterval(() => undefined, 1_000);
await settle(new AbortController().signal, 1);
clearInterval(stay);
const after = process.memoryUsage();
const written = readdirSync(process.env['NODE_COMPILE_CACHE'] ?? '', { recursive: true }).length;
console.log(JSON.stringify({ before, after, written, garbage: typeof garbage }));
