/** ConfigMaps and Secrets that a container's definition names, each fetched once for one start. */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import { configMaps, secrets } from '../kinds/resources.ts';
import type { ConfigMap, Secret, Service } from '../kinds/types/core.ts';
import { AgentError, messageOf } from './errors.ts';

export interface References {
  /** Undefined where there is none. */
  configMap(name: string): Promise<ConfigMap | undefined>;
  secret(name: string): Promise<Secret | undefined>;
  /** A token of the pod's service account, bound to the pod. */
  serviceAccountToken(request: { audience?: string; expirationSeconds?: number }): Promise<string>;
  /** Services of the pod's namespace, where `all`; and the one that leads to the API server. */
  services(which: { all: boolean }): Promise<Service[]>;
}

export type ServiceLookup = Pick<Informer<Service>, 'synced' | 'get' | 'list'>;

export interface ReferenceOwner {
  name: string;
  uid: string;
  namespace: string;
  serviceAccountName: string;
}

/** @param known  this node's copy of all Services; without it pods learn of none */
export function createReferences(client: Client, owner: ReferenceOwner, known?: ServiceLookup): References {
  const seen = new Map<string, Promise<unknown>>();
  const once = <T>(key: string, fetch: () => Promise<T>): Promise<T | undefined> => {
    const known = seen.get(key) as Promise<T | undefined> | undefined;
    if (known) return known;
    const fetched = fetch().catch((error: unknown) => {
      if (error instanceof ApiError && error.code === 404) return undefined;
      throw new AgentError('CreateContainerConfigError', `cannot read ${key}: ${messageOf(error)}`, { cause: error });
    });
    seen.set(key, fetched);
    return fetched;
  };
  const { namespace } = owner;
  return {
    configMap: (name) => once(`configmap "${name}"`, () => client.get(configMaps, name, namespace)),
    secret: (name) => once(`secret "${name}"`, () => client.get(secrets, name, namespace)),
    serviceAccountToken: async (request) => (await requestToken(client, owner, request)).token,
    services: ({ all }) => findServices(known, all ? namespace : undefined),
  };
}

async function findServices(known: ServiceLookup | undefined, namespace: string | undefined): Promise<Service[]> {
  await known?.synced;
  const listed = namespace === undefined ? [] : (known?.list({ namespace }) ?? []);
  const api = known?.get('kubernetes', 'default');
  return api === undefined || namespace === 'default' ? listed : [...listed, api];
}

/** A token of the owner's service account, bound to the owner. */
export async function requestToken(
  client: Client,
  owner: ReferenceOwner,
  { audience, expirationSeconds = 3600 }: { audience?: string; expirationSeconds?: number },
): Promise<{ token: string; expirationTimestamp: string }> {
  const path = `/api/v1/namespaces/${encodeURIComponent(owner.namespace)}/serviceaccounts/${encodeURIComponent(owner.serviceAccountName)}/token`;
  try {
    const answer = await client.request<{ status?: { token?: string; expirationTimestamp?: string } }>({
      method: 'POST',
      path,
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: {
          ...(audience !== undefined && { audiences: [audience] }),
          expirationSeconds,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: owner.name, uid: owner.uid },
        },
      },
    });
    const { token, expirationTimestamp = '' } = answer.status ?? {};
    if (token) return { token, expirationTimestamp };
    throw new Error('the answer has no token');
  } catch (error) {
    throw new AgentError(
      'CreateContainerConfigError',
      `cannot get a token of service account "${owner.serviceAccountName}": ${messageOf(error)}`,
      { cause: error },
    );
  }
}
