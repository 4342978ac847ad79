/**
 * Keeps the three processes of an instance running: by systemd units where systemd is PID 1, else by a keeper, a shell
 * loop in a session of its own. Either restarts what ends, at once the first time and more slowly when it keeps ending.
 *
 * Whatever a role starts outside itself (HAProxy, conmon) is left alone when the role ends: see systemd.ts; and the
 * keeper signals one process id only.
 */
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  closeSync,
  watch,
} from 'node:fs';
import { basename, join } from 'node:path';
import { HostError } from './host-error.ts';
import type { Instance } from './instance.ts';
import {
  canBackOff,
  environmentText,
  networkSettings,
  startUnits,
  stopUnits,
  systemdIsInit,
  unitLogTail,
  unitName,
} from './systemd.ts';

export type Role = 'server' | 'agent' | 'platform';
export const roles: Role[] = ['server', 'agent', 'platform'];

const entry = new URL('./sampan.ts', import.meta.url).pathname;
/** Named before Node starts: the compiler of TypeScript, and its memory, are then needed for new sources only. */
const compileCache = '/var/cache/sampan/compile';
export const nodeFlags = ['--experimental-ffi', '--disable-warning=ExperimentalWarning', '--expose-gc'];
/**
 * A process at rest collects nothing: what its start left in the young generation stays, tens of megabytes of it at the default size. Only the
 * server makes so much garbage under load that a large one saves it time.
 */
const youngGeneration: Record<Role, string[]> = {
  server: [],
  agent: ['--max-semi-space-size=4'],
  platform: ['--max-semi-space-size=4'],
};

function command(instance: Instance, role: Role): string[] {
  return [
    process.execPath,
    ...nodeFlags,
    ...youngGeneration[role],
    entry,
    'role',
    role,
    '--data',
    instance.dataDirectory,
  ];
}

const keeperPid = (instance: Instance, role: Role): string => join(instance.runDirectory, `${role}.keeper`);
const rolePid = (instance: Instance, role: Role): string => join(instance.runDirectory, `${role}.pid`);
export const readyFile = (instance: Instance, role: Role): string => join(instance.runDirectory, `${role}.ready`);
/** What keeps it from starting until somebody mends it. */
export const failedFile = (instance: Instance, role: Role): string => join(instance.runDirectory, `${role}.failed`);
export const logFile = (instance: Instance, role: Role): string => join(instance.dataDirectory, 'log', `${role}.log`);

/** Starts what does not run. What runs already is left as it is. */
export function startRoles(instance: Instance, which: Role[] = roles): void {
  mkdirSync(instance.runDirectory, { recursive: true, mode: 0o711 });
  mkdirSync(join(instance.dataDirectory, 'log'), { recursive: true, mode: 0o700 });
  // What kept one from starting before may be mended: its next try tells.
  for (const role of which) rmSync(failedFile(instance, role), { force: true });
  if (systemdIsInit()) {
    const environment = { ...networkSettings(process.env), NODE_COMPILE_CACHE: compileCache };
    const environmentFile = join(instance.dataDirectory, 'environment');
    writeFileSync(environmentFile, environmentText(environment), { mode: 0o600 });
    const shared = { instance: instance.name, environmentFile, canBackOff: canBackOff() };
    startUnits(which.map((role) => ({ ...shared, role, command: command(instance, role) })));
  } else for (const role of which) startKeeper(instance, role);
}

// The keeper: $1 is the role's pid file, $2 its log, the rest the command. A role that lasted 10 s is restarted at once.
const keeperScript = `
pidfile=$1 log=$2; shift 2
wait=0.1
trap 'stop=1; kill "$child" 2>/dev/null' TERM INT
while [ -z "$stop" ]; do
  if [ "$(stat -c %s "$log" 2>/dev/null || echo 0)" -gt 10485760 ]; then mv -f "$log" "$log.1"; fi
  begun=$(cut -d . -f 1 /proc/uptime)
  "$@" </dev/null >>"$log" 2>&1 &
  child=$!
  echo $child >"$pidfile"
  wait $child
  [ -z "$stop" ] || { wait $child; break; }
  now=$(cut -d . -f 1 /proc/uptime)
  if [ $((now - begun)) -ge 10 ]; then wait=0.1; fi
  sleep $wait
  case $wait in 0.1) wait=0.5 ;; 0.5) wait=2 ;; *) wait=5 ;; esac
done
rm -f "$pidfile"
`;

function startKeeper(instance: Instance, role: Role): void {
  const keeper = readPid(keeperPid(instance, role));
  if (keeper && isKeeper(keeper, instance, role)) return;
  // Its keeper is gone: a role that still runs would be kept by nobody, so it is started anew under a new keeper.
  for (const orphan of processesOf(instance, role)) killAndWait(orphan);
  rmSync(readyFile(instance, role), { force: true });
  const log = openSync(logFile(instance, role), 'a', 0o600);
  const child = spawn(
    '/bin/sh',
    [
      '-c',
      keeperScript,
      `sampan-keeper-${instance.name}-${role}`,
      rolePid(instance, role),
      logFile(instance, role),
      ...command(instance, role),
    ],
    { detached: true, stdio: ['ignore', log, log], cwd: '/', env: cleanEnvironment() },
  );
  closeSync(log);
  if (!child.pid)
    throw new HostError(
      'io',
      `Cannot start the keeper of ${role}.`,
      'Look at the number of processes and the free memory.',
    );
  writeFileSync(keeperPid(instance, role), `${child.pid}\n`);
  child.unref();
}

function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('SAMPAN_') || name === 'SAMPAN_DEBUG');
  return { ...Object.fromEntries(kept), NODE_COMPILE_CACHE: compileCache };
}

/** Ends the roles, the last started first; apps and HAProxy go on. Resolves when their processes are gone. */
export async function stopRoles(instance: Instance, which: Role[] = roles): Promise<void> {
  const order = [...which].reverse();
  if (systemdIsInit()) {
    stopUnits(instance.name, order);
    for (const role of order)
      for (const path of [readyFile(instance, role), failedFile(instance, role)]) rmSync(path, { force: true });
    return;
  }
  for (const role of order) {
    const keeper = readPid(keeperPid(instance, role));
    if (keeper && isKeeper(keeper, instance, role)) await endProcess(keeper, 15_000);
    for (const child of processesOf(instance, role)) await endProcess(child, 10_000);
    for (const file of [keeperPid, rolePid, readyFile, failedFile]) rmSync(file(instance, role), { force: true });
  }
}

/** Resolves when each role wrote its ready file; rejects with its last log lines when it takes too long. */
export async function waitReady(
  instance: Instance,
  options: { milliseconds: number; roles?: Role[]; signal?: AbortSignal },
): Promise<void> {
  const missing = (): Role[] => (options.roles ?? roles).filter((role) => !isReady(instance, role));
  if (missing().length === 0) return;
  await new Promise<void>((done, fail) => {
    const finish = (error?: Error): void => {
      watcher.close();
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', aborted);
      if (error) fail(error);
      else done();
    };
    const aborted = (): void => finish(options.signal?.reason as Error);
    const look = (): void => {
      const failure = failureOf(instance, options.roles ?? roles);
      if (failure !== undefined) finish(failure);
      else if (missing().length === 0) finish();
    };
    const watcher = watch(instance.runDirectory, look);
    const timer = setTimeout(() => {
      const late = missing();
      finish(
        new HostError(
          'not-ready',
          `The platform did not become ready in ${options.milliseconds / 1000} s: ${late.join(', ')} did not report. The last lines of ${late[0]}:\n${tailOf(instance, late[0] ?? 'server')}`,
          systemdIsInit()
            ? `Read \`journalctl -u ${unitName(instance.name, late[0] ?? 'server')}\`.`
            : `Read ${logFile(instance, late[0] ?? 'server')}.`,
        ),
      );
    }, options.milliseconds);
    options.signal?.addEventListener('abort', aborted);
    look();
  });
}

function failureOf(instance: Instance, which: readonly Role[]): HostError | undefined {
  for (const role of which) {
    const text = textOf(failedFile(instance, role)).trim();
    if (text === '') continue;
    return new HostError(
      'not-ready',
      `The ${role} cannot start: ${text}.`,
      `Mend it; it is tried again every few seconds. ${systemdIsInit() ? `\`journalctl -u ${unitName(instance.name, role)}\`` : logFile(instance, role)} says more.`,
    );
  }
  return undefined;
}

/** A role is ready when the process that said so still runs. */
export function isReady(instance: Instance, role: Role): boolean {
  return readyPid(instance, role) !== undefined;
}

export function readyPid(instance: Instance, role: Role): number | undefined {
  const pid = readPid(readyFile(instance, role));
  return pid !== undefined && isRole(pid, instance, role) ? pid : undefined;
}

function tailOf(instance: Instance, role: Role): string {
  if (systemdIsInit()) return unitLogTail(instance.name, role);
  try {
    return readFileSync(logFile(instance, role), 'utf8').split('\n').slice(-12).join('\n');
  } catch {
    return '(no log)';
  }
}

function readPid(path: string): number | undefined {
  return Number(textOf(path)) || undefined;
}

/** Empty where there is no such file: roles remove theirs at any moment. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

function words(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return []; // it ended
  }
}

function isKeeper(pid: number, instance: Instance, role: Role): boolean {
  return words(pid).includes(`sampan-keeper-${instance.name}-${role}`);
}

/** Also one whose keeper was killed before it wrote down that it had begun it. */
function processesOf(instance: Instance, role: Role): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(Number)
    .filter((pid) => isRole(pid, instance, role));
}

function isRole(pid: number, instance: Instance, role: Role): boolean {
  const line = words(pid);
  const at = line.indexOf('role');
  return (
    at > 0 &&
    basename(line[at - 1] ?? '') === 'sampan.ts' &&
    line[at + 1] === role &&
    line.includes(instance.dataDirectory)
  );
}

function killAndWait(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
  while (existsSync(`/proc/${pid}/exe`)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
}

async function endProcess(pid: number, milliseconds: number): Promise<void> {
  try {
    process.kill(pid, 'SIGTERM');
    const until = Date.now() + milliseconds;
    while (isAlive(pid)) {
      if (Date.now() > until) process.kill(pid, 'SIGKILL');
      await new Promise((done) => setTimeout(done, 20));
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
