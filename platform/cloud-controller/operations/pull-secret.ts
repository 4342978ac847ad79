/**
 * Logins for images of other registries: the Secret `package-<guid>` of the package that named the image, in the form that nodes
 * pull with (`kubernetes.io/dockerconfigjson`). It stays while a droplet that was made of the package does.
 */
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { secrets } from '../../resources/kubernetes.ts';
import { LOGINS_SECRET_TYPE, loginsData } from '../../resources/registry-logins.ts';
import { putSecret } from '../../resources/secrets.ts';
import { type App, labels, type Package } from '../../resources/types.ts';
import type { Context } from '../api.ts';
import { ownedBy } from '../records.ts';

export function pullSecretName(guid: string): string {
  return `package-${guid}`;
}

export async function writePullSecret(
  context: Pick<Context, 'client'>,
  app: Stored<App>,
  name: string,
  login: { image: string; username: string; password: string },
): Promise<void> {
  const { image, username, password } = login;
  await put(context, app, name, loginsData({ [registryOf(image)]: { username, password } }));
}

/** For a droplet that goes to another app, perhaps in another namespace. */
export async function copyPullSecret(
  context: Pick<Context, 'client'>,
  from: { namespace: string; name: string },
  to: { app: Stored<App>; name: string },
): Promise<void> {
  const { data = {} } = await context.client.get(secrets, from.name, from.namespace);
  await put(context, to.app, to.name, data);
}

/** Unless a droplet still needs it. */
export async function dropPullSecret(
  context: Pick<Context, 'client' | 'records'>,
  item: Stored<Package>,
): Promise<void> {
  const name = item.spec.docker?.passwordSecret;
  if (name === undefined) return;
  const used = context.records.droplets.ofApp(item.spec.app).some(({ spec }) => spec.pullSecret === name);
  if (used) return;
  await orUndefined(context.client.delete(secrets, name, { namespace: item.metadata.namespace ?? '' }));
}

async function put(
  context: Pick<Context, 'client'>,
  app: Stored<App>,
  name: string,
  data: Record<string, string>,
): Promise<void> {
  await putSecret(context.client, {
    metadata: {
      name,
      namespace: app.metadata.namespace ?? '',
      labels: { [labels.app]: app.metadata.name },
      ownerReferences: ownedBy(app),
    },
    type: LOGINS_SECRET_TYPE,
    data,
  });
}

/** As Docker's clients take a reference: its first part is a host where it has a dot or a port, else it is Docker's own. */
export function registryOf(image: string): string {
  const [first = '', ...rest] = image.split('/');
  return rest.length > 0 && (/[.:]/.test(first) || first === 'localhost') ? first : 'docker.io';
}
