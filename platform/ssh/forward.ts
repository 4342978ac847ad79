/** `-L`: connections that are made inside the app's container, each by a program that passes bytes on. */
import type { Readable } from 'node:stream';
import type { ServerChannel } from 'ssh2';
import type { Client } from '#cluster/client/client.ts';
import { CONNECTED, relayCommand } from './commands.ts';
import { copy } from './copy.ts';
import type { SshTarget } from './ssh.ts';

/** Names and addresses; nothing that a path or an option could be. */
const HOST = /^(?=.{1,253}$)[A-Za-z0-9:]([A-Za-z0-9.:_-]*[A-Za-z0-9.:])?$/;
const CONNECT_MILLISECONDS = 30_000;
/** Between the end of a relay's input and its own. */
const RELAY_MILLISECONDS = 5_000;

export interface ForwardOptions {
  client: Client;
  target: SshTarget;
  to: { host: string; port: number };
  /** The client's connection is over. */
  signal: AbortSignal;
}

/** @param accept  called when the connection is there; rejects before where it cannot be made */
export async function forward(options: ForwardOptions, accept: () => ServerChannel): Promise<void> {
  const { client, target, to } = options;
  if (!HOST.test(to.host) || !Number.isInteger(to.port) || to.port < 1 || to.port > 65_535) {
    throw new Error(`Cannot connect to ${JSON.stringify(to.host.slice(0, 80))} port ${to.port}: it is no address`);
  }
  const gone = new AbortController();
  const session = await client.exec(target.pod, {
    container: target.container,
    command: relayCommand(to.host, to.port),
    stdin: true,
    signal: AbortSignal.any([options.signal, gone.signal]),
  });
  // It ends by itself when its input does; killed, it would leave others behind.
  const hangUp = (): void => {
    session.stdin?.end();
    const patience = setTimeout(() => gone.abort(), RELAY_MILLISECONDS);
    session.exited.catch(() => undefined).finally(() => clearTimeout(patience));
  };
  try {
    await connected(session.stderr);
    const channel = accept();
    const closed = new Promise<void>((done) => channel.once('close', () => done()));
    channel.on('error', () => undefined); // Its close says as much.
    session.stdin?.on('error', () => undefined);
    session.stderr.resume();
    // The client may say that no more comes, and still be answered: the relay's input stays open until the channel is closed.
    if (session.stdin) channel.pipe(session.stdin, { end: false });
    await Promise.race([copy(session.stdout, channel), closed]);
    channel.end();
    channel.close();
    await closed;
  } finally {
    hangUp();
  }
}

/** Rejects with what the relay says instead. */
async function connected(stderr: Readable): Promise<void> {
  const late = setTimeout(() => stderr.destroy(new Error('no connection in time')), CONNECT_MILLISECONDS);
  let said = '';
  try {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes(CONNECTED)) resolve();
    });
    stderr.once('end', () => reject(new Error(said.trim().split('\n').at(-1) || 'the connection was refused')));
    stderr.once('error', reject);
    await promise;
  } finally {
    clearTimeout(late);
    stderr.removeAllListeners('data');
  }
}
