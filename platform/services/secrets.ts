/** What of brokers is secret: Secrets of the system namespace. */
import { ApiError, type Client } from '#cluster/client/client.ts';
import { secrets } from '../resources/kubernetes.ts';
import { labels, systemNamespace } from '../resources/types.ts';
import type { Json } from './json.ts';

export interface Login {
  username: string;
  password: string;
}

/** On all of these: those that nobody needs any more are found by it. */
export const SECRET_LABEL = `${labels.service}-secret`;

export function brokerSecret(guid: string): string {
  return `broker-${guid}`;
}

export async function readLogin(client: Client, name: string): Promise<Login> {
  const { data = {} } = await client.get(secrets, name, systemNamespace);
  const text = (key: string) => Buffer.from(data[key] ?? '', 'base64').toString();
  return { username: text('username'), password: text('password') };
}

export function writeLogin(client: Client, name: string, { username, password }: Login): Promise<void> {
  return put(client, name, { username, password });
}

/** What somebody gave with a request. */
export async function readParameters(client: Client, request: { id: string; parameters?: boolean }): Promise<Json> {
  if (!request.parameters) return {};
  const { data = {} } = await client.get(secrets, parametersName(request.id), systemNamespace);
  return JSON.parse(Buffer.from(data['parameters'] ?? '', 'base64').toString() || '{}') as Json;
}

/** Before the request is written down. */
export function writeParameters(client: Client, id: string, parameters: Json): Promise<void> {
  return put(client, parametersName(id), { parameters: JSON.stringify(parameters) });
}

export function removeParameters(client: Client, request: { id: string; parameters?: boolean }): Promise<void> {
  return request.parameters ? removeSecret(client, parametersName(request.id)) : Promise.resolve();
}

export function parametersName(id: string): string {
  return `parameters-${id}`;
}

export async function removeSecret(client: Client, name: string): Promise<void> {
  try {
    await client.delete(secrets, name, { namespace: systemNamespace });
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 404) throw error;
  }
}

async function put(client: Client, name: string, values: Record<string, string>): Promise<void> {
  const object = {
    metadata: { name, namespace: systemNamespace, labels: { [SECRET_LABEL]: 'true' } },
    type: 'Opaque',
    data: Object.fromEntries(
      Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
    ),
  };
  try {
    await client.create(secrets, object);
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    await client.update(secrets, object);
  }
}
