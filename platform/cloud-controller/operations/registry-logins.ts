/**
 * Logins for the registries of builder images and their run images (Cloud Foundry: `credentials` of the lifecycle `cnb`,
 * `cnb-credentials` of a manifest). They are the app's, in a Secret of its own, and are shown to nobody.
 */
import type { Stored } from '#cluster/kinds/kind.ts';
import { putSecret } from '../../resources/secrets.ts';
import {
  LOGINS_SECRET_TYPE,
  loginsData,
  type RegistryLogin,
  type RegistryLogins,
  registriesSecretName,
} from '../../resources/registry-logins.ts';
import { type App, labels } from '../../resources/types.ts';
import type { Context } from '../api.ts';
import { ownedBy } from '../records.ts';
import { isObject } from '../validate.ts';

/** What stands for logins where they are not shown. */
export const HIDDEN_LOGINS = '***';

const MOST = 50;
const LONGEST = 16 * 1024;
/** Names that clients have for Docker's own. */
const DOCKER = /^((index|registry-1)\.)?docker\.io$/;

/** Of `{"host": {"username": …, "password": …} or {"token": …}}`; null takes away all of them. */
export function parseLogins(value: unknown): { logins: RegistryLogins; problems: string[] } {
  if (value === null) return { logins: {}, problems: [] };
  if (!isObject(value)) return { logins: {}, problems: ['credentials must be an object'] };
  const entries = Object.entries(value);
  if (entries.length > MOST) return { logins: {}, problems: [`credentials must be of at most ${MOST} registries`] };
  const problems: string[] = [];
  const logins: Record<string, RegistryLogin> = {};
  for (const [registry, given] of entries) {
    const login = loginOf(given);
    const host = registry.toLowerCase();
    const shown = JSON.stringify(registry.slice(0, 100));
    if (!/^[a-z0-9[][a-z0-9.:[\]_-]{0,254}$/.test(host))
      problems.push(`credentials for registry ${shown}: it must be the host of a registry`);
    else if (login === undefined)
      problems.push(`credentials for registry ${shown} must have a username and a password, or a token`);
    else logins[DOCKER.test(host) ? 'docker.io' : host] = login;
  }
  return { logins, problems };
}

function loginOf(given: unknown): RegistryLogin | undefined {
  if (!isObject(given)) return undefined;
  const { username, password, token } = given;
  const isText = (text: unknown): text is string =>
    typeof text === 'string' && text !== '' && text.length <= LONGEST && !/[\r\n\0]/.test(text);
  if (isText(token) && username === undefined && password === undefined) return { token };
  return token === undefined && isText(username) && isText(password) ? { username, password } : undefined;
}

export async function putLogins(context: Context, app: Stored<App>, logins: RegistryLogins): Promise<void> {
  await putSecret(context.client, {
    metadata: {
      name: registriesSecretName(app.metadata.name),
      namespace: app.metadata.namespace ?? '',
      labels: { [labels.app]: app.metadata.name },
      ownerReferences: ownedBy(app),
    },
    type: LOGINS_SECRET_TYPE,
    data: loginsData(logins),
  });
}

/** A request to make or change an app, for those who may read what happened. */
export function withoutLogins(body: Record<string, unknown>): Record<string, unknown> {
  const { lifecycle } = body;
  if (!isObject(lifecycle) || !isObject(lifecycle.data) || lifecycle.data.credentials === undefined) return body;
  return { ...body, lifecycle: { ...lifecycle, data: { ...lifecycle.data, credentials: HIDDEN_LOGINS } } };
}

/** Of an app, after a request that gave these; undefined: it gave none. */
export function hasLogins(given: RegistryLogins | undefined, before: true | undefined): { credentials?: true } {
  const has = given === undefined ? before === true : Object.keys(given).length > 0;
  return has ? { credentials: true } : {};
}
