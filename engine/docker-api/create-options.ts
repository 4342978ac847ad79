/** The options of a create request that are more than one word of the engine's: logs, health, init, sysctls, groups. Pure. */
import type { ContainerSpec, Healthcheck } from '../engine.ts';
import type { Fields } from './body.ts';
import { DockerError } from './errors.ts';
import type { LogSettings } from './settings.ts';

/** The parts of a spec that come from here. */
type Options = Pick<
  ContainerSpec,
  | 'supplementaryGroups'
  | 'supplementaryGroupNames'
  | 'sysctls'
  | 'init'
  | 'oomScoreAdjust'
  | 'domainName'
  | 'annotations'
  | 'log'
>;

/** What is attached reads the log: it must not be cut off while it reads. */
const DEFAULT_LOG = { maxBytes: 64 * 1024 * 1024, maxFiles: 4 };
/** Of a container that keeps none: enough for who is attached. */
const NO_LOG = { maxBytes: 1024 * 1024, maxFiles: 2, none: true };
const LEAST_LOG = 4096;
const ALLOWED_SYSCTLS = new Set(
  'msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced'.split(' ').map((name) => `kernel.${name}`),
);
const LOG_OPTIONS: Readonly<Record<LogSettings['type'], readonly string[]>> = {
  'json-file': ['max-size', 'max-file', 'labels', 'labels-regex', 'env', 'env-regex', 'tag', 'compress'],
  local: ['max-size', 'max-file', 'compress'],
  none: [],
};

export function readOptions(config: Fields, host: Fields, log: LogSettings): Options {
  const groups = host.strings('GroupAdd') ?? [];
  const isNumber = (group: string): boolean => /^\d{1,9}$/.test(group);
  const sysctls = host.stringMap('Sysctls');
  for (const name of Object.keys(sysctls)) {
    if (!ALLOWED_SYSCTLS.has(name) && !/^(net|fs\.mqueue)\.[\w./-]+$/.test(name))
      throw host.refuse('Sysctls', `sysctl '${name}' is not allowed`);
  }
  const oom = host.integer('OomScoreAdj');
  if (oom < -1000 || oom > 1000)
    throw new DockerError(400, `Invalid value ${oom}, range for oom score adj is [-1000, 1000]`);
  const domainName = config.text('Domainname');
  const annotations = host.stringMap('Annotations');
  for (const name of Object.keys(annotations))
    if (name === '')
      throw host.refuse('Annotations', 'invalid Annotations: the empty string is not permitted as an annotation key');
  return {
    supplementaryGroups: groups.filter(isNumber).map(Number),
    ...(groups.every(isNumber) ? {} : { supplementaryGroupNames: groups.filter((group) => !isNumber(group)) }),
    ...(Object.keys(sysctls).length === 0 ? {} : { sysctls }),
    ...(host.flag('Init') ? { init: true } : {}),
    ...(oom === 0 ? {} : { oomScoreAdjust: oom }),
    ...(domainName === '' ? {} : { domainName }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    log: log.type === 'none' ? NO_LOG : logLimits(log),
  };
}

/** What would be ignored without a word. @param runtime  the engine's own */
export function refuseUnknown(host: Fields, runtime: { name: string; path: string }): void {
  const wanted = host.text('Runtime');
  if (!['', runtime.name, runtime.path].includes(wanted))
    throw new DockerError(400, `unknown or invalid runtime name: ${wanted}`);
  if (!['', 'default'].includes(host.text('Isolation')))
    throw new DockerError(400, `Invalid isolation: "${host.text('Isolation')}" - linux only supports 'default'`);
  if (host.integer('CpuRealtimePeriod') !== 0 || host.integer('CpuRealtimeRuntime') !== 0)
    throw new DockerError(400, 'Your kernel does not support CPU real-time scheduler for containers of this engine');
  const driver = host.text('VolumeDriver');
  if (!['', 'local'].includes(driver))
    throw new DockerError(404, `error looking up volume plugin ${driver}: plugin "${driver}" not found`);
  if (host.text('CgroupParent') !== '')
    throw host.refuse('CgroupParent', 'every container has its place in the cgroup of the engine');
}

/** `--storage-opt size=10G`: of the writable layer. */
export function readStorageSize(host: Fields): number | undefined {
  const options = host.stringMap('StorageOpt');
  for (const name of Object.keys(options))
    if (name.toLowerCase() !== 'size') throw new DockerError(400, `Unknown option ${name}`);
  const text = Object.values(options)[0];
  return text === undefined ? undefined : sizeOf(text);
}

function sizeOf(text: string): number {
  const match = /^(\d{1,12})([kmgt]?)i?b?$/i.exec(text);
  const unit = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 }[(match?.[2] ?? '').toLowerCase()] ?? 1;
  if (match === null || Number(match[1]) === 0) throw new DockerError(400, `invalid size: '${text}'`);
  return Number(match[1]) * unit;
}

/** `k8s-file` is what older versions of this engine called it. */
export function readLogSettings(host: Fields): LogSettings {
  const config = host.object('LogConfig');
  const name = config.text('Type') || 'json-file';
  const type = name === 'k8s-file' ? 'json-file' : name;
  if (!isLogType(type)) throw new DockerError(400, `logger: no log driver named '${type}' is registered`);
  const options = config.stringMap('Config');
  for (const option of Object.keys(options)) {
    if (!LOG_OPTIONS[type].includes(option))
      throw new DockerError(400, `unknown log opt '${option}' for ${type} log driver`);
  }
  const settings = { type, options };
  logLimits(settings);
  return settings;
}

function isLogType(text: string): text is LogSettings['type'] {
  return Object.hasOwn(LOG_OPTIONS, text);
}

function logLimits({ options }: LogSettings): { maxBytes: number; maxFiles: number } {
  const limits = { ...DEFAULT_LOG };
  const size = options['max-size'];
  const files = options['max-file'];
  if (size !== undefined && size !== '-1') {
    limits.maxBytes = Math.max(LEAST_LOG, sizeOf(size));
    limits.maxFiles = 1;
  }
  if (files !== undefined) {
    if (!/^\d{1,4}$/.test(files) || Number(files) < 1)
      throw new DockerError(400, `max-file cannot be less than 1: ${JSON.stringify(files)}`);
    limits.maxFiles = Number(files);
  }
  return limits;
}

/** What the request says, and for the rest what the image says. Undefined where nothing is to be asked. */
export function readHealthcheck(config: Fields, image: Healthcheck | undefined): Healthcheck | undefined {
  if (!config.has('Healthcheck')) return withTest(image);
  const wish = config.object('Healthcheck');
  const test = wish.strings('Test') ?? [];
  if (test.length > 0 && !['NONE', 'CMD', 'CMD-SHELL'].includes(test[0] ?? ''))
    throw wish.refuse('Test', `unknown type ${JSON.stringify(test[0])}; known are NONE, CMD and CMD-SHELL`);
  if (test.length === 1 && test[0] !== 'NONE') throw wish.refuse('Test', `${test[0]} needs a command`);
  const merged: Healthcheck = { ...image, test: test.length > 0 ? test : (image?.test ?? []) };
  const times = {
    interval: 'Interval',
    timeout: 'Timeout',
    startPeriod: 'StartPeriod',
    startInterval: 'StartInterval',
  };
  for (const [field, name] of Object.entries(times)) {
    const nanoseconds = wish.integer(name);
    if (nanoseconds !== 0 && nanoseconds < 1_000_000)
      throw new DockerError(400, `${name} in Healthcheck cannot be less than 1ms`);
    if (nanoseconds > 0) merged[field as keyof typeof times] = nanoseconds / 1_000_000;
  }
  const retries = wish.integer('Retries');
  if (retries < 0) throw new DockerError(400, 'Retries in Healthcheck cannot be negative');
  if (retries > 0) merged.retries = retries;
  return withTest(merged);
}

function withTest(check: Healthcheck | undefined): Healthcheck | undefined {
  return check === undefined || check.test.length === 0 ? undefined : check;
}
