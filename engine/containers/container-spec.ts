/** What can be told of a container's spec before anything is made of it. */
import { type ContainerSpec, EngineError, type Image } from '../engine.ts';
import { signalNumber } from './signals.ts';

export const defaultLog = { maxBytes: 10 * 1024 * 1024, maxFiles: 2 };
const containerName = /^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,252}$/;

/** @returns the signal that stops it. @throws EngineError `invalid`, naming the field */
export function validateSpec(spec: ContainerSpec, image: Image): { stopSignal: string } {
  if (!containerName.test(spec.name)) {
    throw new EngineError(
      'invalid',
      `name: ${JSON.stringify(spec.name)} is not a container name of letters, digits and ._/-`,
    );
  }
  validateNumbers(spec);
  const stopSignal = spec.stopSignal ?? (image.config.stopSignal || 'SIGTERM');
  signalNumber(stopSignal);
  return { stopSignal };
}

/** The record keeps no copy of secret files: they are on tmpfs for as long as the container is. */
export function withoutContents(spec: ContainerSpec): ContainerSpec {
  const mounts = spec.mounts?.map((one) =>
    one.kind === 'files' ? { ...one, files: one.files.map((file) => ({ ...file, content: new Uint8Array() })) } : one,
  );
  return mounts === undefined ? spec : { ...spec, mounts };
}

function validateNumbers({ limits = {}, sharedMemoryBytes, log }: ContainerSpec): void {
  const checks: [string, number | undefined, number][] = [
    ['limits.memoryBytes', limits.memoryBytes, 6 * 1024 * 1024],
    ['limits.cpuMillis', limits.cpuMillis, 1],
    ['limits.cpuShares', limits.cpuShares, 2],
    ['limits.pids', limits.pids, 1],
    ['sharedMemoryBytes', sharedMemoryBytes, 0],
    ['log.maxBytes', log?.maxBytes, 1024],
    ['log.maxFiles', log?.maxFiles, 1],
  ];
  for (const [field, value, least] of checks) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= least)) {
      throw new EngineError('invalid', `${field}: ${value} is not a whole number of at least ${least}`);
    }
  }
  if (log?.path !== undefined && !log.path.startsWith('/'))
    throw new EngineError('invalid', `log.path: "${log.path}" is not absolute`);
}
