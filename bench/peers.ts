/** Peers from Debian packages, run with directories of their own and only while they are measured. */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
  return await startDaemon(
    'dockerd',
    (directory) => [
      ['-H', `unix://${join(directory, 'docker.sock')}`, '--pidfile', join(directory, 'pid')],
      ['--data-root', join(directory, 'data'), '--exec-root', join(directory, 'exec')],
      ['--bip', `${bridgeAddress}/24`, '--log-level', 'error'],
    ],
    () => removeDockerNetwork(bridgeAddress, bridgeAddress.replace(/\d+$/, '0/24')),
  );
}

/** podman's service with a Docker API, on directories of its own; its containers are runc's and conmon's, as ours are. */
export async function startPodman(): Promise<Dockerd> {
  installPeer('podman', 'podman');
  installPeer('dnsmasq', 'dnsmasq-base');
  const bridge = 'cni-podman0';
  const wasThere = existsSync(`/sys/class/net/${bridge}`);
  return await startDaemon(
    'podman',
    (directory) => {
      // Its own default is more than a host may give.
      writeFileSync(
        join(directory, 'containers.conf'),
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n',
      );
      return [
        ['--root', join(directory, 'data'), '--runroot', join(directory, 'run'), '--network-config-dir', directory],
        ['--runtime', 'runc', '--cgroup-manager', 'cgroupfs', '--storage-driver', 'overlay', '--log-level', 'error'],
        ['system', 'service', '-t', '0', `unix://${join(directory, 'docker.sock')}`],
      ];
    },
    () => {
      if (!wasThere) execFileSync('ip', ['link', 'delete', bridge], { stdio: 'ignore' });
    },
  );
}

async function startDaemon(
  program: string,
  words: (directory: string) => string[][],
  cleanUp: () => void,
): Promise<Dockerd> {
  const directory = mkdtempSync(join(tmpdir(), `bench-${program}-`));
  const socket = join(directory, 'docker.sock');
  const said = join(directory, 'log');
  const log = openSync(said, 'a');
  const env = { ...process.env, CONTAINERS_CONF: join(directory, 'containers.conf') };
  const child = spawn(program, words(directory).flat(), { stdio: ['ignore', log, log], env });
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
          cleanUp();
          unmountBelow(directory);
          rmSync(directory, { recursive: true, force: true });
        },
      };
    } catch (error) {
      if (round > 300 || child.exitCode !== null)
        throw new Error(`${program} did not start: ${readFileSync(said, 'utf8').slice(-1000)}`, { cause: error });
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
