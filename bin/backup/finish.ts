/** The end of a restore that may have been killed: see `staging.ts`. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  closeSync,
  fsyncSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

/** It is there when the restore has happened, and until everything in it is in its place. */
export const restoreDirectory = (dataDirectory: string): string => join(dataDirectory, '.restore');
export const PLAN_FILE = 'plan.json';

export interface RestorePlan {
  /** From the directory into the data directory. */
  move: string[];
  /** From the data directory. */
  remove: string[];
}

/** Idempotent. Whoever is to use the data directory calls it first. */
export function finishRestore(dataDirectory: string): void {
  const directory = restoreDirectory(dataDirectory);
  if (!existsSync(directory)) return;
  const { move, remove } = JSON.parse(readFileSync(join(directory, PLAN_FILE), 'utf8')) as RestorePlan;
  for (const item of remove) rmSync(join(dataDirectory, item), { recursive: true, force: true });
  for (const item of move) {
    // Not there: it was moved before this was killed.
    if (!existsSync(join(directory, item))) continue;
    rmSync(join(dataDirectory, item), { recursive: true, force: true });
    mkdirSync(dirname(join(dataDirectory, item)), { recursive: true, mode: 0o700 });
    moveInto(join(directory, item), join(dataDirectory, item));
  }
  rmSync(directory, { recursive: true });
}

/** The state may be on a disk of its own: then it is copied beside its place first. */
function moveInto(from: string, to: string): void {
  try {
    renameSync(from, to);
    return;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
  }
  const aside = `${to}.restoring`;
  rmSync(aside, { recursive: true, force: true });
  cpSync(from, aside, { recursive: true });
  syncBelow(aside);
  renameSync(aside, to);
  syncBelow(dirname(to), false);
  rmSync(from, { recursive: true });
}

function syncBelow(path: string, deep = true): void {
  if (deep && statSync(path).isDirectory()) for (const name of readdirSync(path)) syncBelow(join(path, name));
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
