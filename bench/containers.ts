/** The same small container on our engine and on its peers: made, started, removed. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startDockerApi } from '#engine/docker-api/server.ts';
import { openEngineHost } from '#testing/engine-host.ts';
import { busyboxLayer, writeOciLayout } from '#testing/oci-layout.ts';
import { dockerCall, startDockerd, startPodman } from './peers.ts';

export interface Subject {
  name: string;
  /** Makes and starts a container, and resolves when its process runs; gives what removes it. */
  start(): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

const command = ['sleep', '1000'];
/** Room for a round of twenty and the pool behind it. */
const idRange = { first: 65_536 * 30_000, length: 65_536 * 64 };

/** @param pool  how many sandboxes the engine keeps ready */
export async function ourEngine(pool: number): Promise<Subject> {
  const host = await openEngineHost({ sandboxPool: pool, idRange });
  const socketPath = join(host.options.runDirectory, 'docker.sock');
  const api = await startDockerApi({ engine: host.engine, socketPath, version: 'bench' });
  return {
    name: 'sampan',
    start: () => overDockerApi(socketPath, host.image),
    async close() {
      await api.close();
      await host[Symbol.asyncDispose]();
    },
  };
}

export async function dockerEngine(): Promise<Subject> {
  const daemon = await startDockerd();
  await withImageArchive((file) => daemon.load(file));
  return {
    name: `dockerd ${daemon.version}`,
    start: () => overDockerApi(daemon.socket, 'bench:latest'),
    close: () => daemon.stop(),
  };
}

/** With runc, as ours; over its own Docker API. */
export async function podmanEngine(): Promise<Subject> {
  const podman = await startPodman();
  await withImageArchive((file) => podman.load(file));
  return {
    name: `podman ${podman.version}`,
    start: () => overDockerApi(podman.socket, 'bench:latest'),
    close: () => podman.stop(),
  };
}

/** `runc run` of runc's own default configuration: no network but a loopback, no log, nobody who learns of its end. */
export async function bareRunc(): Promise<Subject> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-runc-'));
  const rootfs = join(directory, 'rootfs');
  mkdirSync(rootfs);
  writeFileSync(join(directory, 'layer.tar'), await busyboxLayer());
  execFileSync('tar', ['-C', rootfs, '-xf', join(directory, 'layer.tar')]);
  execFileSync('runc', ['spec', '-b', directory]);
  const file = join(directory, 'config.json');
  const spec = JSON.parse(readFileSync(file, 'utf8')) as { process: Record<string, unknown> };
  Object.assign(spec.process, { terminal: false, args: command });
  writeFileSync(file, JSON.stringify(spec));
  // Its descriptors become the container's.
  const runc = async (...words: string[]): Promise<void> => {
    const child = spawn('runc', ['--root', join(directory, 'state'), ...words], { stdio: 'ignore' });
    const [code] = await once(child, 'exit');
    if (code !== 0) throw new Error(`runc ${words.join(' ')} ended with ${code}`);
  };
  let count = 0;
  return {
    name: 'bare runc run',
    async start() {
      const id = `bench-${process.pid}-${count++}`;
      await runc('run', '-d', '-b', directory, id);
      return () => runc('delete', '-f', id);
    },
    async close() {
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** One client for all: create, start. */
async function overDockerApi(socket: string, image: string): Promise<() => Promise<void>> {
  const { Id } = await dockerCall<{ Id: string }>(socket, 'POST', '/containers/create', { Image: image, Cmd: command });
  await dockerCall(socket, 'POST', `/containers/${Id}/start`);
  return () => dockerCall(socket, 'DELETE', `/containers/${Id}?force=true`);
}

async function withImageArchive(load: (file: string) => void): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-image-'));
  await writeOciLayout(join(directory, 'oci'), {
    tag: 'latest',
    layers: [await busyboxLayer()],
    config: { Cmd: ['sh'], Env: ['PATH=/bin'] },
  });
  const archive = join(directory, 'image.tar');
  const to = `docker-archive:${archive}:docker.io/library/bench:latest`;
  execFileSync('skopeo', ['copy', '-q', `oci:${join(directory, 'oci')}:latest`, to]);
  load(archive);
  await rm(directory, { recursive: true });
}
