/** Secrets whose values are texts: how the platform writes, reads and makes them. */
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import { secrets } from './kubernetes.ts';

/** As a Secret's `data`. */
export function secretData(texts: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString('base64')]));
}

/** Of a Secret that is not there: none. */
export function secretTexts(secret: Secret | undefined): Record<string, string> {
  return Object.fromEntries(Object.keys(secret?.data ?? {}).map((key) => [key, secretText(secret, key)]));
}

/** Empty where it has no such value. */
export function secretText(secret: Secret | undefined, key: string): string {
  return Buffer.from(secret?.data?.[key] ?? '', 'base64').toString();
}

/** In the place of one of its name. */
export async function putSecret(client: Client, secret: Secret): Promise<Stored<Secret>> {
  try {
    return await client.create(secrets, secret);
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    return await client.update(secrets, secret);
  }
}

/** Its values: those that are there, or those that `make` gives. Of several who make it at once one wins, and all have that one's. */
export async function keptSecret(
  client: Client,
  { metadata, type = 'Opaque' }: { metadata: Secret['metadata'] & { name: string; namespace: string }; type?: string },
  make: () => Record<string, string> | Promise<Record<string, string>>,
): Promise<Record<string, string>> {
  const { name, namespace } = metadata;
  for (;;) {
    const known = await orUndefined(client.get(secrets, name, namespace));
    if (known) return secretTexts(known);
    const made = await make();
    try {
      await client.create(secrets, { metadata, type, data: secretData(made) });
      return made;
    } catch (error) {
      if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    }
  }
}
