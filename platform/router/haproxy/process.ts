/** Starting HAProxy so that it outlives us, and finding the one that runs. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { SEARCH_PATH, type Started, startDetached } from '#lib/detached.ts';
import { RouterError } from '../model.ts';
import type { AccessTarget, Files } from './config.ts';
import type { Declared } from './plan.ts';
import { parsePorts } from '../ports.ts';
import { ANSWER_TIMEOUT, CommandSocket, connectUnix } from './socket.ts';
import { isHashSlot } from './state.ts';

/** Long enough for a large configuration; a proxy that is there and still reads it has longer, on a slow machine. */
const START_TIMEOUT = 10_000;
const SLOW_START_TIMEOUT = 60_000;
const run = promisify(execFile);

/** The unit that holds the proxy of an instance where systemd is PID 1. */
export function unitName(instance: string): string {
  return `sampan-${instance}-haproxy`;
}

export async function startProxy(instance: string, files: Files): Promise<Started> {
  try {
    return await startDetached({
      unit: unitName(instance),
      program: 'haproxy',
      // Quiet: after the start it would repeat every change of a server on stderr, for ever.
      words: ['-W', '-q', '-S', `${files.masterSocket},mode,600`, '-f', files.config],
      output: files.output,
      properties: ['Type=exec', 'KillMode=mixed', 'OOMScoreAdjust=-900', 'LimitNOFILE=infinity'],
    });
  } catch (cause) {
    throw new RouterError('proxy-failed', `Cannot start HAProxy as the unit "${unitName(instance)}"`, { cause });
  }
}

/**
 * Waits until the worker answers with this stamp. HAProxy has no event to wait for (its notification is for systemd), so
 * this asks in short steps; it happens only at a start and at a reload.
 */
export async function waitForStamp(files: Files, stamp: string, ended: Promise<string>): Promise<void> {
  let failure: string | undefined;
  void ended.then((output) => {
    failure = output;
  });
  const begun = Date.now();
  for (;;) {
    if (failure !== undefined) throw await startFailure(files, failure);
    if (await answers(files, stamp)) return;
    const waited = Date.now() - begun;
    if (waited > SLOW_START_TIMEOUT || (waited > START_TIMEOUT && !(await masterListens(files)))) {
      const output = await readFile(files.output, 'utf8').catch(() => '');
      throw await startFailure(files, `no answer within ${Math.round(waited / 1000)} s. ${output}`.trim());
    }
    await delay(8);
  }
}

async function masterListens(files: Files): Promise<boolean> {
  return await connectUnix(files.masterSocket).then(
    (socket) => {
      socket.destroy();
      return true;
    },
    () => false,
  );
}

/** The worker answers a moment before the master does. */
async function answers(files: Files, stamp: string): Promise<boolean> {
  try {
    if ((await readEnvironment(files)).stamp !== stamp) return false;
    await readProcesses(files);
    return true;
  } catch {
    return false;
  }
}

/** Quiet as it runs, HAProxy does not say why it ended: the ports and the configuration are looked at again. */
async function startFailure(files: Files, output: string): Promise<RouterError> {
  const config = await readFile(files.config, 'utf8').catch(() => '');
  for (const [, address = '', port = ''] of config.matchAll(/^ {2}bind (\S+):(\d+)/gm)) {
    const code = await listenError(address.replace(/[*[\]]/g, ''), Number(port));
    if (code === undefined) continue;
    const problem = code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be used (${code})`;
    return new RouterError(
      'port-taken',
      `Cannot start HAProxy: port ${port} ${problem}; choose another with --http or --https`,
    );
  }
  const checked = await run('haproxy', ['-c', '-f', files.config], { env: { PATH: SEARCH_PATH } }).then(
    () => '',
    (error: { stderr?: string; message: string }) => error.stderr || error.message,
  );
  return new RouterError('proxy-failed', `Cannot start HAProxy: ${output}. ${checked}`.trim());
}

function listenError(address: string, port: number): Promise<string | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    server.listen({ port, ...(address === '' ? {} : { host: address }) }, () => server.close(() => resolve(undefined)));
  });
}

export interface Environment extends Declared {
  version: string;
  stamp: string;
  http: number;
  https: number;
  /** Ports of TCP routes. */
  tcp: number[];
  /** Where it sends its access log, and the word that it says there. */
  access: AccessTarget;
}

/** What a running proxy was configured with. Rejects with `RouterError` `unavailable` when none runs. */
export async function readEnvironment(files: Files): Promise<Environment> {
  await using socket = await CommandSocket.open(files.commandSocket);
  const [text = '', backends = ''] = await socket.run([{ text: 'show env' }, { text: 'show backend' }]);
  const value = (name: string): string => new RegExp(`^SAMPAN_${name}=(.*)$`, 'm').exec(text)?.[1] ?? '';
  return {
    version: value('VERSION'),
    stamp: value('STAMP'),
    pools: { b: Number(value('POOL')), l: Number(value('LEAST_POOL')), s: Number(value('SERVICE_POOL')) },
    hashed: backends.split('\n').filter(isHashSlot),
    http: Number(value('HTTP')),
    https: Number(value('HTTPS')),
    tcp: parsePorts(value('TCP')),
    access: { port: Number(value('ACCESS')), token: value('TOKEN') },
  };
}

/** The master's process id, and its workers', the current one first. */
export async function readProcesses(files: Files): Promise<{ master: number; workers: number[] }> {
  const lines = (await askMaster(files, 'show proc')).split('\n');
  const pids = (type: string): number[] =>
    lines.map((line) => line.trim().split(/\s+/)).flatMap(([pid, kind]) => (kind === type ? [Number(pid)] : []));
  const [master] = pids('master');
  if (master === undefined) throw new RouterError('unavailable', 'HAProxy does not name its master process');
  return { master, workers: pids('worker') };
}

/** One command to the master; it answers when we have said all, and at a reload not at all. */
export async function askMaster(files: Files, command: string): Promise<string> {
  let socket: Socket;
  try {
    socket = await connectUnix(files.masterSocket);
  } catch (cause) {
    throw new RouterError('unavailable', `Cannot reach HAProxy at "${files.masterSocket}"`, { cause });
  }
  socket.setTimeout(ANSWER_TIMEOUT, () => socket.destroy(new Error('there was no answer within 10 s')));
  socket.end(`${command}\n`);
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of socket) chunks.push(chunk as Buffer);
  } catch (cause) {
    throw new RouterError('unavailable', 'HAProxy closed the connection before it answered', { cause });
  }
  return Buffer.concat(chunks).toString();
}

/** How many files a process that we start may have open. */
export async function openFilesLimit(): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8');
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1] ?? '1024';
  return hard === 'unlimited' ? 1_000_000 : Number(hard);
}

/** Connections that fit the limit of open files: two descriptors each, and some for listeners and everything else. */
export function maxConnections(files: number, listeners: number): number {
  return Math.max(100, Math.min(50_000, Math.floor((files - listeners - 300) / 2)));
}

/** The user that Debian's package makes, when we may change users; else empty, and the workers stay who we are. */
export async function workerUser(): Promise<string> {
  if (process.getuid?.() !== 0) return '';
  return /^haproxy:/m.test(await readFile('/etc/passwd', 'utf8')) ? 'haproxy' : '';
}
