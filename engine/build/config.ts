/** The configuration of an image under construction, in Docker's field names, and what instructions do to it. Pure. */
import { signalNumber } from '../containers/signals.ts';
import type { RunConfig } from '../images/assemble.ts';
import { asBytes } from '../images/tree.ts';
import { BuildError, type CommandLine, type HealthCheck, type Instruction } from './dockerfile/instruction.ts';
import { expandWord, expandWords, type Variables } from './dockerfile/expand.ts';

export interface Config {
  env: Map<string, string>;
  labels: Map<string, string>;
  user: string;
  workingDirectory: string;
  shell: string[] | undefined;
  cmd: string[] | undefined;
  /** Whether `CMD` was given since the stage began: an entrypoint takes away one that was not. */
  cmdIsOwn: boolean;
  entrypoint: string[] | undefined;
  exposed: Set<string>;
  volumes: Set<string>;
  stopSignal: string;
  healthcheck: unknown;
  onBuild: string[];
  /** Fields that no instruction speaks of. */
  rest: RunConfig;
}

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const DEFAULT_SHELL = ['/bin/sh', '-c'];

export function readConfig(from: RunConfig): Config {
  const {
    Env,
    Labels,
    User,
    WorkingDir,
    Shell,
    Cmd,
    Entrypoint,
    ExposedPorts,
    Volumes,
    StopSignal,
    Healthcheck,
    OnBuild,
    ...rest
  } = from;
  return {
    env: new Map(strings(Env).map((entry) => [entry.split('=', 1)[0] ?? '', entry.slice(entry.indexOf('=') + 1)])),
    labels: new Map(Object.entries((Labels ?? {}) as Record<string, string>)),
    user: typeof User === 'string' ? User : '',
    workingDirectory: typeof WorkingDir === 'string' ? WorkingDir : '',
    shell: Array.isArray(Shell) ? strings(Shell) : undefined,
    cmd: Array.isArray(Cmd) ? strings(Cmd) : undefined,
    cmdIsOwn: false,
    entrypoint: Array.isArray(Entrypoint) ? strings(Entrypoint) : undefined,
    exposed: new Set(Object.keys((ExposedPorts ?? {}) as object)),
    volumes: new Set(Object.keys((Volumes ?? {}) as object)),
    stopSignal: typeof StopSignal === 'string' ? StopSignal : '',
    healthcheck: Healthcheck ?? undefined,
    onBuild: strings(OnBuild),
    rest,
  };
}

/** As Docker does for an image from nothing and one without it. */
export function withPath(config: Config): Config {
  if (!config.env.has('PATH')) config.env.set('PATH', DEFAULT_PATH);
  return config;
}

export function writeConfig(config: Config): RunConfig {
  const keys = (set: Set<string>): Record<string, object> =>
    Object.fromEntries([...set].sort().map((key) => [key, {}]));
  return {
    ...config.rest,
    ...(config.user === '' ? {} : { User: config.user }),
    ...(config.exposed.size === 0 ? {} : { ExposedPorts: keys(config.exposed) }),
    Env: [...config.env].map(([name, value]) => `${name}=${value}`),
    ...(config.entrypoint === undefined ? {} : { Entrypoint: config.entrypoint }),
    ...(config.cmd === undefined ? {} : { Cmd: config.cmd }),
    ...(config.volumes.size === 0 ? {} : { Volumes: keys(config.volumes) }),
    ...(config.workingDirectory === '' ? {} : { WorkingDir: config.workingDirectory }),
    ...(config.labels.size === 0 ? {} : { Labels: Object.fromEntries(config.labels) }),
    ...(config.stopSignal === '' ? {} : { StopSignal: config.stopSignal }),
    ...(config.healthcheck === undefined ? {} : { Healthcheck: config.healthcheck }),
    ...(config.onBuild.length === 0 ? {} : { OnBuild: config.onBuild }),
    ...(config.shell === undefined ? {} : { Shell: config.shell }),
  };
}

/** For a stage that begins where another ended. */
export function copyConfig(config: Config): Config {
  return {
    ...config,
    env: new Map(config.env),
    labels: new Map(config.labels),
    exposed: new Set(config.exposed),
    volumes: new Set(config.volumes),
    onBuild: [...config.onBuild],
  };
}

export interface ConfigContext {
  variables: Variables;
  escape: string;
}

/** Instructions that change nothing but the configuration. @returns how history tells it; undefined for any other instruction */
export function configure(
  config: Config,
  instruction: Instruction,
  { variables, escape }: ConfigContext,
): string | undefined {
  const word = (text: string): string => expandWord(text, variables, escape);
  switch (instruction.kind) {
    case 'ENV': {
      const pairs = instruction.pairs.map(([name, value]): [string, string] => [word(name), word(value)]);
      for (const [name, value] of pairs) config.env.set(named(name, 'ENV'), value);
      return `ENV ${pairs.map(([name, value]) => `${name}=${value}`).join(' ')}`;
    }
    case 'LABEL': {
      const pairs = instruction.pairs.map(([name, value]): [string, string] => [word(name), word(value)]);
      for (const [name, value] of pairs) config.labels.set(named(name, 'LABEL'), value);
      return `LABEL ${pairs.map(([name, value]) => `${name}=${value}`).join(' ')}`;
    }
    case 'USER':
      config.user = word(instruction.value);
      return `USER ${config.user}`;
    case 'WORKDIR':
      config.workingDirectory = absolutePath(word(instruction.value), config.workingDirectory);
      return `WORKDIR ${config.workingDirectory}`;
    case 'EXPOSE': {
      const ports = instruction.values.flatMap((value) => expandWords(value, variables, escape)).sort();
      for (const port of ports.flatMap(portsOf)) config.exposed.add(port);
      return `EXPOSE ${ports.join(' ')}`;
    }
    case 'VOLUME': {
      const paths = instruction.values.map((value) => word(value));
      for (const path of paths) {
        if (path === '') throw new BuildError('VOLUME specified can not be an empty string');
        config.volumes.add(path);
      }
      return `VOLUME [${paths.join(' ')}]`;
    }
    case 'STOPSIGNAL': {
      const signal = word(instruction.value);
      assertSignal(signal);
      config.stopSignal = signal;
      return `STOPSIGNAL ${signal}`;
    }
    case 'CMD':
      config.cmd = commandWords(config, instruction.command);
      config.cmdIsOwn = true;
      return `CMD ${JSON.stringify(config.cmd).replaceAll('","', '" "')}`;
    case 'ENTRYPOINT':
      config.entrypoint = commandWords(config, instruction.command);
      if (!config.cmdIsOwn) config.cmd = undefined;
      return `ENTRYPOINT ${JSON.stringify(config.entrypoint).replaceAll('","', '" "')}`;
    case 'SHELL':
      config.shell = instruction.words;
      return `SHELL [${instruction.words.join(' ')}]`;
    case 'HEALTHCHECK':
      config.healthcheck = healthcheck(config, instruction.check);
      return `HEALTHCHECK ${JSON.stringify(config.healthcheck)}`;
    case 'ONBUILD':
      config.onBuild.push(instruction.trigger);
      return `ONBUILD ${instruction.trigger}`;
    case 'MAINTAINER':
      return `MAINTAINER ${instruction.value}`;
    case 'ARG':
    case 'RUN':
    case 'COPY':
    case 'ADD':
      return undefined;
  }
}

/** For the kernel: text goes to the stage's shell. */
export function commandWords(config: Config, command: CommandLine): string[] {
  return command.form === 'exec' ? command.words : [...shellOf(config), command.text];
}

export function shellOf(config: Config): string[] {
  return config.shell ?? DEFAULT_SHELL;
}

/** Relative to the working directory; without `.`, `..` and doubled slashes. */
export function absolutePath(path: string, workingDirectory: string): string {
  if (path.includes('\0') || asBytes(path).length > 4096)
    throw new BuildError(`${JSON.stringify(path.slice(0, 100))} is no usable path`);
  const parts: string[] = [];
  for (const part of (path.startsWith('/') ? path : `${workingDirectory}/${path}`).split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

function assertSignal(signal: string): void {
  try {
    signalNumber(signal);
  } catch (cause) {
    throw new BuildError(`Invalid signal: ${signal}`, { cause });
  }
}

function named(name: string, kind: string): string {
  if (name === '') throw new BuildError(`${kind} names can not be blank`);
  return name;
}

/** `80`, `80/udp`, `8000-8010/tcp`. */
function portsOf(text: string): string[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text);
  const first = Number(match?.[1] ?? 0);
  const last = Number(match?.[2] ?? first);
  if (match === null || first < 1 || last > 65_535 || last < first)
    throw new BuildError(`invalid containerPort: ${text.slice(0, 100)}: give a port such as 80, 80/udp or 8000-8010`);
  return Array.from(
    { length: last - first + 1 },
    (_, index) => `${first + index}/${(match[3] ?? 'tcp').toLowerCase()}`,
  );
}

function healthcheck(config: Config, check: 'NONE' | HealthCheck): unknown {
  if (check === 'NONE') return { Test: ['NONE'] };
  const { command, interval, timeout, startPeriod, startInterval, retries } = check;
  return {
    Test:
      command.form === 'exec'
        ? ['CMD', ...command.words]
        : config.shell === undefined
          ? ['CMD-SHELL', command.text]
          : ['CMD', ...config.shell, command.text],
    ...(interval === undefined ? {} : { Interval: interval }),
    ...(timeout === undefined ? {} : { Timeout: timeout }),
    ...(startPeriod === undefined ? {} : { StartPeriod: startPeriod }),
    ...(startInterval === undefined ? {} : { StartInterval: startInterval }),
    ...(retries === undefined ? {} : { Retries: retries }),
  };
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
}
