/** Instructions and stages of a Dockerfile. Every error names the line. */
import {
  BuildError,
  type CommandLine,
  type Dockerfile,
  type HealthCheck,
  type Instruction,
  type LogicalLine,
  type Stage,
} from './instruction.ts';
import { heredocWord, LARGEST_DOCKERFILE, logicalLines, parseError } from './lines.ts';
import { jsonWords, namedValues, splitWords, takeFlags } from './words.ts';

const MOST_INSTRUCTIONS = 10_000;
const STAGE_NAME = /^[a-z][a-z0-9-_.]*$/;
const BUILDKIT =
  'requires BuildKit, whose API this engine does not implement; build without it, or with a client that brings BuildKit along';

/** @throws BuildError that names the line */
export function parseDockerfile(source: string): Dockerfile {
  if (source.length > LARGEST_DOCKERFILE)
    throw new BuildError(`the Dockerfile has more than ${LARGEST_DOCKERFILE} characters`);
  const { lines, escape } = logicalLines(source);
  if (lines.length === 0) throw new BuildError('the Dockerfile cannot be empty');
  if (lines.length > MOST_INSTRUCTIONS)
    throw new BuildError(`the Dockerfile has more than ${MOST_INSTRUCTIONS} instructions`);
  const globals: Dockerfile['globals'] = [];
  const stages: Stage[] = [];
  for (const line of lines) {
    if (/^from(\s|$)/i.test(line.text)) {
      stages.push(parseFrom(line, escape));
      continue;
    }
    const instruction = parseInstruction(line, escape);
    const stage = stages.at(-1);
    if (stage !== undefined) stage.instructions.push(instruction);
    else if (instruction.kind === 'ARG') globals.push(instruction);
    else throw parseError(line.line, 'no build stage in current context: the first instruction must be FROM');
  }
  if (stages.length === 0) throw new BuildError('no build stage in current context: the Dockerfile has no FROM');
  return { globals, stages, escape };
}

/** Of `docker commit --change`, `docker import --change` and `ONBUILD`. */
export function parseSingle(text: string, escape = '\\'): Instruction {
  const { lines } = logicalLines(text);
  const [line, ...others] = lines;
  if (line === undefined || others.length > 0)
    throw new BuildError(`${JSON.stringify(text.slice(0, 200))} is not one instruction`);
  return parseInstruction(line, escape);
}

function parseFrom(line: LogicalLine, escape: string): Stage {
  const { flags, rest } = takeFlags(line.text.slice(4), escape);
  const known = knownFlags(line, 'FROM', flags, ['platform']);
  const words = splitWords(rest, escape);
  const [base, as, name] = words;
  const stage = { line: line.line, text: line.text, instructions: [] };
  const platform = known.get('platform');
  const common = platform === undefined ? stage : { ...stage, platform };
  if (base !== undefined && words.length === 1) return { ...common, base };
  if (base === undefined || words.length !== 3 || as?.toLowerCase() !== 'as' || name === undefined)
    throw parseError(line.line, 'FROM requires either one argument, or three: FROM <source> [as <name>]');
  const lower = name.toLowerCase();
  if (!STAGE_NAME.test(lower))
    throw parseError(
      line.line,
      `invalid name for build stage: ${JSON.stringify(name)}, name can't start with a number or contain symbols`,
    );
  return { ...common, base, name: lower };
}

type Flags = [name: string, value: string | undefined][];

interface Parts {
  line: LogicalLine;
  kind: string;
  rest: string;
  flags: Flags;
  escape: string;
}

function parseInstruction(line: LogicalLine, escape: string): Instruction {
  const word = /^\S+/.exec(line.text)?.[0] ?? '';
  const kind = word.toUpperCase();
  const read = Object.hasOwn(READERS, kind) ? READERS[kind] : undefined;
  if (read === undefined) throw parseError(line.line, `unknown instruction: ${kind.slice(0, 100)}`);
  const { flags, rest } = takeFlags(line.text.slice(word.length), escape);
  const parts = { line, kind, rest: rest.trim(), flags, escape };
  if (parts.rest === '' && !['ENTRYPOINT', 'CMD', 'SHELL'].includes(kind))
    throw parseError(
      line.line,
      kind === 'RUN' ||
        kind === 'HEALTHCHECK' ||
        kind === 'VOLUME' ||
        kind === 'EXPOSE' ||
        kind === 'ENV' ||
        kind === 'LABEL' ||
        kind === 'ARG'
        ? `${kind} requires at least one argument`
        : `${kind} requires ${kind === 'COPY' || kind === 'ADD' ? 'at least two arguments, but only zero were provided. Destination could not be determined' : 'exactly one argument'}`,
    );
  return { line: line.line, text: line.text, ...read(parts) } as Instruction;
}

type Reader = (parts: Parts) => Record<string, unknown>;

const READERS: Readonly<Record<string, Reader>> = {
  ARG: readArg,
  ENV: readPairs,
  LABEL: readPairs,
  RUN: readRun,
  COPY: readCopy,
  ADD: readCopy,
  WORKDIR: readValue,
  USER: readValue,
  STOPSIGNAL: readValue,
  MAINTAINER: readValue,
  EXPOSE: (parts) => ({ kind: 'EXPOSE', values: splitWords(noFlags(parts), parts.escape) }),
  VOLUME: readVolume,
  CMD: readCommand,
  ENTRYPOINT: readCommand,
  SHELL: readShell,
  HEALTHCHECK: readHealthCheck,
  ONBUILD: readOnBuild,
};

/** @throws BuildError for a flag that the instruction does not have, or that BuildKit alone has */
function knownFlags(
  line: LogicalLine,
  kind: string,
  flags: Flags,
  known: readonly string[],
  bare: readonly string[] = [],
): Map<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of flags) {
    if (BUILDKIT_FLAGS[kind]?.includes(name) === true)
      throw new BuildError(`dockerfile line ${line.line}: the --${name} option ${BUILDKIT}`);
    if (!known.includes(name) && !bare.includes(name))
      throw parseError(line.line, `unknown flag: --${name.slice(0, 100)}`);
    if (found.has(name) && !bare.includes(name)) throw parseError(line.line, `duplicate flag specified: ${name}`);
    if (value === undefined && !bare.includes(name)) throw parseError(line.line, `missing a value on flag: ${name}`);
    found.set(name, value ?? 'true');
  }
  return found;
}

const BUILDKIT_FLAGS: Readonly<Record<string, readonly string[]>> = {
  RUN: ['mount', 'network', 'security', 'device'],
  COPY: ['parents', 'exclude'],
  ADD: ['keep-git-dir', 'checksum', 'exclude', 'unpack'],
};

function noFlags({ line, kind, flags, rest }: Parts): string {
  knownFlags(line, kind, flags, []);
  return rest;
}

function readArg(parts: Parts): Record<string, unknown> {
  const args = splitWords(noFlags(parts), parts.escape).map((word) => {
    const equals = word.indexOf('=');
    const name = equals < 0 ? word : word.slice(0, equals);
    if (name === '') throw parseError(parts.line.line, 'ARG names can not be blank');
    return equals < 0 ? { name } : { name, value: word.slice(equals + 1) };
  });
  return { kind: 'ARG', args };
}

function readPairs(parts: Parts): Record<string, unknown> {
  const pairs = namedValues(noFlags(parts), parts.escape);
  if (pairs === undefined)
    throw parseError(
      parts.line.line,
      `${parts.kind} must have two arguments, or names with their values: ${parts.kind} name=value`,
    );
  if (pairs.some(([name]) => name === '')) throw parseError(parts.line.line, `${parts.kind} names can not be blank`);
  return { kind: parts.kind, pairs };
}

function readValue(parts: Parts): Record<string, unknown> {
  return { kind: parts.kind, value: noFlags(parts) };
}

/** A JSON list, or text for the shell. */
function commandOf(text: string): CommandLine {
  const words = jsonWords(text);
  return words === undefined ? { form: 'shell', text } : { form: 'exec', words };
}

function readCommand(parts: Parts): Record<string, unknown> {
  return { kind: parts.kind, command: commandOf(noFlags(parts)) };
}

function readRun(parts: Parts): Record<string, unknown> {
  knownFlags(parts.line, 'RUN', parts.flags, []);
  return { kind: 'RUN', command: commandOf(parts.rest), heredocs: parts.line.heredocs };
}

function readCopy({ line, kind, flags, rest, escape }: Parts): Record<string, unknown> {
  const known = knownFlags(line, kind, flags, kind === 'COPY' ? ['from', 'chown', 'chmod'] : ['chown', 'chmod'], [
    'link',
  ]);
  const words = jsonWords(rest) ?? splitWords(rest, escape);
  const destination = words.at(-1);
  if (words.length < 2 || destination === undefined)
    throw parseError(
      line.line,
      `${kind} requires at least two arguments, but only one was provided. Destination could not be determined`,
    );
  if (heredocWord(destination) !== undefined)
    throw parseError(line.line, `${kind} cannot accept a heredoc as a destination`);
  const isHeredoc = (word: string): boolean => line.heredocs.length > 0 && heredocWord(word) !== undefined;
  const [from, owner, mode] = [known.get('from'), known.get('chown'), known.get('chmod')];
  return {
    kind,
    ...(from === undefined ? {} : { from }),
    ...(owner === undefined ? {} : { owner }),
    ...(mode === undefined ? {} : { mode }),
    sources: words.slice(0, -1).filter((word) => !isHeredoc(word)),
    heredocs: line.heredocs,
    destination,
  };
}

function readVolume(parts: Parts): Record<string, unknown> {
  const text = noFlags(parts);
  const values = jsonWords(text) ?? splitWords(text, parts.escape);
  if (values.length === 0 || values.some((value) => value.trim() === ''))
    throw parseError(parts.line.line, 'VOLUME specified can not be an empty string');
  return { kind: 'VOLUME', values };
}

function readShell(parts: Parts): Record<string, unknown> {
  const words = jsonWords(noFlags(parts));
  if (words === undefined || words.length === 0)
    throw parseError(parts.line.line, 'SHELL requires the arguments to be in JSON form');
  return { kind: 'SHELL', words };
}

function readOnBuild(parts: Parts): Record<string, unknown> {
  const trigger = parts.line.text.slice(parts.line.text.length - parts.rest.length).trim();
  const kind = /^\S+/.exec(trigger)?.[0]?.toUpperCase() ?? '';
  if (kind === 'ONBUILD') throw parseError(parts.line.line, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (kind === 'FROM' || kind === 'MAINTAINER')
    throw parseError(parts.line.line, `${kind} isn't allowed as an ONBUILD trigger`);
  if (parts.line.heredocs.length > 0)
    throw parseError(parts.line.line, 'a heredoc in an ONBUILD trigger is not supported');
  parseInstruction({ line: parts.line.line, text: trigger, heredocs: [] }, parts.escape);
  return { kind: 'ONBUILD', trigger };
}

function readHealthCheck({ line, flags, rest }: Parts): Record<string, unknown> {
  const known = knownFlags(line, 'HEALTHCHECK', flags, [
    'interval',
    'timeout',
    'start-period',
    'start-interval',
    'retries',
  ]);
  const [, type = '', command = ''] = /^(\S+)\s*([^]*)$/.exec(rest) ?? [];
  if (type.toUpperCase() === 'NONE') {
    if (command !== '') throw parseError(line.line, 'HEALTHCHECK NONE takes no arguments');
    return { kind: 'HEALTHCHECK', check: 'NONE' };
  }
  if (type.toUpperCase() !== 'CMD')
    throw parseError(line.line, `unknown type ${JSON.stringify(type)} in HEALTHCHECK (try CMD)`);
  if (command === '') throw parseError(line.line, 'missing command after HEALTHCHECK CMD');
  const retries = known.get('retries');
  if (retries !== undefined && !/^\d{1,6}$/.test(retries))
    throw parseError(line.line, `--retries must be at least 0 (not ${JSON.stringify(retries)})`);
  const check: HealthCheck = { command: commandOf(command) };
  const durations = {
    interval: 'interval',
    timeout: 'timeout',
    'start-period': 'startPeriod',
    'start-interval': 'startInterval',
  } as const;
  for (const [name, field] of Object.entries(durations)) {
    const text = known.get(name);
    if (text !== undefined) check[field] = duration(text, name, line.line);
  }
  if (retries !== undefined) check.retries = Number(retries);
  return { kind: 'HEALTHCHECK', check };
}

const UNITS: Readonly<Record<string, number>> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** As Go writes durations: `1m30s`. In nanoseconds. */
function duration(text: string, name: string, line: number): number {
  const parts = [...text.matchAll(/(\d{1,15}(?:\.\d{1,9})?)(ns|us|ms|s|m|h)/g)];
  const total = parts.reduce((sum, [, value, unit]) => sum + Number(value) * (UNITS[unit ?? ''] ?? 0), 0);
  const isWhole = parts.length > 0 && parts.map(([whole]) => whole).join('') === text;
  if (text === '0') return 0;
  if (!isWhole || !Number.isSafeInteger(Math.round(total)))
    throw parseError(line, `invalid duration ${JSON.stringify(text.slice(0, 100))} of --${name}: write 30s or 1m30s`);
  if (total > 0 && total < 1e6) throw parseError(line, `Interval "${name}" cannot be less than 1ms`);
  return Math.round(total);
}
