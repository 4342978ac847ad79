/** The platform's users: `User` objects, and a Secret each with the password's hash and the state of refresh tokens. */
import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ApiError, type Client } from '#cluster/client/client.ts';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { secrets } from '../resources/kubernetes.ts';
import { systemNamespace, type User, users } from '../resources/types.ts';
import { hashPassword, PASSWORD_MAX_BYTES, verifyPassword } from './passwords.ts';
import { ADMIN_SCOPES, UaaError, USER_SCOPES } from './uaa.ts';

export interface Account {
  guid: string;
  username: string;
  origin: string;
  scopes: string[];
  passwordHash: string;
  epoch: number;
}

/** One guid for each name, so that two that create a user at once cannot make two of it. */
export function userGuid(username: string, origin = 'uaa'): string {
  const hex = createHash('sha256').update(`${origin}\n${username.toLowerCase()}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function secretName(guid: string): string {
  return `user-${guid}`;
}

/** The account, or undefined when there is none, or it is not active. */
export async function findAccount(client: Client, guid: string): Promise<Account | undefined> {
  try {
    const [user, secret] = await Promise.all([
      client.get(users, guid),
      client.get(secrets, secretName(guid), systemNamespace),
    ]);
    if (!user.spec.active) return undefined;
    const data = (key: string) => Buffer.from(secret.data?.[key] ?? '', 'base64').toString();
    return {
      guid,
      username: user.spec.username,
      origin: user.spec.origin,
      scopes: [...new Set([...USER_SCOPES, ...user.spec.groups])],
      passwordHash: data('password'),
      epoch: Number(data('epoch')) || 0,
    };
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return undefined;
    throw error;
  }
}

/** Creates the user, or changes password and groups of one that is there. A new password voids all refresh tokens. */
export async function putUser(
  client: Client,
  options: { username: string; password: string; groups?: string[] },
): Promise<string> {
  const { username, password } = options;
  if (password.length === 0 || Buffer.byteLength(password) > PASSWORD_MAX_BYTES) {
    throw new UaaError('invalid_request', `Cannot set the password: expected 1 to ${PASSWORD_MAX_BYTES} bytes`);
  }
  const guid = userGuid(username);
  const account = await findAccount(client, guid);
  if (!account || !(await verifyPassword(password, account.passwordHash))) {
    const epoch = (account?.epoch ?? 0) + 1;
    await putSecret(client, guid, { password: await hashPassword(password), epoch: String(epoch) });
  }
  const spec: User['spec'] = { username, origin: 'uaa', active: true, groups: options.groups ?? [] };
  try {
    await client.create(users, { metadata: { name: guid }, spec });
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    await client.patch(users, guid, { type: 'merge', body: { spec } });
  }
  return guid;
}

async function putSecret(client: Client, guid: string, values: Record<string, string>): Promise<void> {
  const name = secretName(guid);
  const data = Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
  );
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
    password = randomBytes(24).toString('base64url');
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
