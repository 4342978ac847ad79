/** Users that log in at an identity provider: what it says of them becomes a user here. */
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { AnyProvider, OidcProvider } from '../../resources/identity-providers.ts';
import { type User, users } from '../../resources/types.ts';
import { UaaError } from '../uaa.ts';
import { createUser, readUser, userGuid } from '../users.ts';

export type Claims = Record<string, unknown> & { sub: string };

/** What of a provider counts for who comes from it. */
export type Admission = Pick<AnyProvider, 'origin' | 'displayName' | 'addUsers' | 'groupMappings'> &
  Pick<OidcProvider, 'nameClaim' | 'groupsClaim'>;

/**
 * The guid of the user that the claims are of. A name belongs to the first subject that came with it: a provider may give
 * names away again, and who gets one must not get what was another's.
 */
export async function admitUser(client: Client, provider: Admission, claims: Claims): Promise<string> {
  const username = nameOf(provider, claims);
  const { origin } = provider;
  const guid = userGuid(username, origin);
  const said = {
    externalId: claims.sub,
    externalGroups: groupsOf(provider, claims),
    ...optional('email', claims['email']),
    ...optional('givenName', claims['given_name']),
    ...optional('familyName', claims['family_name']),
  };
  const existing = await readUser(client, guid);
  if (!existing) {
    if (!provider.addUsers) throw refused(`${username} is no user here. Ask an administrator.`);
    await createUser(client, { username, origin, active: true, groups: [], ...said }, undefined);
    return guid;
  }
  await update(client, existing, said);
  return guid;
}

async function update(client: Client, existing: Stored<User>, said: Partial<User['spec']>): Promise<void> {
  const { spec } = existing;
  if (!spec.active) throw refused(`${spec.username} is not active. Ask an administrator.`);
  if (spec.externalId !== undefined && spec.externalId !== said.externalId) {
    throw refused(`The name ${spec.username} belongs to somebody else who logged in with it before.`);
  }
  const changed = { ...spec, ...said };
  if (JSON.stringify(changed) !== JSON.stringify(spec)) await client.update(users, { ...existing, spec: changed });
}

function refused(message: string): UaaError {
  return new UaaError('access_denied', message);
}

function nameOf({ nameClaim, displayName }: Admission, claims: Claims): string {
  const name = claims[nameClaim];
  const usable = typeof name === 'string' && name.trim() !== '' && [...name].length <= 255 && !/\p{Cc}/u.test(name);
  if (usable) return name.trim();
  throw refused(`${displayName} says no usable name of its user (claim ${nameClaim}).`);
}

/** One group or many. */
function groupsOf({ groupsClaim, groupMappings }: Admission, claims: Claims): string[] {
  const said = new Set([claims[groupsClaim]].flat().filter((group) => typeof group === 'string'));
  return [...new Set(groupMappings.filter(({ external }) => said.has(external)).map(({ group }) => group))].sort();
}

function optional(field: 'email' | 'givenName' | 'familyName', value: unknown): Partial<User['spec']> {
  return typeof value === 'string' && value !== '' && value.length <= 255 ? { [field]: value } : {};
}
