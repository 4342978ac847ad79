/**
 * Asking a directory (RFC 4511) who somebody is: a search by who may search, then a bind as who was found, with the password that was said. One
 * connection for each login, bounded in time; what comes back is bounded by the directory and by what is asked for.
 */
import { Client, type Entry, InvalidCredentialsError } from 'ldapts';
import { outsideTls } from '#lib/authorities.ts';
import { comparableDn, groupIsItsName, type LdapSettings } from './settings.ts';

const PATIENCE = 10_000;
const MOST_GROUPS = 1000;

export interface Found {
  /** What stays when its name changes, where the directory has such a thing. */
  subject: string;
  dn: string;
  mail: string | undefined;
  givenName: string | undefined;
  familyName: string | undefined;
  /** Distinguished names in lower case, or values of the groups' attribute. */
  groups: string[];
}

/** Undefined when there is no such user, or the password is another. Rejects when the directory cannot be asked. */
export async function lookUp(
  settings: LdapSettings,
  bindPassword: string,
  said: { username: string; password: string },
): Promise<Found | undefined> {
  // A bind without a password succeeds as nobody (RFC 4513, 5.1.2).
  if (said.password === '') return undefined;
  const tls = tlsOf(settings);
  const client = new Client({
    url: settings.url,
    timeout: PATIENCE,
    connectTimeout: PATIENCE,
    ...(settings.url.startsWith('ldaps:') ? { tlsOptions: tls } : {}),
  });
  try {
    if (settings.startTls) await client.startTLS(tls);
    await client.bind(settings.bindDn, bindPassword);
    const entry = await findUser(client, settings, said.username);
    if (entry === undefined || !(await binds(client, entry.dn, said.password))) return undefined;
    await client.bind(settings.bindDn, bindPassword);
    return {
      ...factsOf(entry, settings),
      groups: await groupsOf(client, settings, { dn: entry.dn, username: said.username }),
    };
  } finally {
    // It may have gone already.
    await client.unbind().catch(() => undefined);
  }
}

function tlsOf({ url, authorities }: LdapSettings): { host: string; ca?: string[] } {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  return { host, ...outsideTls(authorities) };
}

/** Two of one name are nobody. */
async function findUser(client: Client, settings: LdapSettings, username: string): Promise<Entry | undefined> {
  const { searchEntries } = await client.search(settings.userBase, {
    scope: 'sub',
    filter: filled(settings.userFilter, username, username),
    sizeLimit: 2,
    attributes: ['*', 'entryUUID'],
    explicitBufferAttributes: ['objectGUID'],
  });
  return searchEntries.length === 1 ? searchEntries[0] : undefined;
}

async function binds(client: Client, dn: string, password: string): Promise<boolean> {
  try {
    await client.bind(dn, password);
    return true;
  } catch (error) {
    if (error instanceof InvalidCredentialsError) return false;
    throw error;
  }
}

function factsOf(entry: Entry, settings: LdapSettings): Omit<Found, 'groups'> {
  const guid = bytesOf(entry, 'objectGUID');
  return {
    subject: textOf(entry, 'entryUUID') ?? guid?.toString('base64') ?? entry.dn,
    dn: entry.dn,
    mail: textOf(entry, settings.mailAttribute),
    givenName: textOf(entry, settings.givenNameAttribute),
    familyName: textOf(entry, settings.familyNameAttribute),
  };
}

/** Names of attributes are of any case. */
function valuesOf(entry: Entry, attribute: string): (string | Buffer)[] {
  const name = Object.keys(entry).find((key) => key.toLowerCase() === attribute.toLowerCase());
  return name === undefined ? [] : [entry[name] ?? []].flat();
}

function textOf(entry: Entry, attribute: string): string | undefined {
  return valuesOf(entry, attribute).find((value) => typeof value === 'string' && value !== '') as string | undefined;
}

function bytesOf(entry: Entry, attribute: string): Buffer | undefined {
  return valuesOf(entry, attribute).find((value) => Buffer.isBuffer(value)) as Buffer | undefined;
}

/** Those that the user is in, and those that these are in, to the depth that was said; each once, so that a circle ends. */
async function groupsOf(
  client: Client,
  settings: LdapSettings,
  user: { dn: string; username: string },
): Promise<string[]> {
  if (settings.groups === 'none') return [];
  const seen = new Set<string>();
  const groups = new Set<string>();
  let members = [user.dn];
  for (let depth = 0; depth < settings.groupDepth && members.length > 0 && seen.size < MOST_GROUPS; depth++) {
    const next: string[] = [];
    for (const member of members) {
      const { searchEntries } = await client.search(settings.groupBase, {
        scope: 'sub',
        filter: filled(settings.groupFilter, member, user.username),
        ...(groupIsItsName(settings) ? { attributes: ['1.1'] } : { attributes: [settings.groupAttribute] }),
      });
      for (const entry of searchEntries) {
        if (seen.has(entry.dn.toLowerCase())) continue;
        seen.add(entry.dn.toLowerCase());
        next.push(entry.dn);
        for (const name of namesOf(entry, settings)) groups.add(name);
      }
    }
    members = next;
  }
  return [...groups];
}

function namesOf(entry: Entry, settings: LdapSettings): string[] {
  if (groupIsItsName(settings)) return [comparableDn(entry.dn)];
  return valuesOf(entry, settings.groupAttribute).map(String);
}

/** Values as RFC 4515 has them: they end no assertion and begin none. */
function filled(filter: string, first: string, second: string): string {
  return filter.replaceAll(/\{([01])\}/g, (_all, which: string) => escaped(which === '0' ? first : second));
}

function escaped(value: string): string {
  return value.replace(/[\\*()\0]/g, (letter) => `\\${letter.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
