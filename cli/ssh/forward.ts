/** Ports of this machine that lead into an instance (`-L`): each connection is made from inside the app. */
import { createServer, type AddressInfo, type Server } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { CliError } from '../errors.ts';
import { note } from '../output.ts';
import { count } from '../sizes.ts';
import type { Connection } from './connection.ts';

export interface Forward {
  /** Where this machine listens; port 0 picks a free one. */
  from: { address: string; port: number };
  to: { host: string; port: number };
}

const PARTS = /^(?:(?<address>\[[^\]]+\]|[^[\]:]+):)?(?<from>\d+):(?<host>\[[^\]]+\]|[^[\]:]+):(?<to>\d+)$/;

/** `[ADDRESS:]PORT:HOST:PORT`; an IPv6 address is in brackets. */
export function parseForward(text: string): Forward {
  const { address, from, host, to } = PARTS.exec(text)?.groups ?? {};
  if (from === undefined || host === undefined || to === undefined)
    throw new CliError(
      `Cannot use ${JSON.stringify(text)} as -L.`,
      'Give [ADDRESS:]PORT:HOST:PORT, for example -L 5432:db.example.com:5432.',
    );
  return {
    from: { address: bare(address ?? 'localhost'), port: port(from) },
    to: { host: bare(host), port: port(to) },
  };
}

/** Resolves when it listens. Connections that the app cannot make are told, and closed. */
export async function openForward({ client }: Connection, { from, to }: Forward): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    client.forwardOut(
      socket.remoteAddress ?? '127.0.0.1',
      socket.remotePort ?? 0,
      to.host,
      to.port,
      (error, channel) => {
        if (error) {
          note(`Cannot connect to ${to.host}:${to.port} from inside the app: ${error.message}.`);
          return socket.destroy();
        }
        // Either may hang up first, and is closed with the other.
        pipeline(socket, channel, socket).catch(() => socket.destroy());
      },
    );
  });
  await new Promise<void>((done, fail) => {
    server.once('error', (error) =>
      fail(
        new CliError(`Cannot listen on ${from.address}:${from.port}: ${error.message}.`, undefined, { cause: error }),
      ),
    );
    server.listen(from.port, from.address, done);
  });
  note(`${from.address}:${(server.address() as AddressInfo).port} leads to ${to.host}:${to.port}.`);
  return server;
}

function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1');
}

function port(text: string): number {
  const number = count(text, '-L');
  if (number <= 65_535) return number;
  throw new CliError(`Cannot use the port ${text} of -L.`, 'Ports end at 65535.');
}
