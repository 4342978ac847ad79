/** Bindings and keys as Secrets: who logs in, from where, and what the platform is told. */
import { randomBytes } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import type { NetworkPolicyPeer } from '#cluster/kinds/types/networking.ts';
import { labels as platformLabels } from '../resources/types.ts';
import { hostnameOf, ownedBy } from './objects.ts';
import { type Credentials, DATABASE, NAMESPACE, PORT } from './postgres.ts';
import { bindingName, labels, type PostgresDatabase, roleName } from './resource.ts';

/** On a binding's Secret: `NetworkPolicyPeer` as JSON. */
export const CLIENT = 'postgres.sampan.dev/client';
/** The role is there. */
export const READY = 'postgres.sampan.dev/ready';
/** Digest of the request that made it. */
export const REQUEST = 'postgres.sampan.dev/request';
/** Until the role is dropped. */
export const FINALIZER = 'postgres.sampan.dev/role';

export interface BindingRequest {
  instance: string;
  binding: string;
  digest: string;
  client: NetworkPolicyPeer | undefined;
}

export function bindingSecret(database: Stored<PostgresDatabase>, request: BindingRequest): Secret {
  const { instance, binding, digest, client } = request;
  return {
    metadata: {
      name: bindingName(instance, binding),
      namespace: NAMESPACE,
      labels: { [labels.database]: database.metadata.name, [labels.binding]: 'true' },
      annotations: { [REQUEST]: digest, ...(client ? { [CLIENT]: JSON.stringify(client) } : {}) },
      finalizers: [FINALIZER],
      ownerReferences: ownedBy(database),
    },
    stringData: { role: roleName(binding), password: randomBytes(24).toString('base64url') },
  };
}

/**
 * Which pods may connect. Of Cloud Foundry: those of the app, or of a key all apps of the space; builds never. Of Kubernetes: the
 * namespace. Undefined: nobody, as nobody is known.
 */
export function clientOf(who: {
  app: string | undefined;
  space: string | undefined;
  namespace: string | undefined;
}): NetworkPolicyPeer | undefined {
  if (who.space !== undefined) {
    return {
      namespaceSelector: { matchLabels: { [platformLabels.space]: who.space } },
      podSelector:
        who.app === undefined
          ? { matchExpressions: [{ key: platformLabels.app, operator: 'Exists' }] }
          : { matchLabels: { [platformLabels.app]: who.app } },
    };
  }
  if (who.namespace === undefined) return undefined;
  return { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': who.namespace } } };
}

export function credentialsOf(input: {
  database: Stored<PostgresDatabase>;
  role: string;
  password: string;
  ca: string;
  clusterDomain: string;
}): Credentials {
  const { database, role, password, ca, clusterDomain } = input;
  const host = hostnameOf(database.metadata.name, clusterDomain);
  const required = database.spec.tls === 'required';
  const query = required ? '?sslmode=require' : '';
  const login = new URLSearchParams({ user: role, password, ...(required ? { sslmode: 'require' } : {}) });
  return {
    uri: `postgresql://${role}:${password}@${host}:${PORT}/${DATABASE}${query}`,
    jdbcUrl: `jdbc:postgresql://${host}:${PORT}/${DATABASE}?${login.toString()}`,
    hostname: host,
    host,
    port: PORT,
    name: DATABASE,
    dbname: DATABASE,
    database: DATABASE,
    username: role,
    password,
    sslmode: required ? 'verify-full' : 'prefer',
    ca,
  };
}
