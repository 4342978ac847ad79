/** Keeps the RoleBindings of spaces as Cloud Foundry's roles say: see `tenants.ts`. */
import { isDeepStrictEqual } from 'node:util';
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { RoleBinding } from '#cluster/kinds/types/rbac.ts';
import type { Informers } from '../resources/informers.ts';
import { roleBindings } from '../resources/kubernetes.ts';
import { type Role, roles, type Space, spaces } from '../resources/types.ts';
import { createKeyQueue } from '../workloads/queue.ts';
import { CLUSTER_ROLES, GIVES, userName } from './tenants.ts';

export interface TenantsOptions {
  informers: Informers;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

const PERIOD_MILLISECONDS = 10 * 60_000;
const RBAC = 'rbac.authorization.k8s.io';

export async function startTenants({ informers, log }: TenantsOptions): Promise<{ close(): Promise<void> }> {
  await informers.synced();
  const all = (): Stored<Space>[] => informers.of(spaces).list();
  const queue = createKeyQueue({
    name: 'tenants of a space',
    workers: 4,
    log,
    work: async (guid) => {
      const space = all().find(({ metadata }) => metadata.name === guid);
      if (space && !space.metadata.deletionTimestamp) await reconcile(informers, space);
    },
  });
  const wake = (role: Stored<Role> | undefined): void => {
    for (const { metadata, spec } of all()) {
      if (role?.spec.space === metadata.name || role?.spec.organization === spec.organization) queue.add(metadata.name);
    }
  };
  const wakeAll = (): void => {
    for (const { metadata } of all()) queue.add(metadata.name);
  };
  const stops = [
    informers.of(spaces).onChange((now) => now && queue.add(now.metadata.name)),
    informers.of(roles).onChange((now, old) => wake(now ?? old)),
  ];
  wakeAll();
  const period = setInterval(wakeAll, PERIOD_MILLISECONDS).unref();
  return {
    async close() {
      clearInterval(period);
      for (const stop of stops) stop();
      await queue.close();
    },
  };
}

async function reconcile(informers: Informers, space: Stored<Space>): Promise<void> {
  const guids = new Map<string, Set<string>>(CLUSTER_ROLES.map(({ name }) => [name, new Set()]));
  for (const { spec } of informers.of(roles).list()) {
    const here = spec.space === space.metadata.name || spec.organization === space.spec.organization;
    if (here) guids.get(GIVES[spec.type] ?? '')?.add(spec.user);
  }
  for (const [name, members] of guids) {
    await put(informers.client, {
      metadata: { name, namespace: space.spec.namespace },
      roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name },
      subjects: [...members].sort().map((guid) => ({ apiGroup: RBAC, kind: 'User', name: userName(guid) })),
    });
  }
}

/** As it is wanted, whatever was there; nothing is written where it is so already. */
async function put(client: Client, wanted: RoleBinding): Promise<void> {
  const { name = '', namespace } = wanted.metadata;
  try {
    const current = await client.get(roleBindings, name, namespace);
    const { roleRef, subjects } = wanted;
    if (isDeepStrictEqual([current.roleRef, current.subjects ?? []], [roleRef, subjects])) return;
    await client.update(roleBindings, { ...current, subjects });
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 404) throw error;
    await client.create(roleBindings, wanted);
  }
}
