/** Logins of registries that an app was given for its builds. */
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { readLogins, type RegistryLogins, registriesSecretName } from '../../resources/registry-logins.ts';
import type { Build } from '../../resources/types.ts';

export async function loginsOf(client: Client, build: Stored<Build>): Promise<RegistryLogins> {
  const { app, lifecycle } = build.spec;
  if (lifecycle.type === 'docker' || lifecycle.credentials !== true) return {};
  return await readLogins(client, registriesSecretName(app), build.metadata.namespace ?? '');
}
