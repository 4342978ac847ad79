/** What the parts of the scheduler share. */
import type { Client, Informer } from '../client/client.ts';
import type { EventRecorder } from '../client/event-recorder.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { PodDisruptionBudget } from '../kinds/types/policy.ts';
import type { Batches } from './batch.ts';
import type { Cluster } from './cluster.ts';
import type { Search } from './find-nodes.ts';
import type { Nominations } from './nominations.ts';
import type { Plugin } from './plugin.ts';
import type { PodQueue } from './pod-queue.ts';
import type { Wake } from './wake.ts';

export interface SchedulerState {
  readonly client: Client;
  readonly recorder: EventRecorder;
  readonly plugins: readonly Plugin[];
  readonly cluster: Cluster;
  readonly nominations: Nominations;
  readonly queue: PodQueue;
  readonly search: Search;
  readonly batches: Batches;
  readonly wake: Wake;
  readonly pods: Informer<Pod>;
  readonly budgets: Informer<PodDisruptionBudget>;
  readonly signal: AbortSignal;
  readonly now: () => number;
  /** Follows a job to its end: what it rejects with is logged, and closing waits for it. */
  track(job: Promise<void>): void;
  /** Binds are under way: how many. */
  binding: number;
  /** Asks for a turn of the queue. */
  schedule(): void;
}
