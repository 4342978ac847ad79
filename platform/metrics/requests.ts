/** Requests by app and by route, as the router tells them. */
import { BoundedMap } from '#lib/bounded-map.ts';
import type { AccessRecord, Route } from '../router/model.ts';
import { fromMilliseconds } from '../time.ts';
import type { MetricEnvelope } from './envelopes.ts';
import type { Histogram } from './exporter.ts';

/** Seconds. A web app's answers lie in the middle of these. */
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;

/** Of routes that are gone as much is kept as makes no harm. */
const MOST_ROUTES = 20_000;

export interface AppRequests {
  /** By class: `2xx`. */
  statuses: Map<string, number>;
  receivedBytes: number;
  sentBytes: number;
}

export interface RouteRequests {
  app: string;
  host: string;
  path: string;
  statuses: Map<string, number>;
  /** Of each bound by itself; see `histogramOf`. */
  observed: number[];
  sum: number;
  count: number;
}

export class Requests {
  readonly apps = new Map<string, AppRequests>();
  readonly routes = new BoundedMap<string, RouteRequests>(MOST_ROUTES);

  add(record: AccessRecord, app: string, route: Pick<Route, 'host' | 'path'> | undefined): void {
    const status = `${Math.floor(Math.max(0, record.status) / 100)}xx`;
    let total = this.apps.get(app);
    if (total === undefined) this.apps.set(app, (total = { statuses: new Map(), receivedBytes: 0, sentBytes: 0 }));
    increase(total.statuses, status);
    total.receivedBytes += Math.max(0, record.bytesIn);
    total.sentBytes += Math.max(0, record.bytesOut);
    if (route === undefined) return;
    const key = `${app} ${route.host}${route.path}`;
    let one = this.routes.get(key);
    if (one === undefined) {
      const { host, path } = route;
      one = { app, host, path, statuses: new Map(), observed: BOUNDS.map(() => 0), sum: 0, count: 0 };
      this.routes.set(key, one);
    }
    increase(one.statuses, status);
    if (record.status !== 101) observe(one, Math.max(0, record.total) / 1000);
  }

  forget(app: string): void {
    this.apps.delete(app);
    for (const [key, route] of this.routes) if (route.app === app) this.routes.delete(key);
  }
}

function increase(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function observe(route: RouteRequests, seconds: number): void {
  const at = BOUNDS.findIndex((bound) => seconds <= bound);
  if (at >= 0) route.observed[at] = (route.observed[at] ?? 0) + 1;
  route.sum += seconds;
  route.count += 1;
}

export function histogramOf({ observed, sum, count }: RouteRequests): Histogram {
  let below = 0;
  return { bounds: BOUNDS, counts: observed.map((one) => (below += one)), sum, count };
}

/** As Cloud Foundry's router tells it: a timer named `http`. */
export function requestEnvelope(record: AccessRecord, app: string, tags: Record<string, string>): MetricEnvelope {
  const start = fromMilliseconds(record.at);
  const stop = fromMilliseconds(record.at + Math.max(0, record.total));
  const instanceId = record.instance === undefined ? '' : String(record.instance);
  return {
    timestamp: stop,
    sourceId: app,
    instanceId,
    tags: {
      ...tags,
      method: record.method,
      uri: `http://${record.host}${record.path}`,
      status_code: String(record.status),
      peer_type: 'Client',
      origin: 'gorouter',
      request_id: record.requestId,
      remote_address: record.client,
      user_agent: record.userAgent,
      ...(instanceId !== '' && { instance_id: instanceId, routing_instance_id: record.endpoint }),
    },
    message: { type: 'TIMER', name: 'http', start, stop },
  };
}
