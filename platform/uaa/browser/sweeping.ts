/** Taking away Secrets that are good for a while, when that is over. */
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Client } from '#cluster/client/client.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import { secrets } from '../../resources/kubernetes.ts';
import { systemNamespace } from '../../resources/types.ts';

const SWEEP_MILLISECONDS = 10 * 60_000;

/** Those of the label whose time is over, and those that end first where there are more than so many. */
export async function sweepSecrets(
  client: Client,
  which: { label: string; most: number; untilOf: (secret: Secret) => number; now: () => number },
): Promise<void> {
  const { items } = await client.list(secrets, { namespace: systemNamespace, labelSelector: which.label });
  const all = items.map((secret) => ({ name: secret.metadata.name, until: which.untilOf(secret) }));
  const sorted = all.toSorted((a, b) => b.until - a.until);
  for (const [index, { name, until }] of sorted.entries()) {
    if (index >= which.most || until <= which.now())
      await orUndefined(client.delete(secrets, name, { namespace: systemNamespace }));
  }
}

/** At once, and now and then, until the returned function is called. */
export function keepSweeping(sweep: () => Promise<unknown>, onError: (error: unknown) => void): () => void {
  const run = (): void => void sweep().catch(onError);
  const timer = setInterval(run, SWEEP_MILLISECONDS);
  timer.unref();
  run();
  return () => clearInterval(timer);
}
