/** The end of a restore that may have been killed: see `staging.ts`. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
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
    renameSync(join(directory, item), join(dataDirectory, item));
  }
  rmSync(directory, { recursive: true });
}
