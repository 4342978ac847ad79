import { StoreError } from '../store.ts';

/** SQLite's primary result codes that we tell apart (https://sqlite.org/rescode.html). */
const resultCodes = {
  corrupt: 11,
  notDatabase: 26,
  full: 13,
  readOnly: 8,
  cannotOpen: 14,
  ioError: 10,
  busy: 5,
  constraint: 19,
};

const remedies = new Map<number, string>([
  [resultCodes.full, 'the disk is full: free some space'],
  [resultCodes.readOnly, 'the file or its file system is read-only: make it writable'],
  [resultCodes.cannotOpen, 'the file cannot be opened: check that its directory is there and writable'],
  [resultCodes.ioError, 'the disk reported an error, or became read-only: see the kernel log'],
  // Two writers give out the same revision, and the tables refuse the second.
  [resultCodes.constraint, 'another process writes to the database: stop it'],
  [resultCodes.busy, 'another process holds the database: stop it'],
]);

/** Translates what `node:sqlite` threw; `action` begins the message, as "writing to /var/lib/x". */
export function toStoreError(error: unknown, action: string, sqliteCode?: number): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const thrown = (error as { errcode?: unknown }).errcode;
  const code = (sqliteCode ?? (typeof thrown === 'number' ? thrown : 0)) & 0xff;
  if (code === resultCodes.corrupt || code === resultCodes.notDatabase) {
    return new StoreError('corrupt', `${action}: the database is damaged (${message}): restore a backup`, {
      cause: error,
    });
  }
  const remedy = remedies.get(code);
  return new StoreError('unavailable', `${action}: ${remedy ? `${remedy} (${message})` : message}`, { cause: error });
}
