/** The engine alone in the foreground: containers, images, the registry and the Docker API, without cluster and platform. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Risk } from '#engine/engine.ts';
import { ensureCertificates } from '../certificates.ts';
import { registryHost } from '../engine-options.ts';
import { HostError } from '../host-error.ts';
import { type Instance, type InstanceFlags, lockInstance, prepareInstance } from '../instance.ts';
import { startNodeEngine } from '../node-engine.ts';
import { ensureSecrets } from '../secrets.ts';
import { isReady } from '../supervise.ts';

/** Each names a risk that whoever may use the socket may then take; see `Risk` in `engine/engine.ts`. */
export interface EngineFlags {
  /** Directories of the host that containers may mount and change. */
  allowBind?: string[];
  /** Devices of the host, or directories of them. */
  allowDevice?: string[];
  allowUnconfined?: boolean;
  allowHostNamespaces?: boolean;
  allowPrivileged?: boolean;
  /** OCI runtime: a name on the PATH or an absolute path. */
  runtime?: string;
  /** Watermarks of the disk, in percent. */
  diskHigh?: string;
  diskLow?: string;
}

export async function engine(flags: InstanceFlags, options: EngineFlags): Promise<void> {
  requirePaths('--allow-bind', options.allowBind, '/srv/data');
  requirePaths('--allow-device', options.allowDevice, '/dev/fuse');
  const instance = await prepared(flags);
  const node = await startNodeEngine(instance, {
    allowedBinds: options.allowBind ?? [],
    allowedDevices: options.allowDevice ?? [],
    allowedRisks: risks(options),
    ...(options.runtime === undefined ? {} : { runtime: options.runtime }),
    diskWatermarks: {
      ...(options.diskHigh === undefined ? {} : { highPercent: Number(options.diskHigh) }),
      ...(options.diskLow === undefined ? {} : { lowPercent: Number(options.diskLow) }),
    },
    onError: (what, error) => void process.stderr.write(`engine: ${what}: ${String(error)}\n`),
  });
  process.stdout.write(
    `Engine ready. Registry: https://${registryHost(instance)}\n  export DOCKER_HOST=unix://${node.socketPath}\n`,
  );
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  await node.close();
  process.exit(0);
}

function requirePaths(flag: string, paths: readonly string[] = [], example: string): void {
  for (const path of paths) {
    if (path.startsWith('/') && existsSync(path)) continue;
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(path)} as ${flag}: it is not an absolute path of something that is there.`,
      `Give an absolute path, for example ${flag} ${example}.`,
    );
  }
}

function risks({ allowUnconfined, allowHostNamespaces, allowPrivileged }: EngineFlags): Risk[] {
  const flags: [Risk, boolean | undefined][] = [
    ['unconfined', allowUnconfined],
    ['host-namespaces', allowHostNamespaces],
    ['privileged', allowPrivileged],
  ];
  return flags.filter(([, given]) => given === true).map(([risk]) => risk);
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
