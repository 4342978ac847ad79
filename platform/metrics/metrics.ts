/**
 * The metrics room's contract: what apps, routes and the platform do, measured once, and read in three ways: as the statistics
 * of `cf app`, as envelopes of Cloud Foundry's log cache (and by its PromQL), and by an exporter (`exporter.ts`).
 *
 * Containers are measured by the nodes and told on the bus; requests are told by the router's access log; restarts are in the pods'
 * status. Everything is kept in memory, within bounds, and begins anew with the platform: the counters of an exporter fall to
 * zero then, as its readers expect.
 */
import type { MetricEnvelope } from './envelopes.ts';
import type { MetricFamily } from './exporter.ts';
import type { RouteUse } from './route-window.ts';

/** What an app's instance uses. */
export interface InstanceUse {
  /** Milliseconds since the epoch. */
  at: number;
  /** Share of one processor. */
  cpu: number;
  memoryBytes: number;
  diskBytes: number;
  /** Bytes of log in a second. */
  logRate: number;
}

export interface Metrics {
  /** What was told last of a pod's main container; undefined when nothing was, or it is older than half a minute. */
  useOf(namespace: string, pod: string): InstanceUse | undefined;
  /** Asks the nodes to measure now. Resolves when all that told something before have answered, or after the time. */
  refresh(milliseconds: number): Promise<void>;
  /** How a route, by its guid, has answered within the last minute. */
  routeUse(route: string): RouteUse;
  /** Of one source (an app), oldest first: what is kept, at most 1,000 of each kind. */
  envelopes(sourceId: string): MetricEnvelope[];
  sources(): string[];
  /** The app was deleted. */
  forget(sourceId: string): void;
  /** Everything that an exporter shows, now. */
  families(): MetricFamily[];
  close(): void;
}
