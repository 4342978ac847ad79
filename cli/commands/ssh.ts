/** Into an instance of an app: a shell, a command, its ports. */
import { once } from 'node:events';
import { requireApp, type SpaceContext } from '../context.ts';
import { print } from '../output.ts';
import { count } from '../sizes.ts';
import { connect, SSH_PROXY } from '../ssh/connection.ts';
import { openForward, parseForward } from '../ssh/forward.ts';
import { converse } from '../ssh/session.ts';
import { requireProcess } from './processes.ts';

export interface SshFlags {
  appInstanceIndex?: string;
  process?: string;
  command?: string;
  L?: string[];
  skipRemoteExecution?: boolean;
  requestPseudoTty?: boolean;
  disablePseudoTty?: boolean;
}

/** Ends with the status of what ran there. */
export async function ssh(context: SpaceContext, name: string, options: SshFlags): Promise<void> {
  const { command } = options;
  const { api } = context;
  const forwards = (options.L ?? []).map(parseForward);
  const index = count(options.appInstanceIndex ?? '0', '-i');
  const app = await requireApp(context, name);
  const { guid } = await requireProcess(api, app, options.process ?? 'web');
  const connection = await connect(api, { app: name, process: guid, index });
  try {
    for (const forward of forwards) await openForward(connection, forward);
    if (options.skipRemoteExecution) return await untilInterrupted(connection.closed);
    const terminal =
      options.requestPseudoTty ?? (command === undefined && process.stdin.isTTY && !options.disablePseudoTty);
    process.exitCode = await converse(connection, { command, terminal });
  } finally {
    connection.client.end();
  }
}

export async function sshCode({ api }: SpaceContext): Promise<void> {
  print(await api.oneTimeCode(SSH_PROXY));
}

async function untilInterrupted(closed: Promise<void>): Promise<void> {
  await Promise.race([closed, once(process, 'SIGINT'), once(process, 'SIGTERM')]);
}
