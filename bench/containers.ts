/** The same small container on our engine and on its peers: made, started, removed. */
import { mkdtemp, rm } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxLayer, writeOciLayout } from '#testing/oci-layout.ts';
import { openEngineHost } from '#testing/engine-host.ts';
import { startDockerd } from './peers.ts';

export interface Subject {
  name: string;
  /** Makes and starts a container with a network, and resolves when its process runs; gives what removes it. */
  start(): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

const command = ['sleep', '1000'];
/** Room for a round of twenty and the pool behind it. */
const idRange = { first: 65_536 * 30_000, length: 65_536 * 64 };

/** Through the engine's own contract: sandbox with address, container, start. */
export async function ourEngine(pool: number): Promise<Subject> {
  const host = await openEngineHost({ sandboxPool: pool, idRange });
  let count = 0;
  return {
    name: 'sampan',
    async start() {
      const sandbox = await host.engine.createSandbox({ name: `bench-${count++}`, hostname: 'bench' });
      const container = await host.engine.createContainer({
        sandbox: sandbox.id,
        name: 'main',
        image: host.image,
        command,
        limits: { diskBytes: 1024 ** 3 },
      });
      await host.engine.startContainer(container.id);
      return () => host.engine.removeSandbox(sandbox.id);
    },
    close: () => host[Symbol.asyncDispose](),
  };
}

/** Through its HTTP API on a unix socket: create, start. */
export async function dockerEngine(): Promise<Subject> {
  const daemon = await startDockerd();
  const directory = await mkdtemp(join(tmpdir(), 'bench-image-'));
  await writeOciLayout(join(directory, 'oci'), {
    tag: 'latest',
    layers: [await busyboxLayer()],
    config: { Cmd: ['sh'], Env: ['PATH=/bin'] },
  });
  execFileSync('skopeo', [
    'copy',
    '-q',
    `oci:${join(directory, 'oci')}:latest`,
    `docker-archive:${join(directory, 'image.tar')}:bench:latest`,
  ]);
  daemon.load(join(directory, 'image.tar'));
  await rm(directory, { recursive: true });
  return {
    name: `dockerd ${daemon.version}`,
    async start() {
      const { Id } = await daemon.call<{ Id: string }>('POST', '/containers/create', {
        Image: 'bench:latest',
        Cmd: command,
      });
      await daemon.call('POST', `/containers/${Id}/start`);
      return () => daemon.call('DELETE', `/containers/${Id}?force=true`);
    },
    close: () => daemon.stop(),
  };
}
