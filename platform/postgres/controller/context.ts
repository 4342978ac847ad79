/** What the controller and the broker work with. */
import type { Client, Informer } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { PersistentVolumeClaim, Pod, Secret } from '#cluster/kinds/types/core.ts';
import type { KeyPair } from '#lib/certificates.ts';
import type { BackupStore } from '../backups/store.ts';
import type { Recipe } from '../image/recipe.ts';
import { BrokerError, type Log, NAMESPACE, type Plan } from '../postgres.ts';
import { labels, type PostgresDatabase } from '../resource.ts';
import type { Session } from '../session.ts';

export type Database = Stored<PostgresDatabase>;

/** Of the namespace; opened with the first database. */
export interface Watches {
  pods: Informer<Pod>;
  claims: Informer<PersistentVolumeClaim>;
  bindings: Informer<Secret>;
}

export interface PostgresContext {
  /** As the service account. */
  client: Client;
  databases: Informer<PostgresDatabase>;
  /** Resolves when they have their first lists. */
  watches(): Promise<Watches>;
  backups: BackupStore;
  plans: readonly Plan[];
  recipe: Recipe;
  /** Reference of the image of `recipe`; it is made where there is none. */
  image(): Promise<string>;
  session(database: string): Session;
  /** Signs the servers' certificates. */
  authority(): Promise<KeyPair>;
  clusterDomain: string;
  log: Log;
  now: () => number;
  signal: AbortSignal;
}

export function planOf(context: PostgresContext, { spec }: Database): Plan {
  const plan = context.plans.find(({ name }) => name === spec.plan);
  if (plan === undefined) throw new BrokerError(500, `There is no plan ${JSON.stringify(spec.plan)} any more.`);
  return plan;
}

export function bindingsOf({ bindings }: Watches, database: string): Stored<Secret>[] {
  return bindings.list({ namespace: NAMESPACE, labels: { [labels.database]: database } });
}
