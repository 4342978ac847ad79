/** A full disk is told as what it is, wherever it is met. */
import { EngineError } from './engine.ts';
import { hasCode } from './sys/libc.ts';

/** The error, or `exhausted` where it is the kernel's word for a full disk. */
export function namedWhenFull(error: unknown): unknown {
  if (!hasCode(error, 'ENOSPC', 'EDQUOT')) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return new EngineError('exhausted', `no space left on device: ${detail}; remove images, containers or volumes`, {
    cause: error,
  });
}
