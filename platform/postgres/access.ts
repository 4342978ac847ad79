/** The broker's own account in the cluster: made by the platform, with rights in one namespace that end there. */
import { setTimeout as delay } from 'node:timers/promises';
import { ApiError, type Client, type ClientObject } from '#cluster/client/client.ts';
import type { TypedResource } from '#cluster/kinds/kind.ts';
import { namespaces, roleBindings, serviceAccounts } from '#cluster/kinds/resources.ts';
import type { TokenRequest } from '#cluster/kinds/types/authentication.ts';
import type { PolicyRule } from '#cluster/kinds/types/rbac.ts';
import { NAMESPACE } from './postgres.ts';
import { postgresDatabases } from './resource.ts';

const ACCOUNT = 'postgres-broker';
const READ = ['get', 'list', 'watch'];
const WRITE = [...READ, 'create', 'update', 'patch', 'delete'];
const TOKEN_SECONDS = 3600;
const LONGEST_WAIT = 20_000;

/** The API server makes it when it starts, and lets the platform bind it. */
export const POSTGRES_ROLE: { name: string; rules: PolicyRule[] } = {
  name: 'sampan:postgres-broker',
  rules: [
    { apiGroups: ['platform.sampan.dev'], resources: ['postgresdatabases'], verbs: WRITE },
    {
      apiGroups: ['platform.sampan.dev'],
      resources: ['postgresdatabases/status', 'postgresdatabases/finalizers'],
      verbs: ['get', 'update', 'patch'],
    },
    { apiGroups: [''], resources: ['secrets', 'services', 'persistentvolumeclaims'], verbs: WRITE },
    { apiGroups: [''], resources: ['pods', 'events'], verbs: READ },
    { apiGroups: [''], resources: ['pods'], verbs: ['delete'] },
    { apiGroups: [''], resources: ['pods/exec'], verbs: ['get', 'create'] },
    { apiGroups: ['apps'], resources: ['statefulsets'], verbs: WRITE },
    { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs: WRITE },
  ],
};

export async function ensureAccess(platform: Client): Promise<void> {
  const enforce = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  await ensure(platform, namespaces, { metadata: { name: NAMESPACE, labels: enforce } });
  await ensure(platform, serviceAccounts, { metadata: { name: ACCOUNT, namespace: NAMESPACE } });
  await ensure(platform, roleBindings, {
    metadata: { name: ACCOUNT, namespace: NAMESPACE },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: POSTGRES_ROLE.name },
    subjects: [{ kind: 'ServiceAccount', name: ACCOUNT, namespace: NAMESPACE }],
  });
}

/** The API server's authorizer follows the bindings: one that was made a moment ago may not count yet. Nothing tells when it does. */
export async function untilAllowed(account: Client): Promise<void> {
  for (let wait = 20; wait < LONGEST_WAIT; wait *= 2) {
    try {
      await account.list(postgresDatabases, { namespace: NAMESPACE, limit: 1 });
      return;
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 403) throw error;
      await delay(wait);
    }
  }
}

async function ensure<T extends ClientObject>(client: Client, resource: TypedResource<T>, object: T): Promise<void> {
  try {
    await client.create(resource, object);
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
  }
}

/** Of the account; asked for anew when half of its life is over. */
export function accountToken(platform: Client, now: () => number = Date.now): () => Promise<string> {
  let token: Promise<string> | undefined;
  let renewAt = 0;
  const ask = async (): Promise<string> => {
    const path = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${ACCOUNT}/token`;
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: TOKEN_SECONDS },
    };
    const answer = await platform.request<TokenRequest>({ method: 'POST', path, body });
    return answer.status?.token ?? '';
  };
  return () => {
    if (token === undefined || now() >= renewAt) {
      renewAt = now() + (TOKEN_SECONDS * 1000) / 2;
      token = ask();
      token.catch(() => {
        renewAt = 0;
      });
    }
    return token;
  };
}
