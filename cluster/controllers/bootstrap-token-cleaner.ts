/** Removes bootstrap tokens whose time is over (Kubernetes "Authenticating with Bootstrap Tokens"); nobody is let in by one before that. */
import { ApiError, type Informer } from '../client/client.ts';
import { secrets as secretResource } from '../kinds/resources.ts';
import type { Secret } from '../kinds/types/core.ts';
import type { Controller } from './controller.ts';
import { openInformer } from './objects.ts';

const NAMESPACE = 'kube-system';
const TYPE = 'bootstrap.kubernetes.io/token';

/** Milliseconds since the epoch; undefined for one that does not end. */
function endOf({ type, data }: Secret): number | undefined {
  const expiration = type === TYPE ? data?.['expiration'] : undefined;
  const time = expiration === undefined ? Number.NaN : Date.parse(Buffer.from(expiration, 'base64').toString());
  return Number.isNaN(time) ? undefined : time;
}

export function createBootstrapTokenCleaner(): Controller {
  let secrets: Informer<Secret>;
  let requeue: (key: string, afterMilliseconds?: number) => void = () => undefined;
  const tokens = () => secrets.list({ namespace: NAMESPACE }).filter((secret) => endOf(secret) !== undefined);
  return {
    name: 'bootstrap-token-cleaner',
    async start(context, enqueue) {
      requeue = enqueue;
      secrets = openInformer(context, secretResource);
      secrets.onChange((now) => {
        if (now?.metadata.namespace === NAMESPACE && endOf(now) !== undefined) enqueue(now.metadata.name);
      });
      await secrets.synced;
      for (const { metadata } of tokens()) enqueue(metadata.name);
    },
    keys: () => tokens().map(({ metadata }) => metadata.name),
    async reconcile(name, { client, now }) {
      const secret = secrets.get(name, NAMESPACE);
      const end = secret && endOf(secret);
      if (secret === undefined || end === undefined) return;
      if (end > now()) return requeue(name, end - now());
      const { uid } = secret.metadata;
      await client
        .delete(secretResource, name, { namespace: NAMESPACE, preconditions: { uid } })
        .catch((error: unknown) => {
          if (!(error instanceof ApiError && error.code === 404)) throw error;
        });
    },
  };
}
