/**
 * `--change`: those of Dockerfile's instructions that change an image's configuration and nothing else. The rest of an
 * instruction is JSON where it begins with a bracket and a shell's command line where it does not.
 */
import { DockerError } from './errors.ts';

type Config = Record<string, unknown>;

export function changedConfig(config: Config, changes: readonly string[]): Config {
  const changed = { ...config };
  for (const change of changes) {
    const [, name = '', rest = ''] = /^\s*(\w+)\s+([^]*?)\s*$/.exec(change) ?? [];
    const apply = Object.hasOwn(INSTRUCTIONS, name.toUpperCase()) ? INSTRUCTIONS[name.toUpperCase()] : undefined;
    if (apply === undefined || rest === '')
      throw new DockerError(
        400,
        `invalid parameter: changes: ${JSON.stringify(change)} is no instruction that changes a configuration`,
      );
    apply(changed, rest);
  }
  return changed;
}

const INSTRUCTIONS: Readonly<Record<string, (config: Config, rest: string) => void>> = {
  CMD: (config, rest) => (config['Cmd'] = command(rest)),
  ENTRYPOINT: (config, rest) => (config['Entrypoint'] = command(rest)),
  ENV: (config, rest) => {
    const env = new Map(((config['Env'] ?? []) as string[]).map((one) => [one.split('=', 1)[0], one]));
    for (const [key, value] of pairs(rest)) env.set(key, `${key}=${value}`);
    config['Env'] = [...env.values()];
  },
  LABEL: (config, rest) => (config['Labels'] = { ...(config['Labels'] as object), ...Object.fromEntries(pairs(rest)) }),
  WORKDIR: (config, rest) => (config['WorkingDir'] = rest),
  USER: (config, rest) => (config['User'] = rest),
  STOPSIGNAL: (config, rest) => (config['StopSignal'] = rest),
  ONBUILD: (config, rest) => (config['OnBuild'] = [...((config['OnBuild'] ?? []) as string[]), rest]),
  EXPOSE: (config, rest) => {
    const ports = rest.split(/\s+/).map((port) => [port.includes('/') ? port : `${port}/tcp`, {}]);
    config['ExposedPorts'] = { ...(config['ExposedPorts'] as object), ...Object.fromEntries(ports) };
  },
  VOLUME: (config, rest) => {
    const paths = rest.startsWith('[') ? jsonWords(rest) : rest.split(/\s+/);
    config['Volumes'] = { ...(config['Volumes'] as object), ...Object.fromEntries(paths.map((path) => [path, {}])) };
  },
};

function command(rest: string): string[] {
  return rest.startsWith('[') ? jsonWords(rest) : ['/bin/sh', '-c', rest];
}

function jsonWords(text: string): string[] {
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value;
  } catch {
    // It is said below.
  }
  throw new DockerError(400, `invalid parameter: changes: ${text} is no list of strings in JSON`);
}

/** `key value`, or `key=value` several times with values in quotes where they hold spaces. */
function pairs(rest: string): [string, string][] {
  const first = /^([^\s=]+)\s+([^]*)$/.exec(rest);
  if (first !== null) return [[first[1] ?? '', first[2] ?? '']];
  const found: [string, string][] = [];
  const word = /\s*("[^"]*"|[^\s="]+)=("(?:[^"\\]|\\.)*"|'[^']*'|(?:[^\s\\]|\\.)*)/y;
  while (word.lastIndex < rest.trimEnd().length) {
    const match = word.exec(rest);
    if (match === null)
      throw new DockerError(400, `invalid parameter: changes: ${JSON.stringify(rest)} is not key=value`);
    found.push([unquoted(match[1] ?? ''), unquoted(match[2] ?? '')]);
  }
  return found;
}

function unquoted(text: string): string {
  if (text.startsWith("'")) return text.slice(1, -1);
  return (text.startsWith('"') ? text.slice(1, -1) : text).replace(/\\(.)/g, '$1');
}
