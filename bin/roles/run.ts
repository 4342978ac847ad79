/** Runs one of the three processes of an instance until it is told to end. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StoreError } from '#cluster/store/store.ts';
import { HostError } from '../host-error.ts';
import { instanceText, readInstance, replaceFile } from '../instance.ts';
import { failedFile, type Role, readyFile, roles } from '../supervise.ts';
import type { RoleContext, RunningRole } from './role.ts';
import { settle } from './settle.ts';

export async function runRole(words: string[]): Promise<void> {
  const role = words[0] as Role;
  const data = words[words.indexOf('--data') + 1];
  if (!roles.includes(role) || !data)
    throw new HostError(
      'invalid-flag',
      'A role is run as `role server|agent|platform --data DIRECTORY`.',
      'Use `sampan up`.',
    );
  const instance = readInstance({ data });
  if (!instance) throw new HostError('no-instance', `There is no instance in ${data}.`, 'Start it with `sampan up`.');
  mkdirSync(instance.runDirectory, { recursive: true, mode: 0o711 });
  replaceFile(join(instance.runDirectory, 'instance.json'), instanceText(instance));
  const [ready, failed] = [readyFile(instance, role), failedFile(instance, role)];
  for (const file of [ready, failed]) rmSync(file, { force: true });

  const stop = new AbortController();
  const log: RoleContext['log'] = (level, message, fields) =>
    void process.stderr.write(
      `${JSON.stringify({ time: new Date().toISOString(), level, role, message, ...fields })}\n`,
    );
  process.on('uncaughtException', (error) => {
    log('error', 'the process ends: an error was not handled', { error: error.stack ?? String(error) });
    process.exit(1);
  });

  const context: RoleContext = { instance, signal: stop.signal, log };
  const running = await start(role, context).catch((error: unknown) => {
    // What nothing but somebody's hand can mend is told at once to who waits.
    const isLasting =
      (error instanceof HostError && error.code !== 'conflict') ||
      (error instanceof StoreError && (error.code === 'corrupt' || instance.store === undefined));
    if (isLasting) writeFileSync(failed, `${error.message}\n`);
    throw error;
  });
  writeFileSync(ready, `${process.pid}\n`);
  log('info', 'ready', { milliseconds: Math.round(performance.now()) });
  settle(stop.signal).catch((error: unknown) =>
    log('warn', 'what the start has left is kept', { error: String(error) }),
  );

  await new Promise<void>((done) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => done());
  });
  rmSync(ready, { force: true });
  stop.abort(new Error('the process was asked to end'));
  await running.close();
  process.exit(0);
}

async function start(role: Role, context: RoleContext): Promise<RunningRole> {
  if (role === 'server') return (await import('./server.ts')).startServer(context);
  if (role === 'agent') return (await import('./agent.ts')).startAgentRole(context);
  return (await import('./platform.ts')).startPlatform(context);
}
