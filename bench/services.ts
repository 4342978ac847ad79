/** Rules of Services at scale, in a network namespace of their own: see `services-bed.ts`. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Row } from './row.ts';

export async function run(): Promise<Row[]> {
  const bed = join(import.meta.dirname, 'services-bed.ts');
  const words = ['--net', '--', process.execPath, ...process.execArgv, bed];
  return JSON.parse(
    execFileSync('unshare', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }),
  ) as Row[];
}
