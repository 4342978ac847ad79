/** A mark beside the database that it was made: one that is not there any more is lost, and no empty one takes its place. */
import { existsSync, writeFileSync } from 'node:fs';
import { StoreError } from '../store.ts';

const markOf = (path: string): string => `${path}.made`;

export function isMarked(path: string): boolean {
  return existsSync(markOf(path));
}

/** The files of a database, for who takes it away on purpose. */
export function databaseFiles(path: string): string[] {
  return [`${path}-wal`, `${path}-shm`, path, markOf(path)];
}

/** @throws StoreError `corrupt` where the database was there once, and is not */
export function requireNotLost(path: string): void {
  if (existsSync(path) || !isMarked(path)) return;
  throw new StoreError(
    'corrupt',
    `opening ${path}: the database is lost: restore a backup, or remove ${markOf(path)} to begin with an empty one`,
  );
}

/** Idempotent. */
export function markAsMade(path: string): void {
  if (!isMarked(path)) writeFileSync(markOf(path), '', { mode: 0o600, flush: true });
}
