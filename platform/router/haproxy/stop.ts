/** Ends HAProxy: it stops listening at once, finishes what it has, and is ended after the drain time. */
import { readFile, rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { stopUnit } from '#lib/detached.ts';
import { RouterError } from '../model.ts';
import type { Files } from './config.ts';
import { readProcesses, unitName } from './process.ts';
import { connectUnix } from './socket.ts';

const TERMINATION = 3000;

/** Idempotent. Rejects with `RouterError` `proxy-failed` when HAProxy survives everything. */
export async function endProxy(instance: string, files: Files, drainSeconds: number): Promise<void> {
  const master = await readProcesses(files).then(
    (processes) => processes.master,
    () => undefined,
  );
  if (master !== undefined) await end(master, files.masterSocket, drainSeconds * 1000);
  if (master !== undefined) await stopUnit(unitName(instance));
  for (const path of [files.masterSocket, files.commandSocket]) await rm(path, { force: true });
  await forgetApps(files.saved);
}

/** Whoever starts again finds the ports it had, and no apps of before. */
async function forgetApps(path: string): Promise<void> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return;
  await writeFileAtomic(path, JSON.stringify({ ...(JSON.parse(text) as object), boot: '' }), { mode: 0o600 });
}

async function end(pid: number, masterSocket: string, drain: number): Promise<void> {
  let socket: Awaited<ReturnType<typeof connectUnix>>;
  try {
    socket = await connectUnix(masterSocket);
  } catch {
    // Nobody listens: it has ended already.
    return;
  }
  const ended = new Promise<boolean>((resolve) => {
    socket.once('close', () => resolve(true));
    socket.on('error', () => socket.destroy());
    socket.resume();
  });
  const steps: [NodeJS.Signals, number][] = [
    ['SIGUSR1', drain],
    ['SIGTERM', TERMINATION],
    ['SIGKILL', TERMINATION],
  ];
  for (const [signal, patience] of steps) {
    process.kill(pid, signal);
    const timer = new AbortController();
    const late = delay(patience, false, { signal: timer.signal }).catch(() => false);
    const done = await Promise.race([ended, late]);
    timer.abort();
    if (done) return;
  }
  socket.destroy();
  throw new RouterError('proxy-failed', `HAProxy (process ${pid}) does not end`);
}
