/** Programs at the root of the source. */
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';

/** ELF files that may be executed; directories and scripts are none. */
export function executables(directory: string): string[] {
  const found: string[] = [];
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = `${directory}/${entry.name}`;
    if ((statSync(path).mode & 0o111) !== 0 && startsWith(path, [0x7f, 0x45, 0x4c, 0x46])) found.push(entry.name);
  }
  return found.sort();
}

function startsWith(path: string, bytes: number[]): boolean {
  const file = openSync(path, 'r');
  try {
    const head = Buffer.alloc(bytes.length);
    return readSync(file, head, 0, bytes.length, 0) === bytes.length && head.equals(Buffer.from(bytes));
  } finally {
    closeSync(file);
  }
}
