/** Opens staging: bits, builds, and what both need in the registry. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '#cluster/client/client.ts';
import type { AddressGuard } from '#lib/guarded-address.ts';
import { Turns } from '#lib/turns.ts';
import type { Logs } from '../logs/logs.ts';
import { createBits } from './bits/bits.ts';
import { type Builder, ensureBuilder, shippedBuildpacks, shippedOrder } from './builder/builder.ts';
import { startBuildController } from './builds/controller.ts';
import { hostEnvironment, npmRegistry } from './builds/host-environment.ts';
import { listedName, wantedBuildpacks } from './buildpack-names.ts';
import { catalogueOf } from './catalogue.ts';
import { DOCKERFILE_BUILDPACK, type DockerfileBuilder } from './dockerfiles/dockerfiles.ts';
import { createDropletFiles } from './droplets/droplets.ts';
import { rebaseDroplet } from './droplets/rebase.ts';
import { createBuildpackFiles } from './uploaded-buildpacks.ts';
import { RegistryClient, type RegistryOptions } from './images/registry-client.ts';
import { createDebianRuntimes } from './runtimes/debian-runtimes.ts';
import { STACK_NAME } from './stack/recipe.ts';
import { type Staging, StagingError } from './staging.ts';

export interface StagingOptions {
  client: Client;
  logs: Pick<Logs, 'emit'>;
  registry: RegistryOptions;
  /** Holds temporary files while the stack is built. */
  dataDirectory: string;
  /** Which addresses the registries may have that users' images are in. */
  guard: AddressGuard;
  /** Absent: source with a Dockerfile is not built. */
  dockerfiles?: DockerfileBuilder;
  /** Builds at once; default 2. */
  concurrency?: number;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
  signal?: AbortSignal;
}

export async function startStaging(options: StagingOptions): Promise<Staging> {
  const { client, logs, log } = options;
  const registry = new RegistryClient(options.registry);
  const [shipped, order] = await Promise.all([shippedBuildpacks(), shippedOrder()]);
  const listed = shipped.map(({ id, version }, index) => ({
    name: listedName(id),
    version,
    position: index + 1,
    stack: STACK_NAME,
  }));
  listed.push({ name: DOCKERFILE_BUILDPACK, version: '1.0.0', position: listed.length + 1, stack: STACK_NAME });
  const registryOfNpm = npmRegistry();
  const stop = new AbortController();
  let builder: Promise<Builder> | undefined;
  const listeners = new Set<(message: string) => void>();

  const temporaryDirectory = join(options.dataDirectory, 'staging');

  const make = async (edition?: string): Promise<Builder> => {
    await mkdir(temporaryDirectory, { recursive: true, mode: 0o700 });
    return await ensureBuilder({
      registry,
      temporaryDirectory,
      npm: registryOfNpm === undefined ? {} : { registry: registryOfNpm },
      ...(edition === undefined ? {} : { edition }),
      onProgress: (message) => {
        for (const listener of listeners) listener(message);
      },
      signal: stop.signal,
    });
  };

  /** Made once; a failure is tried again by whoever asks next. */
  const prepared = (): Promise<Builder> => {
    // What a process that was killed has left there is of no use; nobody works there before there is a builder.
    builder ??= rm(temporaryDirectory, { recursive: true, force: true })
      .then(() => make())
      .catch((error: unknown) => {
        builder = undefined;
        throw error;
      });
    return builder;
  };

  const runtimes = createDebianRuntimes({
    registry,
    temporaryDirectory,
    stack: async () => (await prepared()).base,
    signal: stop.signal,
  });

  /** Builds go on with the old one until the new one is whole. */
  const updateStack = async (): Promise<void> => {
    await prepared();
    builder = Promise.resolve(await make(new Date().toISOString()));
    for (const name of await runtimes.made()) {
      await runtimes
        .provide([name], (message) => log('info', message))
        .catch((error: unknown) => {
          // What Debian has no more, apps have still; who rebases one is told.
          if (!(error instanceof StagingError)) throw error;
          log('warn', `The runtime ${name} cannot be made anew: ${error.message}`);
        });
    }
  };
  const updates = new Turns();

  const controller = startBuildController({
    client,
    registry,
    builder: prepared,
    runtimes,
    guard: options.guard,
    environment: hostEnvironment(),
    dockerfiles: options.dockerfiles,
    concurrency: options.concurrency ?? 2,
    wanted: (lifecycle, changes) =>
      wantedBuildpacks(lifecycle, { catalogue: catalogueOf({ ...changes, shipped: listed }), shipped, order }),
    say: (app, message) => logs.emit({ sourceId: app, sourceType: 'STG', message }),
    log,
  });
  const close = async () => {
    stop.abort();
    await controller.close();
    registry.close();
  };
  options.signal?.addEventListener('abort', () => void close(), { once: true });

  return {
    bits: createBits(registry),
    droplets: {
      ...createDropletFiles(registry),
      rebase: (input) => rebaseDroplet({ registry, builder: prepared, runtimes }, input),
    },
    buildpackFiles: createBuildpackFiles(registry),
    async prepare(onProgress) {
      if (onProgress !== undefined) listeners.add(onProgress);
      try {
        await prepared();
      } finally {
        if (onProgress !== undefined) listeners.delete(onProgress);
      }
    },
    updateStack: () => updates.take(updateStack),
    buildpacks: () => listed,
    close,
  };
}
