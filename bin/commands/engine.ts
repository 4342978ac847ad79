/** The engine alone in the foreground: containers, images, the registry and the Docker API, without cluster and platform. */
import { once } from 'node:events';
import { join } from 'node:path';
import { prepareDoors, remoteText } from '../docker-door.ts';
import { registryHost } from '../engine-options.ts';
import { HostError } from '../host-error.ts';
import type { Instance, InstanceFlags } from '../instance.ts';
import { lockInstance } from '../instance-lock.ts';
import { prepareInstance } from '../prepare-instance.ts';
import { startNodeEngine } from '../node-engine.ts';
import { requireRoot } from '../preflight.ts';
import { type EngineFlags, type TcpAddress, engineSettings, requirePaths } from './engine-flags.ts';
import { ensureSecrets } from '../secrets.ts';
import { isReady } from '../supervise.ts';

export async function engine(flags: InstanceFlags, options: EngineFlags): Promise<void> {
  requireRoot('The engine');
  requirePaths(options);
  const settings = engineSettings(options);
  const { tcp } = settings;
  const instance = await prepared(flags, tcp);
  const node = await startNodeEngine(instance, {
    ...settings,
    onError: (what, error) => void process.stderr.write(`engine: ${what}: ${String(error)}\n`),
  });
  process.stdout.write(
    `Engine ready. Registry: https://${registryHost(instance)}\n  export DOCKER_HOST=unix://${node.socketPath}\n`,
  );
  if (tcp !== undefined && node.tcpPort !== undefined)
    process.stdout.write(remoteText(instance, { host: tcp.host, port: node.tcpPort }));
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  await node.close();
  process.exit(0);
}

async function prepared(flags: InstanceFlags, tcp: TcpAddress | undefined): Promise<Instance> {
  const release = await lockInstance(flags);
  try {
    const instance = await prepareInstance(flags);
    if (isReady(instance, 'agent')) {
      throw new HostError(
        'conflict',
        `The instance ${instance.name} is up, and its node runs the engine already.`,
        `Use its socket ${join(instance.runDirectory, 'docker.sock')}, or give another --name and --data.`,
      );
    }
    await prepareDoors(instance, tcp);
    ensureSecrets(instance);
    return instance;
  } finally {
    release();
  }
}
