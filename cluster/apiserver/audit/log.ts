/**
 * The audit log: a JSON object a line, in a file that is changed when it is full. Nothing waits for the disk: what it cannot take
 * in time is dropped, and counted.
 */
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Log } from '../core.ts';

export interface AuditLogOptions {
  path: string;
  /** Of one file; default 100 MiB. */
  maxBytes?: number;
  /** Older files that are kept; default 10. */
  maxBackups?: number;
  /** Bytes that may wait for the disk; default 16 MiB. */
  maxBuffered?: number;
  log: Log;
}

export interface AuditLog {
  write(event: object): void;
  readonly written: number;
  readonly dropped: number;
  /** Resolves when what was written before is in the file. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

const MEBIBYTE = 1024 * 1024;

export async function openAuditLog(options: AuditLogOptions): Promise<AuditLog> {
  const { path, maxBytes = 100 * MEBIBYTE, maxBackups = 10, maxBuffered = 16 * MEBIBYTE, log } = options;
  let file = await open(path, 'a', 0o600);
  let { size } = await file.stat();
  let waiting: string[] = [];
  let [buffered, written, dropped, reported] = [0, 0, 0, 0];
  let running: Promise<void> | undefined;

  async function drain(): Promise<void> {
    while (waiting.length > 0) {
      const [lines, bytes] = [waiting, buffered];
      waiting = [];
      try {
        if (size >= maxBytes) {
          file = await rotate(file, path, maxBackups);
          size = 0;
        }
        await file.appendFile(lines.join(''));
        size += bytes;
        written += lines.length;
      } catch (error) {
        dropped += lines.length;
        log('error', 'the audit log cannot be written', { path, events: lines.length, error: String(error) });
      }
      buffered -= bytes;
    }
    if (dropped > reported) log('warn', 'events were left out of the audit log', { path, dropped: dropped - reported });
    reported = dropped;
  }

  const flush = async (): Promise<void> => {
    while (running !== undefined) await running;
  };
  return {
    write(event) {
      if (buffered >= maxBuffered) {
        dropped++;
        return;
      }
      const line = `${JSON.stringify(event)}\n`;
      waiting.push(line);
      buffered += Buffer.byteLength(line);
      running ??= Promise.resolve()
        .then(drain)
        .finally(() => {
          running = undefined;
        });
    },
    get written() {
      return written;
    },
    get dropped() {
      return dropped;
    },
    flush,
    async close() {
      await flush();
      await file.close();
    },
  };
}

/** `audit.log` becomes `audit-2026-01-02T03-04-05.678.log`; the oldest beyond the number go. */
async function rotate(file: FileHandle, path: string, maxBackups: number): Promise<FileHandle> {
  const directory = dirname(path);
  const [name, extension] = [basename(path).replace(/\.[^.]*$/, ''), /\.[^.]*$/.exec(basename(path))?.[0] ?? ''];
  const time = new Date().toISOString().replaceAll(':', '-').replace('Z', '');
  await rename(path, join(directory, `${name}-${time}${extension}`));
  const next = await open(path, 'a', 0o600);
  await file.close();
  const older = (await readdir(directory))
    .filter((one) => one.startsWith(`${name}-2`) && one.endsWith(extension))
    .sort()
    .reverse();
  await Promise.all(older.slice(maxBackups).map((one) => rm(join(directory, one), { force: true })));
  return next;
}
