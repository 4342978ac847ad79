/**
 * Keeps the nats-server of an instance running. It stands outside our process, as HAProxy does: one that runs is adopted,
 * one that ended is started again at once (and more slowly when it keeps ending). It keeps nothing, so it may be killed at any time.
 */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { startDetached, stopUnit } from '#lib/detached.ts';
import { findProgram } from '#lib/find-program.ts';
import { type Bus, BusError, type BusPasswords } from './bus.ts';
import { type BusConnection, connectBus } from './client.ts';
import { busConfig, type BusFiles, busFiles } from './config.ts';

export interface BusServerOptions {
  instance: string;
  /** `<data>/bus` */
  dataDirectory: string;
  port: number;
  passwords: BusPasswords;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface BusServer {
  /** The platform's own connection: by it the server is watched. */
  readonly bus: Bus;
  /** Stops watching; the server goes on. */
  close(): Promise<void>;
}

const FIRST_WAIT = 100;
const LAST_WAIT = 5000;
/** One that lasted so long is started again at once. */
const STEADY = 10_000;
const TERMINATION = 3000;

const unitName = (instance: string): string => `sampan-${instance}-nats`;

/** Resolves when it was started, or found; its connection comes by itself, now or later. */
export async function openBusServer(options: BusServerOptions): Promise<BusServer> {
  const files = busFiles(options.dataDirectory);
  await mkdir(options.dataDirectory, { recursive: true, mode: 0o700 });
  await adoptOrStart(options, files);
  const { port, passwords, log } = options;
  const bus = connectBus({ port, role: 'platform', password: passwords.platform, log });
  const stop = new AbortController();
  const kept = keep(options, files, bus, stop.signal);
  return {
    bus,
    async close() {
      stop.abort();
      await kept;
      await bus.close();
    },
  };
}

/** Ends the server of an instance. Idempotent. */
export async function stopBusServer(options: Pick<BusServerOptions, 'instance' | 'dataDirectory'>): Promise<void> {
  const pids = await serversOf(busFiles(options.dataDirectory));
  if (pids.length === 0) return;
  await end(pids);
  await stopUnit(unitName(options.instance));
}

/** One with another configuration, of another version of ours for instance, is replaced. */
async function adoptOrStart(options: BusServerOptions, files: BusFiles): Promise<void> {
  const wanted = busConfig({ ...options, files });
  const pids = await serversOf(files);
  const kept = await readFile(files.config, 'utf8').catch(() => '');
  if (pids.length === 1 && kept === wanted) return;
  await end(pids);
  await writeFileAtomic(files.config, wanted, { mode: 0o600 });
  await start(options, files);
}

async function start({ instance, log }: BusServerOptions, files: BusFiles): Promise<void> {
  if (findProgram('nats-server') === undefined) {
    throw new BusError(
      'missing',
      'Cannot start the message bus: there is no nats-server; install the package nats-server',
    );
  }
  const { ended } = await startDetached({
    unit: unitName(instance),
    program: 'nats-server',
    words: ['-c', files.config],
    output: files.output,
    properties: ['Type=exec', 'OOMScoreAdjust=-500', 'LimitNOFILE=65536'],
  });
  void ended.then((said) => log('warn', 'The message bus has ended', { said: said.slice(-500) }));
}

/** A connection that broke is the sign that it may have ended; until there is one again, it is looked at. */
async function keep(
  options: BusServerOptions,
  files: BusFiles,
  bus: BusConnection,
  signal: AbortSignal,
): Promise<void> {
  let wait = FIRST_WAIT;
  let began = Date.now();
  for (;;) {
    await bus.lost(signal);
    if (signal.aborted) return;
    if (Date.now() - began > STEADY) wait = FIRST_WAIT;
    if ((await serversOf(files)).length === 0) {
      began = Date.now();
      await start(options, files).catch((error: unknown) =>
        options.log('error', 'The message bus cannot be started: tried again', { error: String(error) }),
      );
    }
    await delay(wait, undefined, { signal }).catch(() => undefined);
    wait = Math.min(LAST_WAIT, wait * 2);
  }
}

/** By their command line: a pid file may be of a second one that ended at once, as the port was taken. */
async function serversOf(files: BusFiles): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    // It ended meanwhile.
    const words = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    const [program = '', ...rest] = words.split('\0');
    if (program.endsWith('nats-server') && rest.includes(files.config)) found.push(Number(name));
  }
  return found;
}

async function end(pids: number[]): Promise<void> {
  const begun = Date.now();
  for (let left = pids; left.length > 0; left = left.filter(isAlive)) {
    for (const pid of left) signalProcess(pid, Date.now() - begun > TERMINATION ? 'SIGKILL' : 'SIGTERM');
    await delay(10);
  }
}

function signalProcess(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    return false;
  }
}

function isAlive(pid: number): boolean {
  return signalProcess(pid, 0);
}
