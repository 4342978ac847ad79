/** ConfigMaps and Secrets that a container's definition names, each fetched once for one start. */
import { ApiError, type Client } from '../client/client.ts';
import { configMaps, endpointSlices, secrets } from '../kinds/resources.ts';
import type { ConfigMap, Secret } from '../kinds/types/core.ts';
import { AgentError, messageOf } from './errors.ts';

export interface References {
  /** Undefined where there is none. */
  configMap(name: string): Promise<ConfigMap | undefined>;
  secret(name: string): Promise<Secret | undefined>;
  /** A token of the pod's service account, bound to the pod. */
  serviceAccountToken(request: { audience?: string; expirationSeconds?: number }): Promise<string>;
  /** Where pods reach the API server; undefined where the cluster does not say. */
  apiServer(): Promise<{ host: string; port: number } | undefined>;
}

export interface ReferenceOwner {
  name: string;
  uid: string;
  namespace: string;
  serviceAccountName: string;
}

export function createReferences(client: Client, owner: ReferenceOwner): References {
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
    serviceAccountToken: (request) => requestToken(client, owner, request),
    apiServer: () => findApiServer(client),
  };
}

/** Asked once for a while: it is the same for every pod. Its own address, not the Service's: it needs no routing. */
const apiServers = new WeakMap<Client, { found: Promise<{ host: string; port: number } | undefined>; until: number }>();
const REMEMBERED = 60_000;

function findApiServer(client: Client): Promise<{ host: string; port: number } | undefined> {
  const known = apiServers.get(client);
  if (known !== undefined && known.until > Date.now()) return known.found;
  const found = client.get(endpointSlices, 'kubernetes', 'default').then(
    ({ endpoints, ports }) => {
      const [host, port] = [endpoints?.[0]?.addresses[0], ports?.[0]?.port];
      return host === undefined || port === undefined ? undefined : { host, port };
    },
    (error: unknown) => {
      apiServers.delete(client);
      if (error instanceof ApiError && error.code === 404) return undefined;
      throw new AgentError('CreateContainerConfigError', `cannot find the API server: ${messageOf(error)}`, {
        cause: error,
      });
    },
  );
  apiServers.set(client, { found, until: Date.now() + REMEMBERED });
  return found;
}

async function requestToken(
  client: Client,
  owner: ReferenceOwner,
  { audience, expirationSeconds = 3600 }: { audience?: string; expirationSeconds?: number },
): Promise<string> {
  const path = `/api/v1/namespaces/${encodeURIComponent(owner.namespace)}/serviceaccounts/${encodeURIComponent(owner.serviceAccountName)}/token`;
  try {
    const answer = await client.request<{ status?: { token?: string } }>({
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
    if (answer.status?.token) return answer.status.token;
    throw new Error('the answer has no token');
  } catch (error) {
    throw new AgentError(
      'CreateContainerConfigError',
      `cannot get a token of service account "${owner.serviceAccountName}": ${messageOf(error)}`,
      { cause: error },
    );
  }
}
