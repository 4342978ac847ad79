/** What of brokers is secret: Secrets of the system namespace. */
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Client } from '#cluster/client/client.ts';
import { secrets } from '../resources/kubernetes.ts';
import { labels, systemNamespace } from '../resources/types.ts';
import { putSecret, secretData, secretText } from '../resources/secrets.ts';
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
  const secret = await client.get(secrets, name, systemNamespace);
  return { username: secretText(secret, 'username'), password: secretText(secret, 'password') };
}

export function writeLogin(client: Client, name: string, { username, password }: Login): Promise<void> {
  return put(client, name, { username, password });
}

/** What somebody gave with a request. */
export async function readParameters(client: Client, request: { id: string; parameters?: boolean }): Promise<Json> {
  if (!request.parameters) return {};
  const secret = await client.get(secrets, parametersName(request.id), systemNamespace);
  return JSON.parse(secretText(secret, 'parameters') || '{}') as Json;
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
  await orUndefined(client.delete(secrets, name, { namespace: systemNamespace }));
}

async function put(client: Client, name: string, values: Record<string, string>): Promise<void> {
  const metadata = { name, namespace: systemNamespace, labels: { [SECRET_LABEL]: 'true' } };
  await putSecret(client, { metadata, type: 'Opaque', data: secretData(values) });
}
