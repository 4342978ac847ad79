/** The PostgreSQL service within the platform: by an account of its own at the API server. */
import { join } from 'node:path';
import type { Client } from '#cluster/client/client.ts';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import type { Postgres } from '#platform/postgres/postgres.ts';
import { startPostgres } from '#platform/postgres/start.ts';
import type { OwnBroker } from '#platform/services/services.ts';
import { readCa } from '../certificates.ts';
import { registryHost } from '../engine-options.ts';
import type { Instance } from '../instance.ts';
import { ensureSecrets } from '../secrets.ts';
import type { RoleContext } from './role.ts';

/** Undefined where it cannot be had: no reason to have no platform. */
export async function openPostgres(
  instance: Instance,
  client: Client,
  log: RoleContext['log'],
): Promise<Postgres | undefined> {
  const ca = readCa(instance);
  const url = `https://127.0.0.1:${instance.ports.kubernetes}`;
  try {
    return await startPostgres({
      client,
      connect: (token) => createClient(httpsTransport({ url, ca, token })),
      registry: {
        host: registryHost(instance),
        ca,
        username: 'platform',
        password: ensureSecrets(instance).registry.platform,
      },
      dataDirectory: join(instance.dataDirectory, 'platform', 'postgres'),
      log,
    });
  } catch (error) {
    log('error', 'there is no PostgreSQL service', { error: String(error) });
    return undefined;
  }
}

/** As the cloud controller knows it: by a name that stays, while its port does not. */
export function ownBroker({ url, username, password }: Postgres): OwnBroker {
  return {
    name: 'postgres',
    url: 'http://postgres.sampan.internal',
    port: Number(new URL(url).port),
    username,
    password,
  };
}
