/** What can be told of a container's spec before anything is made of it. */
import { readFileSync } from 'node:fs';
import { type ContainerSpec, EngineError, type Image, type Limits } from '../engine.ts';
import { signalNumber } from './signals.ts';

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
  validateRest(spec);
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

/** Those of namespaces that every container has of its own. */
const namespacedSysctl =
  /^(net\.|fs\.mqueue\.)[\w./-]+$|^kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)$/;

function validateRest({ sysctls = {}, oomScoreAdjust, domainName, limits = {} }: ContainerSpec): void {
  if (domainName !== undefined && !/^[a-zA-Z0-9._-]{1,64}$/.test(domainName))
    throw new EngineError(
      'invalid',
      `domainName: ${JSON.stringify(domainName)} is not a name of at most 64 characters`,
    );
  for (const [name, value] of Object.entries(sysctls)) {
    if (!namespacedSysctl.test(name) || name.split('/').includes('..') || /[\0\n]/.test(value))
      throw new EngineError('invalid', `sysctl '${name}' is not allowed: it is not of the container's own namespaces`);
  }
  if (oomScoreAdjust !== undefined && !(Number.isInteger(oomScoreAdjust) && Math.abs(oomScoreAdjust) <= 1000))
    throw new EngineError('invalid', `Invalid value ${oomScoreAdjust}, range for oom score adj is [-1000, 1000]`);
  const own = Number(readFileSync('/proc/self/oom_score_adj', 'utf8'));
  if (oomScoreAdjust !== undefined && oomScoreAdjust < Math.min(own, 0))
    throw new EngineError(
      'invalid',
      `oomScoreAdjust: ${oomScoreAdjust} would spare the container before the host: give at least ${Math.min(own, 0)}`,
    );
  for (const list of [limits.cpuset, limits.memoryNodes]) {
    if (list !== undefined && !/^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*$/.test(list))
      throw new EngineError('invalid', `limits.cpuset: ${JSON.stringify(list)} is no list such as 0-1,3`);
  }
}

/** @throws EngineError `invalid`, naming the field */
export function validateLimits(limits: Limits): void {
  validateNumbers({ sandbox: '', name: '', image: '', limits });
  validateRest({ sandbox: '', name: '', image: '', limits });
}

function validateNumbers({ limits = {}, sharedMemoryBytes, log }: ContainerSpec): void {
  const checks: [string, number | undefined, number][] = [
    ['limits.memoryBytes', limits.memoryBytes, 6 * 1024 * 1024],
    ['limits.cpuMillis', limits.cpuMillis, 1],
    ['limits.cpuShares', limits.cpuShares, 2],
    ['limits.pids', limits.pids, 1],
    ['limits.memorySwapBytes', limits.memorySwapBytes, -1],
    ['limits.memoryReservationBytes', limits.memoryReservationBytes, 0],
    ['limits.blockWeight', limits.blockWeight, 10],
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
