/**
 * Logins of registries, as Secrets of the type `kubernetes.io/dockerconfigjson`: of a package that is an image (its own Secret), and
 * of an app that is built by images (`registries-<app guid>`).
 */
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Client } from '#cluster/client/client.ts';
import { secrets } from './kubernetes.ts';
import { secretData, secretText } from './secrets.ts';

export type RegistryLogin = { username: string; password: string } | { token: string };

/** By host, as references of images have it; Docker's own is `docker.io`. */
export type RegistryLogins = Readonly<Record<string, RegistryLogin>>;

export const LOGINS_SECRET_TYPE = 'kubernetes.io/dockerconfigjson';
const KEY = '.dockerconfigjson';

export function registriesSecretName(app: string): string {
  return `registries-${app}`;
}

/** The `data` of such a Secret. Docker's clients call a token of a registry `registrytoken`. */
export function loginsData(logins: RegistryLogins): Record<string, string> {
  const auths = Object.entries(logins).map(([host, login]): [string, Record<string, string>] => {
    if ('token' in login) return [host, { registrytoken: login.token }];
    const { username, password } = login;
    return [host, { username, password, auth: Buffer.from(`${username}:${password}`).toString('base64') }];
  });
  return secretData({ [KEY]: JSON.stringify({ auths: Object.fromEntries(auths) }) });
}

/** None where there is no such Secret. */
export async function readLogins(client: Client, name: string, namespace: string): Promise<RegistryLogins> {
  const secret = await orUndefined(client.get(secrets, name, namespace));
  if (secret === undefined) return {};
  const { auths } = JSON.parse(secretText(secret, KEY)) as { auths: Record<string, Record<string, string>> };
  const logins = Object.entries(auths).map(([host, login]): [string, RegistryLogin] => {
    const { username = '', password = '', registrytoken: token } = login;
    return [host, token === undefined ? { username, password } : { token }];
  });
  return Object.fromEntries(logins);
}
