/** Backups and restores: what takes long and moves a database's content. One at a time for each database. */
import type { Backup } from '../postgres.ts';
import { BrokerError, NAMESPACE } from '../postgres.ts';
import { CommandError } from '../session.ts';
import { beginRestore, DUMP, endRestore, RESTORE, swapRestored } from '../sql.ts';
import { type Database, planOf, type PostgresContext } from './context.ts';
import { isUnderWay, tell, writeStatus } from './status.ts';

const HOUR = 60 * 60_000;

/** @returns milliseconds until the next backup that nobody asks for; undefined: there will be none */
export async function transfer(context: PostgresContext, name: string): Promise<number | undefined> {
  const database = context.databases.get(name, NAMESPACE);
  if (database === undefined || database.metadata.deletionTimestamp !== undefined) return undefined;
  const { kind } = database.spec.operation;
  if (isUnderWay(database) && kind === 'backup') await requestedBackup(context, database);
  if (isUnderWay(database) && kind === 'restore') await requestedRestore(context, database);
  const due = untilNextBackup(context, name);
  if (due === undefined || due > 0) return due;
  await takeBackup(context, database, { id: backupId(context), scheduled: true });
  return untilNextBackup(context, name);
}

function untilNextBackup(context: PostgresContext, name: string): number | undefined {
  const database = context.databases.get(name, NAMESPACE);
  if (database === undefined || database.spec.backups.everyHours === 0) return undefined;
  const last = database.status?.backups?.at(-1)?.takenAt ?? database.metadata.creationTimestamp ?? '';
  return Math.max(0, Date.parse(last) + database.spec.backups.everyHours * HOUR - context.now());
}

/** In the order of their time. */
function backupId(context: PostgresContext): string {
  return new Date(context.now())
    .toISOString()
    .replaceAll(/[-:]/g, '')
    .replace(/\.\d+Z$/, 'Z')
    .toLowerCase();
}

async function requestedBackup(context: PostgresContext, database: Database): Promise<void> {
  await tell(context, database, 'in progress', 'a backup is taken');
  // Named by its operation: one that was broken off and is done again is one backup.
  const id = database.spec.operation.backup ?? backupId(context);
  await attempt(context, database, async () => {
    const { sizeBytes } = await takeBackup(context, database, { id, scheduled: false });
    return `backup ${id} has ${sizeBytes} bytes`;
  });
}

async function requestedRestore(context: PostgresContext, database: Database): Promise<void> {
  const { backup: id } = database.spec.operation;
  const backup = database.status?.backups?.find((one) => one.id === id);
  await tell(context, database, 'in progress', `backup ${id} is restored`);
  await attempt(context, database, async () => {
    if (backup === undefined) throw new BrokerError(422, `There is no backup ${id} any more; nothing was changed.`);
    await restore(context, database, backup);
    return `backup ${id} of ${backup.takenAt} was restored`;
  });
}

/** What a command of PostgreSQL refuses it refuses again; all else (a pod that goes, a connection that breaks) is tried again. */
async function attempt(context: PostgresContext, database: Database, work: () => Promise<string>): Promise<void> {
  try {
    await tell(context, database, 'succeeded', await work());
  } catch (error) {
    const late = context.now() - Date.parse(database.spec.operation.since) > HOUR;
    const final = error instanceof CommandError || error instanceof BrokerError || late;
    if (!final || context.signal.aborted) throw error;
    const words = error instanceof CommandError ? error.words : String((error as Error).message);
    await tell(context, database, 'failed', words);
  }
}

async function takeBackup(
  context: PostgresContext,
  database: Database,
  { id, scheduled }: { id: string; scheduled: boolean },
): Promise<Backup> {
  const { backups, signal } = context;
  const { name } = database.metadata;
  const dump = await backups.write(name, id, context.session(name).stream(DUMP), signal);
  const backup: Backup = { id, takenAt: new Date(context.now()).toISOString(), ...dump, scheduled };
  const known = context.databases.get(name, NAMESPACE)?.status?.backups ?? [];
  const all = [...known.filter((one) => one.id !== id), backup];
  const kept = all.slice(-database.spec.backups.keep);
  // First what is known, then what is there: a restore finds what it was promised.
  await writeStatus(context, database, { backups: kept });
  await backups.keep(
    name,
    kept.map((one) => one.id),
    signal,
  );
  return backup;
}

async function restore(context: PostgresContext, database: Database, backup: Backup): Promise<void> {
  const { name } = database.metadata;
  const session = context.session(name);
  if (await endRestore(session)) return;
  try {
    await beginRestore(session);
    await session.run(RESTORE, await context.backups.read(name, backup.digest, context.signal));
    await swapRestored(session, planOf(context, database).connections);
  } catch (error) {
    // As it was, where that can be done; else the next attempt begins with it.
    if (!context.signal.aborted) await endRestore(session).catch(() => undefined);
    throw error;
  }
}
