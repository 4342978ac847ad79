/** Credentials of a service that runs elsewhere, or of a binding to a broker's: a Secret `env-service-<guid>` that goes with its object. */
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Client, ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { secrets } from '../resources/kubernetes.ts';
import { labels } from '../resources/types.ts';
import { putSecret, secretData, secretText } from '../resources/secrets.ts';
import type { Json } from './json.ts';

const KEY = 'credentials';

function secretName(guid: string): string {
  return `env-service-${guid}`;
}

export async function readCredentials(client: Client, object: Stored<ClientObject>): Promise<Json> {
  const { name, namespace = '' } = object.metadata;
  const secret = await orUndefined(client.get(secrets, secretName(name), namespace));
  return JSON.parse(secretText(secret, KEY) || '{}') as Json;
}

export async function writeCredentials(
  { client }: { client: Client },
  of: { kind: 'ServiceInstance' | 'ServiceBinding' | 'ServiceRouteBinding'; object: Stored<ClientObject> },
  credentials: Json,
): Promise<void> {
  const { name, uid, namespace = '' } = of.object.metadata;
  await putSecret(client, {
    metadata: {
      name: secretName(name),
      namespace,
      labels: { [labels.service]: name },
      ownerReferences: [{ apiVersion: 'platform.sampan.dev/v1', kind: of.kind, name, uid }],
    },
    type: 'Opaque',
    data: secretData({ [KEY]: JSON.stringify(credentials) }),
  });
}
