/** A shell or a command in an instance, with the standard streams and the terminal of this process. */
import type { ClientChannel } from 'ssh2';
import { CliError } from '../errors.ts';
import type { Connection } from './connection.ts';

/** As OpenSSH: of what ended without a status. */
const NO_STATUS = 255;

/**
 * What it ends with.
 * @param options.command  undefined: a shell
 * @param options.terminal  it has one, which is this one
 */
export async function converse(
  { client }: Connection,
  { command, terminal }: { command: string | undefined; terminal: boolean },
): Promise<number> {
  const pty = terminal ? { term: process.env.TERM ?? 'xterm', ...size() } : undefined;
  const channel = await new Promise<ClientChannel>((done, fail) => {
    const begun = (error: Error | undefined, opened: ClientChannel): void => {
      if (error) fail(new CliError(`Nothing could be started: ${error.message}.`, undefined, { cause: error }));
      else done(opened);
    };
    if (command === undefined) client.shell(pty ?? false, begun);
    else client.exec(command, pty ? { pty } : {}, begun);
  });
  const restore = terminal ? lendTerminal(channel) : () => undefined;
  try {
    return await attach(channel);
  } finally {
    restore();
  }
}

async function attach(channel: ClientChannel): Promise<number> {
  const { stdin, stdout, stderr } = process;
  const over = new Promise<number>((done) => channel.once('close', (code?: number | null) => done(code ?? NO_STATUS)));
  const told = new Promise<void>((done) => channel.stderr.once('close', () => done()));
  // What ends while more is typed does not want it.
  channel.on('error', () => undefined);
  stdin.pipe(channel);
  channel.pipe(stdout, { end: false });
  channel.stderr.pipe(stderr, { end: false });
  const [code] = await Promise.all([over, told]);
  stdin.unpipe(channel).pause();
  return code;
}

/** Keys go as they are typed, Ctrl-C too; the size follows. Gives it back. */
function lendTerminal(channel: ClientChannel): () => void {
  const { stdin, stdout } = process;
  const resize = (): void => {
    const { rows, cols } = size();
    channel.setWindow(rows, cols, 0, 0);
  };
  if (stdin.isTTY) stdin.setRawMode(true);
  stdout.on('resize', resize);
  return () => {
    stdout.off('resize', resize);
    if (stdin.isTTY) stdin.setRawMode(false);
  };
}

function size(): { rows: number; cols: number } {
  return { rows: process.stdout.rows ?? 24, cols: process.stdout.columns ?? 80 };
}
