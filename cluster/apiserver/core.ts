/** What every verb works on. */
import type { Store } from '../store/store.ts';
import type { Aggregation } from './aggregation/aggregation.ts';
import type { Admission } from './admission/plugin.ts';
import type { AgentDialer } from './agent-dialer.ts';
import type { Cache } from './cache.ts';
import type { TurnsByKey } from '#lib/turns.ts';
import type { Metrics } from './metrics.ts';
import type { NodeGraph } from './node-graph.ts';
import type { RoleIndex } from './rbac/role-index.ts';
import type { Registry } from './registry.ts';
import type { Usage } from './usage/usage.ts';
import type { ServiceAddresses } from './service-addresses.ts';

export type Log = (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;

export interface Core {
  store: Store;
  cache: Cache;
  registry: Registry;
  addresses: ServiceAddresses;
  /**
   * Changes of one object, by its key: they would otherwise lose against each other and be tried again, a round for each. The store's
   * comparison of revisions stays what makes them right.
   */
  turns: TurnsByKey;
  /** Who has which roles. */
  roles: RoleIndex;
  /** Which node needs which objects. */
  nodes: NodeGraph;
  admission: Admission;
  agents: AgentDialer;
  /** API servers of others. */
  aggregation: Aggregation;
  /** What nodes and pods use at the moment. */
  usage: Usage;
  metrics: Metrics;
  log: Log;
  now: () => number;
  /** The server is about to stop: it is no longer ready. */
  closing: boolean;
}
