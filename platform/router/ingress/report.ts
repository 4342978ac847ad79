/** Tells Ingresses what became of them: the address where they are served, and by Events what is not. */
import { isDeepStrictEqual } from 'node:util';
import { ApiError, type Client, type Informer } from '#cluster/client/client.ts';
import { createEventRecorder } from '#cluster/client/event-recorder.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { ingresses } from '#cluster/kinds/resources.ts';
import type { Ingress, IngressLoadBalancerIngress } from '#cluster/kinds/types/networking.ts';
import type { IngressProblem, IngressRoutes } from './ingress.ts';

const RETRY = 1000;

export interface Report {
  /** What the router serves now. Returns at once; what cannot be written is tried again. */
  served(routes: IngressRoutes): void;
  close(): Promise<void>;
}

export interface ReportOptions {
  client: Client;
  informer: Informer<Ingress>;
  /** Where the router is reached. */
  address: IngressLoadBalancerIngress;
  onError: (error: unknown) => void;
}

export function createReport({ client, informer, address, onError }: ReportOptions): Report {
  const recorder = createEventRecorder({ client, component: 'sampan-router', onError });
  /** By the Ingress's uid: what was told, so that it is told again only after it was gone. */
  let told = new Map<string, Set<string>>();
  let wanted: IngressRoutes | undefined;
  let writing: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  const tell = (problems: readonly IngressProblem[]): void => {
    const now = new Map<string, Set<string>>();
    for (const { ingress, reason, message } of problems) {
      const { uid } = ingress.metadata;
      if (told.get(uid)?.has(message) !== true) {
        const object = { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', metadata: ingress.metadata };
        recorder.record(object, { type: 'Warning', reason, message });
      }
      now.set(uid, (now.get(uid) ?? new Set()).add(message));
    }
    told = now;
  };

  /** Theirs get the address; those that were ours lose it. */
  const writeStatus = async ({ ours }: IngressRoutes): Promise<void> => {
    const uids = new Set(ours.map(({ metadata }) => metadata.uid));
    for (const ingress of informer.list()) {
      const shown = ingress.status?.loadBalancer?.ingress ?? [];
      const isOurs = uids.has(ingress.metadata.uid);
      if (isOurs ? isDeepStrictEqual(shown, [address]) : !isDeepStrictEqual(shown, [address])) continue;
      await setAddress(ingress, isOurs ? [address] : null);
    }
  };

  const setAddress = async ({ metadata }: Stored<Ingress>, value: unknown): Promise<void> => {
    const { name, namespace, uid } = metadata;
    const body = { metadata: { uid }, status: { loadBalancer: { ingress: value } } };
    const where = { ...(namespace !== undefined && { namespace }), subresource: 'status' as const };
    try {
      await client.patch(ingresses, name, { type: 'merge', body }, where);
    } catch (error) {
      // It is gone, or another one has its name.
      if (!(error instanceof ApiError && (error.code === 404 || error.code === 409))) throw error;
    }
  };

  const run = async (): Promise<void> => {
    while (wanted !== undefined && !closed) {
      const routes = wanted;
      wanted = undefined;
      try {
        await writeStatus(routes);
      } catch (error) {
        onError(error);
        wanted ??= routes;
        timer = setTimeout(start, RETRY);
        break;
      }
    }
    writing = undefined;
  };
  const start = (): void => {
    clearTimeout(timer);
    writing ??= run();
  };

  return {
    served(routes) {
      tell(routes.problems);
      wanted = routes;
      start();
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await writing;
      await recorder.flush();
    },
  };
}
