/** An error in Docker's shape: a status and `{"message": …}`. */
import { TarError } from '#lib/tar/tar.ts';
import { BuildError } from '../build/dockerfile/instruction.ts';
import { namedWhenFull } from '../disk-full.ts';
import { EngineError, type EngineErrorCode } from '../engine.ts';

export class DockerError extends Error {
  readonly status: number;
  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DockerError';
    this.status = status;
  }
}

const STATUS: Readonly<Record<EngineErrorCode, number>> = {
  'not-found': 404,
  conflict: 409,
  invalid: 400,
  unauthorized: 403,
  forbidden: 403,
  unavailable: 503,
  exhausted: 507,
  internal: 500,
};

/** The one place where the engine's errors become Docker's. */
export function toDockerError(thrown: unknown): DockerError {
  const error = namedWhenFull(thrown);
  if (error instanceof DockerError) return error;
  if (error instanceof TarError || error instanceof BuildError)
    return new DockerError(400, error.message, { cause: error });
  if (error instanceof EngineError) return new DockerError(STATUS[error.code], error.message, { cause: error });
  return new DockerError(500, error instanceof Error ? error.message : String(error), { cause: error });
}
