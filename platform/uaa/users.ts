/** The platform's users: `User` objects, and a Secret each with the password's hash and the state of refresh tokens. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { nameGuid } from '#lib/name-guid.ts';
import { secrets } from '../resources/kubernetes.ts';
import { roles, systemNamespace, type User, users } from '../resources/types.ts';
import { secretData, secretTexts } from '../resources/secrets.ts';
import { findProvider } from './providers/providers.ts';
import { hashPassword, PASSWORD_MAX_BYTES, verifyPassword } from './passwords.ts';
import { ADMIN_SCOPES, UaaError, USER_SCOPES } from './uaa.ts';

/** Users that log in here; those of other origins come from an identity provider and have no password. */
export const OWN_ORIGIN = 'uaa';

export interface Account {
  guid: string;
  username: string;
  origin: string;
  scopes: string[];
  passwordHash: string;
  epoch: number;
}

/** One guid for each name, so that two that create a user at once cannot make two of it. */
export function userGuid(username: string, origin = OWN_ORIGIN): string {
  return nameGuid(`${origin}\n${username.toLowerCase()}`);
}

function secretName(guid: string): string {
  return `user-${guid}`;
}

/** The account, or undefined when there is none, or it is not active. */
export async function findAccount(client: Client, guid: string): Promise<Account | undefined> {
  const [user, secret] = await Promise.all([readUser(client, guid), readSecret(client, guid)]);
  if (!user?.spec.active) return undefined;
  const { username, origin, groups, externalGroups = [] } = user.spec;
  // Whose provider is gone could not log in again.
  if (origin !== OWN_ORIGIN && !(await findProvider(client, origin))?.spec.active) return undefined;
  return {
    guid,
    username,
    origin,
    scopes: [...new Set([...USER_SCOPES, ...groups, ...externalGroups])],
    passwordHash: secret['password'] ?? '',
    epoch: Number(secret['epoch']) || 0,
  };
}

/** Creates the user, or changes password and groups of one that is there. A new password voids all refresh tokens. */
export async function putUser(
  client: Client,
  options: { username: string; password: string; groups?: string[] },
): Promise<string> {
  const { username, password } = options;
  requireSize(password);
  const guid = userGuid(username);
  const account = await findAccount(client, guid);
  if (!account || !(await verifyPassword(password, account.passwordHash))) {
    await storePassword(client, guid, password);
  }
  const spec: User['spec'] = { username, origin: OWN_ORIGIN, active: true, groups: options.groups ?? [] };
  try {
    await client.create(users, { metadata: { name: guid }, spec });
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    await client.patch(users, guid, { type: 'merge', body: { spec } });
  }
  return guid;
}

/** The password first: a user without one could never log in, while a password without its user is nobody's. */
export async function createUser(
  client: Client,
  spec: User['spec'],
  password: string | undefined,
): Promise<Stored<User>> {
  const guid = userGuid(spec.username, spec.origin);
  const existing = await readUser(client, guid);
  if (existing) throw taken(spec.username);
  if (password !== undefined) await storePassword(client, guid, password);
  try {
    return await client.create(users, { metadata: { name: guid }, spec });
  } catch (error) {
    if (error instanceof ApiError && error.reason === 'AlreadyExists') throw taken(spec.username);
    throw error;
  }
}

function taken(username: string): UaaError {
  return new UaaError('scim_resource_already_exists', `Username already in use: ${username}`);
}

export async function readUser(client: Client, guid: string): Promise<Stored<User> | undefined> {
  return await orUndefined(client.get(users, guid), 404, 400);
}

/** Voids all refresh tokens. */
export async function storePassword(client: Client, guid: string, password: string): Promise<void> {
  requireSize(password);
  await bump(client, guid, { password: await hashPassword(password) });
}

/** Voids all refresh tokens of a user. */
export async function revokeTokens(client: Client, guid: string): Promise<void> {
  await bump(client, guid, {});
}

async function bump(client: Client, guid: string, values: Record<string, string>): Promise<void> {
  const epoch = (await readSecret(client, guid))['epoch'];
  await putSecret(client, guid, { ...values, epoch: String((Number(epoch) || 0) + 1) });
}

function requireSize(password: string): void {
  if (password.length === 0 || Buffer.byteLength(password) > PASSWORD_MAX_BYTES) {
    throw new UaaError('invalid_password', `Password must be 1 to ${PASSWORD_MAX_BYTES} bytes`);
  }
}

/** With password and roles; the user last, so that what a crash interrupts can be repeated. */
export async function deleteUser(client: Client, guid: string): Promise<void> {
  const { items } = await client.list(roles);
  const own = items.filter((role) => role.spec.user === guid);
  await Promise.all(own.map((role) => orUndefined(client.delete(roles, role.metadata.name))));
  await orUndefined(client.delete(secrets, secretName(guid), { namespace: systemNamespace }));
  await orUndefined(client.delete(users, guid));
}

async function readSecret(client: Client, guid: string): Promise<Record<string, string>> {
  return secretTexts(await orUndefined(client.get(secrets, secretName(guid), systemNamespace)));
}

async function putSecret(client: Client, guid: string, values: Record<string, string>): Promise<void> {
  const name = secretName(guid);
  const data = secretData(values);
  try {
    await client.create(secrets, { metadata: { name, namespace: systemNamespace }, type: 'Opaque', data });
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    await client.patch(secrets, name, { type: 'merge', body: { data } }, { namespace: systemNamespace });
  }
}

/**
 * The admin, whose password is the content of `passwordFile` (mode 0600; made with a random one when it is not there).
 * The file wins: a password written into it is the admin's from the next start on.
 */
export async function ensureAdmin(
  client: Client,
  options: { passwordFile: string; username?: string },
): Promise<{ guid: string; username: string }> {
  const username = options.username ?? 'admin';
  let password = await readPassword(options.passwordFile);
  if (password === undefined) {
    // No dash, which a command line would take for an option of its own.
    password = randomBytes(20).toString('hex');
    await writeFileAtomic(options.passwordFile, `${password}\n`, { mode: 0o600 });
  }
  const guid = await putUser(client, { username, password, groups: ADMIN_SCOPES });
  return { guid, username };
}

async function readPassword(file: string): Promise<string | undefined> {
  try {
    const content = (await readFile(file, 'utf8')).trim();
    return content === '' ? undefined : content;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`Cannot read the admin's password from ${file}`, { cause: error });
  }
}
