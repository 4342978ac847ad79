import assert from 'node:assert/strict';
import test from 'node:test';
import { endpointSlices } from '#cluster/kinds/resources.ts';
import type { Endpoint } from '#cluster/kinds/types/discovery.ts';
import { addressGuard } from '#lib/guarded-address.ts';
import { sourceAddress } from '#lib/source-address.ts';
import { startControlPlane } from '#testing/control-plane.ts';
import { installResources } from '../resources/definitions.ts';
import { createInformers } from '../resources/informers.ts';
import { apps, domains, labels, type Route, routes } from '../resources/types.ts';
import { startRouteController } from './controller.ts';
import { get, startApp, startRouter, until } from './testing.ts';

const APP = '11111111-1111-4111-8111-111111111111';

test('route controller: routes, endpoints and apps become what the router serves, at once', async () => {
  const plane = await startControlPlane();
  const informers = createInformers(plane.client);
  try {
    await installResources(plane.client);
    const namespace = await plane.namespace('space-1');
    await using one = await startApp('one');
    await using two = await startApp('two');
    await using started = await startRouter();
    const { router } = started;
    const abort = new AbortController();
    const problems: string[] = [];
    const controller = startRouteController({
      informers,
      router,
      systemHosts: ['api.apps.test'],
      address: '127.0.0.1',
      guard: addressGuard(() => [], []),
      signal: abort.signal,
      log: (_level, message, fields) => problems.push(`${message} ${JSON.stringify(fields)}`),
    });
    await controller.ready;

    for (const [name, displayName, internal] of [
      ['d1', 'apps.test', false],
      ['d2', 'apps.internal', true],
    ] as const) {
      await plane.client.create(domains, { metadata: { name }, spec: { displayName, internal } });
    }
    const app = await plane.client.create(apps, {
      metadata: { name: APP, namespace },
      spec: { displayName: 'web', state: 'STARTED', lifecycle: { type: 'docker' }, generation: 1 },
    });
    const routeObject = (name: string, spec: Partial<Route['spec']>): Route => ({
      metadata: { name, namespace },
      spec: {
        domain: 'd1',
        domainName: 'apps.test',
        host: 'web',
        path: '',
        protocol: 'http',
        destinations: [{ guid: `${name}-d`, app: APP, processType: 'web', protocol: 'http1' }],
        ...spec,
      },
    });
    await plane.client.create(routes, routeObject('r1', {}));
    await plane.client.create(routes, routeObject('r2', { domain: 'd2', domainName: 'apps.internal' }));
    await plane.client.create(routes, routeObject('r3', { host: 'api' }));
    await plane.client.create(routes, routeObject('r4', { host: 'bad name' }));
    await until('the route is there', async () => (await get(router, 'web.apps.test')).status === 503);

    // The loopback's may be nobody's endpoint.
    const address = await sourceAddress();
    const endpoint = (name: string, conditions: Endpoint['conditions']): Endpoint => ({
      addresses: [address],
      conditions,
      targetRef: { kind: 'Pod', name, namespace },
    });
    const slice = (name: string, port: number) => ({
      metadata: {
        name,
        namespace,
        labels: { [labels.app]: APP, [labels.process]: 'p1', [labels.processType]: 'web' },
      },
      addressType: 'IPv4',
      endpoints: [endpoint(name, { ready: true, serving: true, terminating: false })],
      ports: [{ name: 'http', port, protocol: 'TCP' }],
    });
    const first = await plane.client.create(endpointSlices, slice('one', one.port));
    await until('it serves', async () => (await get(router, 'web.apps.test')).body === 'one');
    await plane.client.create(endpointSlices, slice('two', two.port));
    await until('both serve', async () => (await get(router, 'web.apps.test')).body === 'two');
    await plane.client.update(endpointSlices, {
      ...first,
      endpoints: [endpoint('one', { ready: false, serving: true, terminating: true })],
    });
    await until('one drains', () => router.status().endpoints === 1);
    for (let i = 0; i < 4; i++) assert.equal((await get(router, 'web.apps.test')).body, 'two');

    assert.equal((await get(router, 'web.apps.internal')).status, 404);
    assert.equal((await get(router, 'api.apps.test')).status, 404);
    assert.equal(problems.filter((text) => text.includes('r3')).length, 1);
    assert.equal(problems.filter((text) => text.includes('r4')).length, 1);

    const record = Promise.withResolvers<string | undefined>();
    router.onAccess((access) => {
      if (access.path === '/whose') record.resolve(controller.applicationOf(access));
    });
    await get(router, 'web.apps.test', '/whose');
    assert.equal(await record.promise, APP);

    await plane.client.update(apps, { ...app, spec: { ...app.spec, state: 'STOPPED' } });
    await until('a stopped app gets nothing', async () => (await get(router, 'web.apps.test')).status === 503);
    await plane.client.delete(routes, 'r1', { namespace });
    await until('the route is gone', async () => (await get(router, 'web.apps.test')).status === 404);
    assert.equal(router.status().reloads, 0);
    await controller.close();
  } finally {
    informers.close();
    await plane.close();
  }
});
