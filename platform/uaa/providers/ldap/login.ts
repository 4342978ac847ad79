/** Logging in with the name and password of a directory: who is let in becomes a user of the provider's origin, with its groups as they are mapped. */
import type { Client } from '#cluster/client/client.ts';
import type { LdapProvider } from '../../../resources/identity-providers.ts';
import { UaaError } from '../../uaa.ts';
import { listProviders, readProviderSecret } from '../providers.ts';
import { admitUser } from '../shadow-users.ts';
import type { Found } from './directory.ts';
import { comparableDn } from './settings.ts';

export interface DirectoryLogin {
  client: Client;
  log?: ((level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void) | undefined;
}

/** At once: a directory that does not answer holds up no more. */
const MOST = 20;
let asking = 0;

/**
 * The guid of the user, or undefined where no directory knows name and password.
 * @param origin  the only one to ask; absent: every one, in the order of their names
 */
export async function logInByDirectory(
  { client, log }: DirectoryLogin,
  said: { username: string; password: string },
  origin?: string,
): Promise<string | undefined> {
  const providers = (await listProviders(client)).map(({ spec }) => spec);
  for (const provider of providers) {
    if (provider.type !== 'ldap' || !provider.active || (origin !== undefined && provider.origin !== origin)) continue;
    const found = await ask({ client, log }, provider, said);
    if (found !== undefined) return await admit(client, provider, said.username, found);
  }
  return undefined;
}

async function ask(
  { client, log }: DirectoryLogin,
  provider: LdapProvider,
  said: { username: string; password: string },
): Promise<Found | undefined> {
  if (asking >= MOST) throw new UaaError('unauthorized', `${provider.displayName} is busy. Try again.`);
  asking++;
  try {
    // Loaded when there is a directory to ask.
    const { lookUp } = await import('./directory.ts');
    return await lookUp(provider, (await readProviderSecret(client, provider.origin)) ?? '', said);
  } catch (error) {
    log?.('warn', 'A directory could not be asked', { origin: provider.origin, error: String(error) });
    throw new UaaError('unauthorized', `${provider.displayName} cannot be asked at the moment. Try again.`, {
      cause: error,
    });
  } finally {
    asking--;
  }
}

function admit(client: Client, provider: LdapProvider, username: string, found: Found): Promise<string> {
  const { origin, displayName, addUsers, groups } = provider;
  const groupMappings =
    groups === 'as-scopes'
      ? found.groups.filter((group) => SCOPE.test(group)).map((group) => ({ external: group, group }))
      : provider.groupMappings.map(({ external, group }) => ({ external: comparableDn(external), group }));
  return admitUser(
    client,
    { origin, displayName, addUsers, groupMappings, nameClaim: 'username', groupsClaim: 'groups' },
    {
      sub: found.subject,
      username,
      email: found.mail,
      given_name: found.givenName,
      family_name: found.familyName,
      groups: found.groups,
    },
  );
}

const SCOPE = /^[\x21-\x7e]{1,255}$/;
