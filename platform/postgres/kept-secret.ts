/** Secrets of the namespace that are made once, by whoever needs them first. */
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError, type Client } from '#cluster/client/client.ts';
import { secrets } from '#cluster/kinds/resources.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import { NAMESPACE } from './postgres.ts';

/** Its values, decoded: those that are there, or those that `make` gives. */
export async function keptSecret(
  client: Client,
  about: { name: string; type?: string },
  make: () => Promise<Record<string, string>>,
): Promise<Record<string, string>> {
  const { name, type = 'Opaque' } = about;
  const known = await find(client, name);
  if (known) return known;
  const made = await make();
  try {
    await client.create(secrets, { metadata: { name, namespace: NAMESPACE }, type, stringData: made });
    return made;
  } catch (error) {
    const other = error instanceof ApiError && error.reason === 'AlreadyExists' ? await find(client, name) : undefined;
    if (other === undefined) throw error;
    return other;
  }
}

async function find(client: Client, name: string): Promise<Record<string, string> | undefined> {
  const secret = await orUndefined(client.get(secrets, name, NAMESPACE));
  return secret && Object.fromEntries(Object.keys(secret.data ?? {}).map((key) => [key, decoded(secret, key)]));
}

export function decoded(secret: Secret, key: string): string {
  return Buffer.from(secret.data?.[key] ?? '', 'base64').toString('utf8');
}
