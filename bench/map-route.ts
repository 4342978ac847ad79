/**
 * `cf map-route` with 10,000 routes and 1,000 apps: from the request that gives a route its destination to the first answer of the app
 * through the router, over HTTP with a token, one after another, and once more under load of another route (wrk, 2 threads, 32 kept
 * connections). Cloud controller, API server, route controller and HAProxy are the real ones; the first three and the app share this
 * process, which reads the access log too.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endpointSlices } from '#cluster/kinds/resources.ts';
import { addressGuard } from '#lib/guarded-address.ts';
import { sourceAddress } from '#lib/source-address.ts';
import { startTestCloud, type TestCloud } from '#platform/cloud-controller/cloud.fixture.ts';
import { apps, labels, spaces } from '#platform/resources/types.ts';
import { startRouteController } from '#platform/router/controller.ts';
import type { Router } from '#platform/router/model.ts';
import { openRouter, stopProxy } from '#platform/router/open.ts';
import { fill, guidOf } from './many-routes.ts';
import { installPeer } from './peers.ts';
import { get, routerOptions, wrk } from './router-bed.ts';
import { percentile, type Row } from './row.ts';

const CHANGES = 200;
const LOAD_SECONDS = 30;
/** Milliseconds. */
const LONGEST = 10_000;

/** The first app runs, and this is its only instance. */
async function startInstance({ plane, informers }: TestCloud): Promise<AsyncDisposable> {
  const server = createServer((_request, response) => response.end('hello from the app'));
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  const namespace = informers.of(spaces).list()[0]?.spec.namespace ?? '';
  const guid = guidOf(1, 0);
  const app = await plane.client.get(apps, guid, namespace);
  await plane.client.update(apps, { ...app, spec: { ...app.spec, state: 'STARTED' } });
  await plane.client.create(endpointSlices, {
    metadata: {
      name: 'app-0',
      namespace,
      labels: { [labels.app]: guid, [labels.process]: guid, [labels.processType]: 'web' },
    },
    addressType: 'IPv4',
    endpoints: [
      {
        addresses: [await sourceAddress()],
        conditions: { ready: true },
        targetRef: { kind: 'Pod', name: 'app-0-web', namespace },
      },
    ],
    ports: [{ name: 'http', port: (server.address() as AddressInfo).port, protocol: 'TCP' }],
  });
  return {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function mapRoutes(cloud: TestCloud, router: Router, prefix: string): Promise<number[]> {
  const first = async (path: string) => ((await cloud.json('GET', path)).resources as { guid: string }[])[0]?.guid;
  const [space, domain] = [await first('/v3/spaces'), await first('/v3/domains?names=apps.test')];
  const times: number[] = [];
  for (let number = 0; number < CHANGES; number++) {
    const host = `${prefix}-${number}`;
    const route = await cloud.json('POST', '/v3/routes', {
      host,
      relationships: { space: { data: { guid: space } }, domain: { data: { guid: domain } } },
    });
    const began = performance.now();
    await cloud.json('POST', `/v3/routes/${route.guid}/destinations`, {
      destinations: [{ app: { guid: guidOf(1, 0) } }],
    });
    const passed = (): number => performance.now() - began;
    for (let status; status !== 200; ) {
      if (passed() > LONGEST) throw new Error(`${host}: ${status} after ${LONGEST} ms`);
      status = await get(router.ports().http, `${host}.apps.test`);
    }
    times.push(passed());
  }
  return times;
}

export async function run(): Promise<Row[]> {
  installPeer('haproxy', 'haproxy');
  installPeer('wrk', 'wrk');
  const directory = await mkdtemp(join(tmpdir(), 'bench-map-route-'));
  const options = await routerOptions(directory);
  const cloud = await startTestCloud();
  try {
    await fill(cloud);
    await using _instance = await startInstance(cloud);
    const router = await openRouter(options);
    const stop = new AbortController();
    const controller = startRouteController({
      informers: cloud.informers,
      router,
      systemHosts: [],
      address: '127.0.0.1',
      guard: addressGuard(() => [], []),
      signal: stop.signal,
      log: () => undefined,
    });
    await controller.ready;
    const quiet = await mapRoutes(cloud, router, 'quiet');
    const load = wrk(router.ports().http, 'quiet-0.apps.test', LOAD_SECONDS);
    const loaded = await mapRoutes(cloud, router, 'loaded');
    const { failed } = await load;
    if (failed > 0) throw new Error(`${failed} requests failed`);
    await controller.close();
    await router.close();
    const row = (what: string, times: number[]): Row => ({
      what: `${what}, p99 of ${CHANGES}`,
      unit: 'ms',
      ours: percentile(times, 0.99),
      goal: 'at most 100 ms',
    });
    return [row('destination given to the first 200', quiet), row('the same, under load', loaded)];
  } finally {
    await cloud.close();
    await stopProxy(options);
    await rm(directory, { recursive: true, force: true });
  }
}
