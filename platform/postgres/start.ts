/** Starts broker and controller: see `postgres.ts`. */
import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import type { Client } from '#cluster/client/client.ts';
import { createInformer } from '#cluster/client/informer.ts';
import { once } from '#lib/once.ts';
import { SingleFlight } from '#lib/single-flight.ts';
import { RegistryClient, type RegistryOptions } from '../staging/images/registry-client.ts';
import { accountToken, ensureAccess, untilAllowed } from './access.ts';
import { openAuthority } from './authority.ts';
import { openBackupStore } from './backups/store.ts';
import { startBrokerServer } from './broker/server.ts';
import type { PostgresContext } from './controller/context.ts';
import { lazyWatches, startController } from './controller/controller.ts';
import { ensureImage, forgetUnused } from './image/image.ts';
import { currentRecipe, type Recipe } from './image/recipe.ts';
import { keptSecret } from '../resources/secrets.ts';
import { PLANS } from './plans.ts';
import { type Log, NAMESPACE, type Plan, type Postgres } from './postgres.ts';
import { postgresDatabases } from './resource.ts';
import { openSession } from './session.ts';

export interface PostgresOptions {
  /** The platform's own: gives the broker its account. The definitions must be installed. */
  client: Client;
  /** A client of the same API server with this token. */
  connect: (token: () => Promise<string>) => Client;
  registry: RegistryOptions;
  /** For temporary files while the image is made, and nothing else: it is emptied. */
  dataDirectory: string;
  /** Default `cluster.local`. */
  clusterDomain?: string;
  plans?: readonly Plan[];
  /** Of the databases' image; default: what this release of the platform makes. */
  recipe?: Recipe;
  now?: () => number;
  log: Log;
}

export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const { log } = options;
  await ensureAccess(options.client);
  const stop = new AbortController();
  const client = options.connect(accountToken(options.client));
  await untilAllowed(client);
  const registry = new RegistryClient(options.registry);
  const recipe = options.recipe ?? (await currentRecipe());
  const onError = (error: unknown): void =>
    log('warn', 'The watch of PostgreSQL databases broke off; it is tried again', { error: String(error) });
  const databases = createInformer(client, postgresDatabases, { namespace: NAMESPACE, onError });
  const images = new SingleFlight<string>();
  const watches = lazyWatches({ client, log });
  const context: PostgresContext = {
    client,
    databases,
    watches: watches.open,
    backups: openBackupStore(registry),
    plans: options.plans ?? PLANS,
    recipe,
    image: () =>
      images.run(recipe.hash, stop.signal, async (signal) => {
        // What a process that was killed has left there is of no use.
        await rm(options.dataDirectory, { recursive: true, force: true });
        await mkdir(options.dataDirectory, { recursive: true, mode: 0o700 });
        const image = await ensureImage({ registry, recipe, temporaryDirectory: options.dataDirectory, signal });
        await databases.synced;
        const used = databases
          .list()
          .flatMap(({ status }) => [status?.image ?? [], status?.previous?.image ?? []].flat());
        await forgetUnused(registry, [image, ...used]);
        return image;
      }),
    session: (database) => openSession(client, database, stop.signal),
    authority: once(() => openAuthority(client)),
    clusterDomain: options.clusterDomain ?? 'cluster.local',
    log,
    now: options.now ?? Date.now,
    signal: stop.signal,
  };
  const controller = startController(context, watches.onOpen);
  const kept = await keptSecret(client, { metadata: { name: 'broker-login', namespace: NAMESPACE } }, () =>
    Promise.resolve({ password: randomBytes(24).toString('base64url') }),
  );
  const login = { username: 'platform', password: kept['password'] ?? '' };
  const server = await startBrokerServer(context, login);
  return {
    url: `http://127.0.0.1:${server.port}`,
    ...login,
    async close() {
      await server.close();
      stop.abort();
      await controller.close();
      watches.close();
      databases.close();
      registry.close();
    },
  };
}
