/** One engine, or one repair, at a time for each run directory. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { processStartTime } from '#lib/process-start-time.ts';
import { layout } from './containers/layout.ts';
import { EngineError } from './engine.ts';
import type { EngineOptions } from './options.ts';

/** @returns what lets it go. @throws EngineError `conflict` */
export async function engineLock(
  options: Pick<EngineOptions, 'dataDirectory' | 'runDirectory'>,
): Promise<() => Promise<void>> {
  const { run } = layout(options);
  mkdirSync(run, { recursive: true, mode: 0o711 });
  return takeLock(join(run, 'engine.pid'));
}

/** @throws EngineError `conflict` while an engine is open */
export function refuseWhileOpen(options: Pick<EngineOptions, 'dataDirectory' | 'runDirectory'>): void {
  refuseWhileHeld(join(layout(options).run, 'engine.pid'));
}

function refuseWhileHeld(file: string): void {
  if (!existsSync(file)) return;
  const [pid, startTime] = readFileSync(file, 'utf8').trim().split(' ');
  if (startTime !== undefined && startTime !== '' && processStartTime(Number(pid)) === startTime)
    throw new EngineError('conflict', `another engine (process ${pid}) has ${file}: stop it first`);
}

/** A file that names this process; one of a process that is gone does not count. */
function takeLock(file: string): () => Promise<void> {
  const own = `${process.pid} ${processStartTime(process.pid) ?? ''}`;
  refuseWhileHeld(file);
  writeFileSync(file, own);
  return async () => {
    if (existsSync(file) && readFileSync(file, 'utf8') === own) rmSync(file);
  };
}
