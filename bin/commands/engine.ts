/** The engine alone in the foreground: containers, images, the registry and the Docker API, without cluster and platform. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ensureCertificates } from '../certificates.ts';
import { registryHost } from '../engine-options.ts';
import { HostError } from '../host-error.ts';
import { type Instance, type InstanceFlags, lockInstance, prepareInstance } from '../instance.ts';
import { startNodeEngine } from '../node-engine.ts';
import { ensureSecrets } from '../secrets.ts';
import { isReady } from '../supervise.ts';

export interface EngineFlags {
  /** Directories of the host that containers may mount: whoever may use the socket may then change what lies there. */
  allowBind?: string[];
}

export async function engine(flags: InstanceFlags, options: EngineFlags): Promise<void> {
  for (const directory of options.allowBind ?? []) {
    if (directory.startsWith('/') && existsSync(directory)) continue;
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(directory)} as --allow-bind: it is not an absolute path of a directory that is there.`,
      'Give an absolute path, for example --allow-bind /srv/data.',
    );
  }
  const instance = await prepared(flags);
  const node = await startNodeEngine(instance, {
    allowedBinds: options.allowBind ?? [],
    onError: (what, error) => void process.stderr.write(`engine: ${what}: ${String(error)}\n`),
  });
  process.stdout.write(
    `Engine ready. Registry: https://${registryHost(instance)}\n  export DOCKER_HOST=unix://${node.socketPath}\n`,
  );
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  await node.close();
  process.exit(0);
}

async function prepared(flags: InstanceFlags): Promise<Instance> {
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
    await ensureCertificates(instance);
    ensureSecrets(instance);
    return instance;
  } finally {
    release();
  }
}
