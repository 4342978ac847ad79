/** One session of a client: at most one shell, command or transfer of files, in the app's container. */
import type { ServerChannel, Session } from 'ssh2';
import { type Client, ApiError, type PodExecSession } from '#cluster/client/client.ts';
import { shellCommand } from './commands.ts';
import { copy } from './copy.ts';
import { serveSftp } from './sftp/serve.ts';
import type { SshTarget } from './ssh.ts';

interface TerminalSize {
  columns: number;
  rows: number;
}

interface SessionOptions {
  client: Client;
  target: SshTarget;
  /** The client's connection is over. */
  signal: AbortSignal;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

const MAX_COMMAND = 64 * 1024;
const TERMINAL = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/;

export function serveSession(session: Session, options: SessionOptions): void {
  let terminal: { name: string; size: TerminalSize } | undefined;
  let running: PodExecSession | undefined;
  const resize = (): void => {
    if (terminal) running?.resize(terminal.size);
  };
  const start = (channel: ServerChannel, command?: string): void => {
    run(channel, { ...options, command, terminal: terminal?.name }, (begun) => {
      running = begun;
      resize();
    }).catch((error: unknown) => options.log('warn', 'An ssh session broke off', { app: options.target.app, error }));
  };
  session.on('pty', (accept, _reject, info) => {
    // A name that is none would be read from files by programs.
    const name = TERMINAL.test(info.term ?? '') ? String(info.term) : 'xterm';
    terminal = { name, size: sizeOf(info) };
    accept?.();
  });
  session.on('window-change', (accept, _reject, info) => {
    if (terminal) terminal.size = sizeOf(info);
    accept?.();
    resize();
  });
  // As OpenSSH does with names that it is not told to take: nothing, and no failure.
  session.on('env', (accept) => accept?.());
  session.on('shell', (accept) => start(accept()));
  session.on('exec', (accept, reject, info) => {
    if (info.command.length > MAX_COMMAND || info.command.includes('\0')) return reject?.();
    start(accept(), info.command);
  });
  session.on('subsystem', (accept, reject, info) => {
    if (info.name !== 'sftp') return reject?.();
    transfer(accept(), options).catch((error: unknown) =>
      options.log('warn', 'A transfer of files by ssh broke off', { app: options.target.app, error }),
    );
  });
}

async function transfer(channel: ServerChannel, options: SessionOptions): Promise<void> {
  const signal = AbortSignal.any([options.signal, goneWith(channel)]);
  try {
    await serveSftp(channel, { ...options, signal });
    channel.exit(0);
  } catch (error) {
    if (signal.aborted) return;
    channel.stderr.write(`${reasonOf(error)}\r\n`);
    channel.exit(255);
  }
  channel.end();
}

function goneWith(channel: ServerChannel): AbortSignal {
  const gone = new AbortController();
  channel.once('close', () => gone.abort(new Error('The client closed the channel')));
  channel.on('error', () => gone.abort(new Error('The channel broke')));
  return gone.signal;
}

function sizeOf({ cols, rows }: { cols: number; rows: number }): TerminalSize {
  const bounded = (value: number, fallback: number) => (value >= 1 && value <= 10_000 ? value : fallback);
  return { columns: bounded(cols, 80), rows: bounded(rows, 24) };
}

async function run(
  channel: ServerChannel,
  options: SessionOptions & { command: string | undefined; terminal: string | undefined },
  onBegun: (session: PodExecSession) => void,
): Promise<void> {
  const { client, target, command, terminal } = options;
  const signal = AbortSignal.any([options.signal, goneWith(channel)]);
  try {
    const session = await client.exec(target.pod, {
      container: target.container,
      command: shellCommand(target, {
        ...(command === undefined ? {} : { command }),
        ...(terminal === undefined ? {} : { terminal }),
      }),
      stdin: true,
      tty: terminal !== undefined,
      signal,
    });
    onBegun(session);
    const code = await converse(channel, session);
    channel.exit(code);
  } catch (error) {
    if (signal.aborted) return;
    channel.stderr.write(`${reasonOf(error)}\r\n`);
    channel.exit(255);
  }
  channel.end();
}

async function converse(channel: ServerChannel, session: PodExecSession): Promise<number> {
  const { stdin } = session;
  if (stdin) {
    // A process may end, or close its input, while more comes: that is its right.
    for (const event of ['error', 'close']) stdin.on(event, () => channel.resume());
    channel.pipe(stdin);
  }
  await Promise.all([copy(session.stdout, channel), copy(session.stderr, channel.stderr)]);
  return (await session.exited).code;
}

function reasonOf(error: unknown): string {
  if (error instanceof ApiError && error.code === 404) return 'The instance is gone. Try again.';
  return `The session could not be held: ${error instanceof Error ? error.message : String(error)}`;
}
