/** Commands in a database's pod, by the Kubernetes API: the only way in that its superuser has. */
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Client, PodExecSession } from '#cluster/client/client.ts';
import { CONTAINER } from './objects.ts';
import { NAMESPACE } from './postgres.ts';

/** A command that ended with another status than 0; the message has what it wrote. */
export class CommandError extends Error {
  readonly code = 'command-failed';
  readonly words: string;
  constructor(command: string, status: number, words: string) {
    super(`${command} in the database's pod ended with ${status}: ${words}`);
    this.name = 'CommandError';
    this.words = words;
  }
}

export interface Session {
  /** Runs SQL as the superuser, stopping at the first error; gives what it printed. `\gexec` and `:'name'` are psql's. */
  sql(script: string, options?: { database?: string; variables?: Record<string, string> }): Promise<string>;
  run(command: string[], input?: Readable): Promise<string>;
  /** Standard output as it comes; an error behind it where the command failed. */
  stream(command: string[]): AsyncGenerator<Buffer>;
}

const MOST_WORDS = 2000;

/** Nothing that a database's users have made is found by a name that is meant for PostgreSQL's own; a full volume is written to. */
const OPTIONS = '-c search_path=pg_catalog -c default_transaction_read_only=off -c statement_timeout=0';

export function openSession(client: Client, database: string, signal: AbortSignal): Session {
  const open = (command: string[], stdin: boolean, until = signal): Promise<PodExecSession> =>
    client.exec(
      { name: `${database}-0`, namespace: NAMESPACE },
      { container: CONTAINER, command, stdin, signal: until },
    );

  const run = async (command: string[], input?: Readable): Promise<string> => {
    const session = await open(command, input !== undefined);
    const words = collect(session.stderr);
    const output = collect(session.stdout);
    let refused: unknown;
    if (input !== undefined && session.stdin) {
      // A command that ends early takes no more: its own words say why.
      await pipeline(input, session.stdin).catch((error: unknown) => (refused = error));
    }
    const { code } = await session.exited;
    if (code !== 0) throw new CommandError(command[0] ?? '', code, await words);
    if (refused !== undefined) throw refused;
    return await output;
  };

  return {
    run,
    async sql(script, { database: name = 'postgres', variables = {} } = {}) {
      const settings = Object.entries(variables).flatMap(([key, value]) => ['-v', `${key}=${value}`]);
      const target = `dbname=${name} user=postgres options='${OPTIONS}'`;
      const flags = ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1'];
      // `-c` takes no commands of psql: the script goes to its standard input, here by a shell's own words.
      const shell = ['sh', '-c', 'printf %s "$1" | (shift && exec psql "$@")', 'sh', script];
      return await run([...shell, ...flags, ...settings, target]);
    },
    async *stream(command) {
      // Who takes no more of it ends it.
      const ended = new AbortController();
      try {
        const session = await open(command, false, AbortSignal.any([signal, ended.signal]));
        const words = collect(session.stderr);
        yield* session.stdout as AsyncIterable<Buffer>;
        const { code } = await session.exited;
        if (code !== 0) throw new CommandError(command[0] ?? '', code, await words);
      } finally {
        ended.abort();
      }
    },
  };
}

async function collect(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream as AsyncIterable<Buffer>) text += chunk.toString('utf8');
  return text.trim().slice(0, MOST_WORDS);
}
