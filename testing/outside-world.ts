/** A machine beyond this host, as far as IPv6 goes: a network namespace with a link here, and a server that tells who asks. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { promisify } from 'node:util';

const finish = promisify(execFile);

export interface OutsideWorld {
  /** This host's address on the link. */
  readonly host: string;
  /** Of the machine. */
  readonly address: string;
  readonly port: number;
  /** What a program says that is run on the machine; rejects where it fails, or takes longer than a minute. */
  run(program: string, ...words: string[]): Promise<string>;
  /** A route on the machine by this host. */
  routeTo(range: string): void;
  [Symbol.asyncDispose](): Promise<void>;
}

const SERVER = `require('node:http').createServer((request, response) => response.end(request.socket.remoteAddress))
  .listen(8080, () => console.log('listens'));`;

export async function openOutsideWorld(): Promise<OutsideWorld> {
  const name = `sampan-out-${process.pid}`;
  const link = `out${process.pid}`;
  const prefix = `fd77:${randomInt(65_536).toString(16)}:${randomInt(65_536).toString(16)}`;
  const ip = (...words: string[]): void => void execFileSync('ip', words);
  ip('netns', 'add', name);
  ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
  ip('address', 'add', `${prefix}::1/64`, 'dev', link, 'nodad');
  ip('link', 'set', link, 'up');
  ip('-n', name, 'address', 'add', `${prefix}::2/64`, 'dev', 'eth0', 'nodad');
  ip('-n', name, 'link', 'set', 'eth0', 'up');
  ip('-n', name, 'link', 'set', 'lo', 'up');
  const server = spawn('ip', ['netns', 'exec', name, process.execPath, '-e', SERVER], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(server.stdout, 'data');
  return {
    host: `${prefix}::1`,
    address: `${prefix}::2`,
    port: 8080,
    run: async (program, ...words) =>
      (await finish('ip', ['netns', 'exec', name, program, ...words], { timeout: 60_000 })).stdout,
    routeTo: (range) => ip('-n', name, 'route', 'add', range, 'via', `${prefix}::1`),
    async [Symbol.asyncDispose]() {
      server.kill('SIGKILL');
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
      ip('link', 'delete', link);
      ip('netns', 'delete', name);
    },
  };
}
