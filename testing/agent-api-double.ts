/**
 * The few calls of a client that the agent's pod worker makes, on objects in memory; for tests of the state machine
 * alone. The agent with the real API server is tested in `agent-real.test.ts`.
 */
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';

export interface ApiDouble {
  client: Client;
  pod: Stored<Pod>;
  patches: number;
  deleted: boolean;
  objects: Map<string, unknown>;
  /** Resolves when things are as asked. */
  until(what: string, holds: (pod: Stored<Pod>, deleted: boolean) => boolean): Promise<Stored<Pod>>;
}

export function apiDouble(pod: Stored<Pod>): ApiDouble {
  const waiters = new Set<() => void>();
  const notify = (): void => {
    for (const waiter of waiters) waiter();
  };
  const unused = (): never => {
    throw new Error('not part of the double');
  };
  const api: ApiDouble = {
    pod,
    patches: 0,
    deleted: false,
    objects: new Map(),
    client: {
      get: async (resource: { resource: string }, name: string) => {
        const found = api.objects.get(`${resource.resource}/${name}`);
        if (!found) throw new ApiError(404, 'NotFound', `${resource.resource} "${name}" not found`);
        return found as never;
      },
      patch: async (_resource: unknown, _name: string, patch: { type: string; body?: unknown }) => {
        if (patch.type !== 'strategic') return api.pod as never;
        const { status } = patch.body as { status: Record<string, unknown> };
        const before = api.pod.status ?? {};
        const merged: Record<string, unknown> = { ...before };
        for (const [key, value] of Object.entries(status)) {
          if (value === null) delete merged[key];
          else if (key === 'conditions') {
            const fresh = value as { type: string }[];
            const kept = (before.conditions ?? []).filter(({ type }) => !fresh.some((one) => one.type === type));
            merged[key] = [...kept, ...fresh];
          } else merged[key] = value;
        }
        const version = String(Number(api.pod.metadata.resourceVersion) + 1);
        api.pod = { ...api.pod, metadata: { ...api.pod.metadata, resourceVersion: version }, status: merged };
        api.patches += 1;
        notify();
        return api.pod as never;
      },
      delete: async () => {
        api.deleted = true;
        notify();
      },
      create: async (_resource: unknown, object: unknown) => object as never,
      list: unused,
      watch: unused,
      update: unused,
      updateStatus: unused,
      deleteCollection: unused,
      bind: unused,
      podLog: unused,
      exec: unused,
      request: unused,
    },
    until(what, holds) {
      const { promise, resolve, reject } = Promise.withResolvers<Stored<Pod>>();
      const look = (): void => {
        if (!holds(api.pod, api.deleted)) return;
        clearTimeout(timer);
        clearInterval(looking);
        waiters.delete(look);
        resolve(api.pod);
      };
      const timer = setTimeout(() => {
        waiters.delete(look);
        clearInterval(looking);
        reject(new Error(`gave up waiting for: ${what}; the status is ${JSON.stringify(api.pod.status)}`));
      }, 30_000);
      // Not all that is waited for is in the API.
      const looking = setInterval(look, 5);
      waiters.add(look);
      look();
      return promise;
    },
  };
  return api;
}
