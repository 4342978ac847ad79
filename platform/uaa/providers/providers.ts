/** Identity providers besides UAA itself, in the store: objects, and a Secret each for what the provider knows UAA by. */
import { createHash } from 'node:crypto';
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { secrets } from '../../resources/kubernetes.ts';
import { type IdentityProvider, identityProviders, systemNamespace } from '../../resources/types.ts';
import { putSecret, secretData, secretText } from '../../resources/secrets.ts';

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
  return secret && secretText(secret, 'secret');
}

export async function writeProviderSecret(client: Client, origin: string, secret: string): Promise<void> {
  const metadata = { name: secretName(origin), namespace: systemNamespace };
  await putSecret(client, { metadata, type: 'Opaque', data: secretData({ secret }) });
}

/** The provider first: without it the secret opens nothing here. */
export async function deleteProvider(client: Client, origin: string): Promise<void> {
  await orUndefined(client.delete(identityProviders, providerId(origin)));
  await orUndefined(client.delete(secrets, secretName(origin), { namespace: systemNamespace }));
}

function secretName(origin: string): string {
  return `idp-${providerId(origin)}`;
}
