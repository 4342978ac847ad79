/**
 * Reads, on the calling thread. A read of one key takes microseconds there, less than a message to another thread, and
 * never waits for a writer's fsync. In WAL mode a read sees what was committed when it began; a write is acknowledged
 * after its commit, so every later read sees it.
 */
import type { DatabaseSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { type Entry, type ListResult, type StoreEvent, StoreError } from '../store.ts';
import { NEWEST_REVISION, openForReading } from './schema.ts';

export interface Row {
  revision: number;
  previous: number;
  created: number;
  deleted: number;
  key: string;
  checksum: number;
  value: Uint8Array;
}

export interface PageQuery {
  prefix: string;
  startAfter: string;
  limit: number;
  /** Undefined: now. */
  revision: number | undefined;
  /** Older revisions are gone. */
  compacted: number;
}

/** The first string after all that start with `prefix`. Keys are ASCII, so the last character can always be raised. */
function endOf(prefix: string): string {
  if (prefix === '') return '\x7f';
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

export function toEntry(row: Row): Entry {
  if (crc32(row.value) !== row.checksum) {
    throw new StoreError(
      'corrupt',
      `read of ${JSON.stringify(row.key)}: revision ${row.revision} does not match its checksum: restore a backup`,
    );
  }
  return { key: row.key, value: row.value, revision: row.revision, createRevision: row.created };
}

export function openReader(path: string) {
  const database: DatabaseSync = openForReading(path);
  const columns = 'h.revision, h.previous, h.created, h.deleted, h.key, h.checksum, h.value';
  const byKey = database.prepare(
    `SELECT ${columns} FROM current c JOIN history h ON h.revision = c.revision WHERE c.key = ?`,
  );
  const byRevision = database.prepare(`SELECT ${columns} FROM history h WHERE h.revision = ?`);
  const page = database.prepare(
    `SELECT ${columns} FROM current c CROSS JOIN history h ON h.revision = c.revision
     WHERE c.key >= ? AND c.key > ? AND c.key < ? ORDER BY c.key LIMIT ?`,
  );
  const keys = database.prepare(
    'SELECT key, revision FROM current WHERE key >= ? AND key > ? AND key < ? ORDER BY key LIMIT ?',
  );
  const count = database.prepare('SELECT count(*) AS count FROM current WHERE key >= ? AND key > ? AND key < ?');
  const since = database.prepare(
    'SELECT key, previous FROM history WHERE revision > ? AND key >= ? AND key < ? ORDER BY revision',
  );
  const isCurrent = database.prepare('SELECT 1 FROM current WHERE key = ?');
  const eventRows = database.prepare(
    `SELECT ${columns} FROM history h WHERE h.revision > ? AND h.revision <= ? AND h.key >= ? AND h.key < ?
     ORDER BY h.revision LIMIT ?`,
  );

  const newest = database.prepare(NEWEST_REVISION);
  const revision = (): number => Number(newest.get()?.revision);

  function entryAt(at: number): Entry | undefined {
    const row = byRevision.get(at) as Row | undefined;
    return row && toEntry(row);
  }

  function countAfter(query: PageQuery, last: string): number {
    return Number(count.get(query.prefix, last, endOf(query.prefix))?.count);
  }

  function pageNow(query: PageQuery, at: number): ListResult {
    const rows = page.all(query.prefix, query.startAfter, endOf(query.prefix), query.limit + 1) as unknown as Row[];
    const more = rows.length > query.limit;
    if (more) rows.length = query.limit;
    const last = rows.at(-1);
    return { entries: rows.map(toEntry), revision: at, remaining: more && last ? countAfter(query, last.key) : 0 };
  }

  function pageThen(query: PageQuery, at: number): ListResult {
    const end = endOf(query.prefix);
    /** What a key had before its first change after `at`; 0: nothing. */
    const undo = new Map<string, number>();
    for (const row of since.iterate(at, query.prefix, end) as Iterable<unknown>) {
      const { key, previous } = row as { key: string; previous: number };
      if (!undo.has(key)) undo.set(key, previous);
    }
    const wanted = keys.all(query.prefix, query.startAfter, end, query.limit + 1 + undo.size) as unknown as {
      key: string;
      revision: number;
    }[];
    const found = wanted.filter((row) => !undo.has(row.key));
    for (const [key, previous] of undo) {
      if (previous > 0 && key > query.startAfter) found.push({ key, revision: previous });
    }
    found.sort((a, b) => (a.key < b.key ? -1 : 1));
    const shown = found.slice(0, query.limit);
    const entries = shown.map(({ key, revision: shownRevision }) => {
      const entry = entryAt(shownRevision);
      if (entry) return entry;
      throw new StoreError(
        'corrupt',
        `list: revision ${shownRevision} of ${JSON.stringify(key)} is missing: restore a backup`,
      );
    });
    const last = shown.at(-1);
    let remaining = 0;
    if (last && found.length > shown.length) {
      remaining = countAfter(query, last.key);
      for (const [key, previous] of undo) {
        if (key <= last.key) continue;
        if (previous > 0) remaining++;
        if (isCurrent.get(key)) remaining--;
      }
    }
    return { entries, revision: at, remaining };
  }

  /** One consistent view for several statements. */
  function together<T>(read: () => T): T {
    database.exec('BEGIN');
    try {
      return read();
    } finally {
      database.exec('COMMIT');
    }
  }

  return {
    revision,
    entryAt,
    get(key: string): Entry | undefined {
      const row = byKey.get(key) as Row | undefined;
      return row && toEntry(row);
    },
    page(query: PageQuery): ListResult {
      return together(() => {
        const now = revision();
        const at = query.revision ?? now;
        if (at > now) {
          throw new StoreError('future', `list at revision ${at}: the newest is ${now}`);
        }
        if (at < query.compacted) {
          throw new StoreError('compacted', `list at revision ${at}: history begins at ${query.compacted}`);
        }
        return at === now ? pageNow(query, at) : pageThen(query, at);
      });
    },
    /** Events of the prefix after `after` up to `until`, at most `limit` of them. */
    events(prefix: string, after: number, until: number, limit: number): StoreEvent[] {
      return together(() => {
        const rows = eventRows.all(after, until, prefix, endOf(prefix), limit) as unknown as Row[];
        return rows.map((row) => {
          const previous = row.previous > 0 ? entryAt(row.previous) : undefined;
          if (row.deleted) {
            const entry = {
              key: row.key,
              value: previous?.value ?? row.value,
              revision: row.revision,
              createRevision: row.created,
            };
            return { type: 'delete', entry, previous };
          }
          return { type: row.previous > 0 ? 'update' : 'create', entry: toEntry(row), previous };
        });
      });
    },
    close(): void {
      database.close();
    },
  };
}
