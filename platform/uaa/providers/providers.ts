/** Identity providers besides UAA itself, in the store: objects, and a Secret each for what the provider knows UAA by. */
import { createHash } from 'node:crypto';
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { secrets } from '../../resources/kubernetes.ts';
import { type IdentityProvider, identityProviders, systemNamespace } from '../../resources/types.ts';

export async function findProvider(client: Client, origin: string): Promise<Stored<IdentityProvider> | undefined> {
  return await orUndefined(client.get(identityProviders, providerId(origin)));
}

export async function listProviders(client: Client): Promise<Stored<IdentityProvider>[]> {
  const { items } = await client.list(identityProviders);
  return items.sort((a, b) => (a.spec.origin < b.spec.origin ? -1 : 1));
}

/** Origins take more characters than names of objects. */
export function providerId(origin: string): string {
  return createHash('sha256').update(origin).digest('hex').slice(0, 32);
}

export async function readProviderSecret(client: Client, origin: string): Promise<string | undefined> {
  const secret = await orUndefined(client.get(secrets, secretName(origin), systemNamespace));
  return secret && Buffer.from(secret.data?.['secret'] ?? '', 'base64').toString();
}

export async function writeProviderSecret(client: Client, origin: string, secret: string): Promise<void> {
  const data = { secret: Buffer.from(secret).toString('base64') };
  const object = { metadata: { name: secretName(origin), namespace: systemNamespace }, type: 'Opaque', data };
  try {
    await client.create(secrets, object);
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    await client.update(secrets, object);
  }
}

/** The provider first: without it the secret opens nothing here. */
export async function deleteProvider(client: Client, origin: string): Promise<void> {
  for (const work of [
    () => client.delete(identityProviders, providerId(origin)),
    () => client.delete(secrets, secretName(origin), { namespace: systemNamespace }),
  ]) {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 404) throw error;
    }
  }
}

function secretName(origin: string): string {
  return `idp-${providerId(origin)}`;
}
