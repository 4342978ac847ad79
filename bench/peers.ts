/** Peers from Debian packages, run with directories of their own and only while they are measured. */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { removeDockerNetwork, unmountBelow } from './peer-network.ts';

export function installPeer(command: string, name: string): void {
  if (existsSync(`/usr/sbin/${command}`) || existsSync(`/usr/bin/${command}`)) return;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  execFileSync('apt-get', ['-qq', 'update'], { env, stdio: 'inherit' });
  execFileSync('apt-get', ['-qq', '-y', '--no-install-recommends', 'install', name], { env, stdio: 'inherit' });
}

export interface Dockerd {
  version: string;
  call<T>(method: string, path: string, body?: unknown): Promise<T>;
  load(file: string): void;
  socket: string;
  stop(): Promise<void>;
}

const bridgeAddress = '10.251.251.1';

/** A dockerd on a bridge of its own. Stopped, it leaves its bridge and rules: those are removed too. */
export async function startDockerd(): Promise<Dockerd> {
  installPeer('dockerd', 'docker.io');
  const directory = mkdtempSync(join(tmpdir(), 'bench-dockerd-'));
  const socket = join(directory, 'docker.sock');
  const words = join(directory, 'log');
  const log = openSync(words, 'a');
  const child = spawn(
    'dockerd',
    [
      '-H',
      `unix://${socket}`,
      '--data-root',
      join(directory, 'data'),
      '--exec-root',
      join(directory, 'exec'),
      '--pidfile',
      join(directory, 'pid'),
      '--bip',
      `${bridgeAddress}/24`,
      '--log-level',
      'error',
    ],
    { stdio: ['ignore', log, log] },
  );
  closeSync(log);
  const call = <T>(method: string, path: string, body?: unknown): Promise<T> =>
    dockerCall<T>(socket, method, path, body);
  for (let round = 0; ; round++) {
    try {
      const { Version } = await call<{ Version: string }>('GET', '/version');
      return {
        version: Version,
        socket,
        call,
        load: (file) =>
          void execFileSync('docker', ['-H', `unix://${socket}`, 'load', '-i', file], { stdio: 'ignore' }),
        async stop() {
          const ended = new Promise((done) => child.once('close', done));
          child.kill('SIGTERM');
          await ended;
          removeDockerNetwork(bridgeAddress, bridgeAddress.replace(/\d+$/, '0/24'));
          unmountBelow(directory);
          rmSync(directory, { recursive: true, force: true });
        },
      };
    } catch (error) {
      if (round > 300 || child.exitCode !== null)
        throw new Error(`dockerd did not start: ${readFileSync(words, 'utf8').slice(-1000)}`, { cause: error });
      await delay(100);
    }
  }
}

/** One call of the Docker Engine API. */
export function dockerCall<T>(socketPath: string, method: string, path: string, body?: unknown): Promise<T> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((done, fail) => {
    const call = request(
      {
        socketPath,
        path: `/v1.41${path}`,
        method,
        headers: text ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } : {},
      },
      (response) => {
        let answer = '';
        response.setEncoding('utf8').on('data', (part: string) => (answer += part));
        response.once('end', () => {
          if ((response.statusCode ?? 500) >= 400)
            fail(new Error(`${method} ${path}: ${response.statusCode} ${answer}`));
          else done((answer ? JSON.parse(answer) : undefined) as T);
        });
      },
    );
    call.once('error', fail);
    call.end(text);
  });
}
