/**
 * `/containers/{id}/top`: ps(1)'s table of a container, from /proc. Docker starts the host's ps and picks lines; here nothing is
 * started, so the formats are those that are asked for: `-ef`, `aux`, and `-o` with columns. Process ids are the host's, as there.
 */
import type { ContainerProcess } from '../verbs.ts';
import { answerJson, type Call, findContainer } from './call.ts';
import { DockerError } from './errors.ts';

interface Column {
  title: string;
  value: (process: ContainerProcess, now: number, memoryBytes: number) => string;
}

const share = (part: number, whole: number): string => ((100 * part) / Math.max(1, whole)).toFixed(1);
const lifetime = ({ startedAt }: ContainerProcess, now: number): number => Math.max(1, now - startedAt);
const userName = ({ uid }: ContainerProcess): string => (uid === 0 ? 'root' : uid < 0 ? 'nobody' : String(uid));

const COLUMNS: Readonly<Record<string, Column>> = {
  user: { title: 'USER', value: userName },
  uid: { title: 'UID', value: ({ uid }) => String(uid) },
  gid: { title: 'GID', value: ({ gid }) => String(gid) },
  pid: { title: 'PID', value: ({ pid }) => String(pid) },
  ppid: { title: 'PPID', value: ({ parent }) => String(parent) },
  c: { title: 'C', value: (one, now) => String(Math.round((100 * one.cpuMilliseconds) / lifetime(one, now))) },
  pcpu: { title: '%CPU', value: (one, now) => share(one.cpuMilliseconds, lifetime(one, now)) },
  pmem: { title: '%MEM', value: ({ residentBytes }, _now, memory) => share(residentBytes, memory) },
  vsz: { title: 'VSZ', value: ({ virtualBytes }) => String(Math.floor(virtualBytes / 1024)) },
  rss: { title: 'RSS', value: ({ residentBytes }) => String(Math.floor(residentBytes / 1024)) },
  tty: { title: 'TTY', value: ({ terminal }) => terminal },
  tt: { title: 'TT', value: ({ terminal }) => terminal },
  stat: { title: 'STAT', value: ({ state }) => state },
  state: { title: 'S', value: ({ state }) => state },
  ni: { title: 'NI', value: ({ nice }) => String(nice) },
  nlwp: { title: 'NLWP', value: ({ threads }) => String(threads) },
  stime: { title: 'STIME', value: ({ startedAt }, now) => startText(startedAt, now) },
  start: { title: 'START', value: ({ startedAt }, now) => startText(startedAt, now) },
  etime: { title: 'ELAPSED', value: (one, now) => elapsedText(lifetime(one, now)) },
  etimes: { title: 'ELAPSED', value: (one, now) => String(Math.floor(lifetime(one, now) / 1000)) },
  time: { title: 'TIME', value: ({ cpuMilliseconds }) => cpuText(cpuMilliseconds) },
  comm: { title: 'COMMAND', value: ({ name }) => name },
  args: { title: 'COMMAND', value: ({ command }) => command },
  cmd: { title: 'CMD', value: ({ command }) => command },
};
const ALIASES: Readonly<Record<string, string>> = {
  command: 'args',
  '%cpu': 'pcpu',
  '%mem': 'pmem',
  rssize: 'rss',
  vsize: 'vsz',
  euser: 'user',
  euid: 'uid',
  s: 'state',
  nice: 'ni',
  thcount: 'nlwp',
  ucmd: 'comm',
  cputime: 'time',
  bsdstart: 'start',
};
/** ps calls the user's column UID there. */
const FULL: readonly [string, string?][] = [
  ['user', 'UID'],
  ['pid'],
  ['ppid'],
  ['c'],
  ['stime'],
  ['tty'],
  ['time'],
  ['cmd'],
];
const BSD: readonly [string, string?][] = [
  ...(['user', 'pid', 'pcpu', 'pmem', 'vsz', 'rss', 'tty', 'stat', 'start', 'time'] as const).map((name): [string] => [
    name,
  ]),
  ['args'],
];
const SHORT: readonly [string, string?][] = [['pid'], ['tty'], ['time'], ['comm', 'CMD']];

export async function containerTop(call: Call): Promise<void> {
  const container = findContainer(call, call.path['id'] ?? '');
  const columns = readColumns(call.query.get('ps_args') || '-ef');
  if (call.docker.isRestarting(container.id))
    throw new DockerError(409, `Container ${container.id} is restarting, wait until the container is running`);
  if (container.state !== 'running') throw new DockerError(409, `container ${container.id} is not running`);
  const rows = await call.engine.processes(container.id);
  const now = Date.now();
  const { memoryBytes } = call.engine.info();
  answerJson(call, {
    Titles: columns.map(({ title }) => title),
    Processes: rows.map((row) => columns.map(({ value }) => value(row, now, memoryBytes))),
  });
}

/** @throws DockerError 400 for what ps knows and we do not */
export function readColumns(text: string): Column[] {
  const words = text.trim().split(/\s+/);
  const wanted: [string, string?][] = [];
  let format: readonly [string, string?][] | undefined;
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] ?? '';
    const output = /^(-?[eA]*o|--format(?:=|$))(.*)$/.exec(word);
    if (output !== null) {
      const list = output[2] || (words[(index += 1)] ?? '');
      wanted.push(...list.split(',').filter(Boolean).map(columnOf));
    } else if (/^-?(ef|eF|Af)$/.test(word)) format = FULL;
    else if (/^-?a?u?x?u?w*$/.test(word) && word.includes('u')) format = BSD;
    else if (/^-?(e|A|ax|x|a)$/.test(word)) format ??= SHORT;
    else throw refused(text);
  }
  const columns = (wanted.length > 0 ? wanted : (format ?? SHORT)).map(([name, title]) => {
    const column = COLUMNS[name];
    if (column === undefined) throw refused(text);
    return title === undefined ? column : { ...column, title };
  });
  if (!columns.some(({ title }) => title === 'PID')) throw new DockerError(400, "Couldn't find PID field in ps output");
  return columns;
}

/** `pid`, or with a title of its own: `pid=NUMBER`. */
function columnOf(text: string): [string, string?] {
  const [name = '', title] = text.split('=', 2);
  const known = ALIASES[name.toLowerCase()] ?? name.toLowerCase();
  if (!Object.hasOwn(COLUMNS, known))
    throw new DockerError(
      400,
      `ps: unknown column ${JSON.stringify(name)}; known are ${Object.keys(COLUMNS).join(', ')}`,
    );
  return title === undefined || title === '' ? [known] : [known, title];
}

function refused(text: string): DockerError {
  return new DockerError(
    400,
    `ps: ${JSON.stringify(text.slice(0, 100))} is not supported; use -ef, aux, or -o with columns such as pid,user,args`,
  );
}

function startText(startedAt: number, now: number): string {
  const date = new Date(startedAt);
  const text = date.toString();
  return now - startedAt < 86_400_000 ? text.slice(16, 21) : text.slice(4, 7) + text.slice(8, 10);
}

function cpuText(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

/** `[[DD-]HH:]MM:SS`. */
function elapsedText(milliseconds: number): string {
  const days = Math.floor(milliseconds / 86_400_000);
  const rest = cpuText(milliseconds % 86_400_000);
  return days > 0 ? `${String(days).padStart(2, '0')}-${rest}` : rest.replace(/^00:/, '');
}
