/** The log of a container, from its first start to its last end. */
import type { EngineOptions } from '../options.ts';
import type { ContainerRecord } from './container-records.ts';
import { containerPaths, type Layout } from './layout.ts';
import type { LogSize } from './log-bound.ts';
import { LogRotation, beginLog, closeLog } from './log-rotation.ts';

/** Of a container that asks for none. */
const DEFAULT_SIZE: LogSize = { maxBytes: 10 * 1024 * 1024, maxFiles: 2 };

export interface LogRooms {
  layout: Layout;
  log: NonNullable<EngineOptions['log']>;
}

export function logSizeOf({ spec }: ContainerRecord): LogSize {
  return spec.log ?? DEFAULT_SIZE;
}

/** Before conmon runs again. */
export async function resumeLog(record: ContainerRecord): Promise<void> {
  await beginLog(record.logPath, logSizeOf(record));
}

/** While conmon runs. */
export function rotateLog(rooms: LogRooms, record: ContainerRecord): LogRotation {
  const { control, conmonPid, logMark } = containerPaths(rooms.layout, record.id);
  const { maxBytes, maxFiles } = logSizeOf(record);
  const target = { logPath: record.logPath, control, conmonPid, mark: logMark, maxBytes, maxFiles };
  return new LogRotation(target, (error) => tell(rooms, record, error));
}

/** When conmon has ended. Never fails: a log must not hold up the end of its container. */
export async function endLog(
  rooms: LogRooms,
  record: ContainerRecord,
  rotation: LogRotation | undefined,
): Promise<void> {
  await rotation?.close();
  await closeLog(record.logPath, logSizeOf(record)).catch((error: unknown) => tell(rooms, record, error));
}

function tell({ log }: LogRooms, { id }: ContainerRecord, error: unknown): void {
  log('warn', 'cannot rotate a log', { container: id, error: String(error) });
}
