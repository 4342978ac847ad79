/** One engine, or one repair or removal, at a time for each run directory. */
import { mkdirSync } from 'node:fs';
import { LockTimeout, lockFile } from '#lib/lock-file.ts';
import { layout } from './containers/layout.ts';
import { EngineError } from './engine.ts';
import type { EngineOptions } from './options.ts';

/** @returns what lets it go. @throws EngineError `conflict` at once: an engine may be open for years */
export async function lockEngine(options: Pick<EngineOptions, 'dataDirectory' | 'runDirectory'>): Promise<() => void> {
  const { run, lock } = layout(options);
  mkdirSync(run, { recursive: true, mode: 0o711 });
  try {
    return await lockFile(lock, 0);
  } catch (error) {
    if (!(error instanceof LockTimeout)) throw error;
    const message = `another engine (process ${error.holder}) has ${lock}: stop it first`;
    throw new EngineError('conflict', message, { cause: error });
  }
}
