/** Bindings of routes become what the router does; addresses and keys are looked after. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { addressGuard } from '#lib/guarded-address.ts';
import { type ControlPlane, startControlPlane } from '#testing/control-plane.ts';
import { installResources } from '../../resources/definitions.ts';
import { createInformers, type Informers } from '../../resources/informers.ts';
import { secrets } from '../../resources/kubernetes.ts';
import { secretText } from '../../resources/secrets.ts';
import { serviceBindings, serviceInstances } from '../../resources/service-types.ts';
import { domains, type Route, routes, spaces, systemNamespace } from '../../resources/types.ts';
import { until } from '../testing.ts';
import { openRouteServices } from './open.ts';
import type { RouteServices } from './route-services.ts';
import { serviceUrl } from './service-url.ts';
import { KEYS_SECRET, SignatureKeys } from './signature-keys.ts';

let plane: ControlPlane;
let informers: Informers;
let services: RouteServices;
let namespace: string;
const problems: string[] = [];
let changes = 0;
const log = (_level: string, message: string, fields?: Record<string, unknown>) =>
  problems.push(`${message} ${JSON.stringify(fields)}`);

before(async () => {
  plane = await startControlPlane();
  await installResources(plane.client);
  namespace = await plane.namespace('space');
  await plane.namespace(systemNamespace).catch(() => undefined);
  informers = createInformers(plane.client);
  services = openRouteServices({
    informers,
    guard: addressGuard(() => ['198.51.100.0/24'], []),
    router: { address: '127.0.0.1', port: 8443 },
    onChange: () => changes++,
    log,
  });
  await services.synced;
});
after(async () => {
  services?.close();
  informers?.close();
  await plane?.close();
});

const routeNamed = (name: string): Route => ({
  metadata: { name, namespace },
  spec: { domain: 'd1', domainName: 'apps.test', host: name, path: '', protocol: 'http', destinations: [] },
});
const of = (name: string) => services.read().of(routeNamed(name));

async function bind(route: string, url: string): Promise<void> {
  const { client } = plane;
  await client.create(serviceInstances, {
    metadata: { name: `i-${route}`, namespace },
    spec: { displayName: route, tags: [], routeServiceUrl: url },
  });
  await client.create(serviceBindings, {
    metadata: { name: `b-${route}`, namespace },
    spec: { route, instance: `i-${route}` },
  });
}

test('a binding is a service of the route at an address that may be reached', async () => {
  await bind('outside', 'https://203.0.113.9:8443/check?x=1');
  await until('it is known where it is', () => of('outside')?.addresses.length === 1);
  const { url, addresses } = of('outside') ?? {};
  assert.deepEqual([url, addresses], ['https://203.0.113.9:8443/check?x=1', ['203.0.113.9']]);
  assert.equal(of('other'), undefined);
  for (const [name, where] of [
    ['inside', 'https://198.51.100.7/'],
    ['loopback', 'https://127.0.0.1/'],
    ['named', 'https://localhost/'],
  ] as const) {
    await bind(name, where);
    await until('it is refused', () => of(name) !== undefined && problems.some((one) => one.includes(hostIn(where))));
    assert.deepEqual(of(name)?.addresses, [], 'there is a service, and nobody to ask');
  }
});

const hostIn = (url: string) => JSON.stringify(new URL(url).hostname);

test('a service that is an app of everybody’s domain is at the router', async () => {
  const { client } = plane;
  await client.create(domains, { metadata: { name: 'd1' }, spec: { displayName: 'apps.test', internal: false } });
  await client.create(domains, {
    metadata: { name: 'd2' },
    spec: { displayName: 'own.test', internal: false, organization: 'somebody' },
  });
  await client.create(routes, routeNamed('guard'));
  const own = routeNamed('private');
  await client.create(routes, { ...own, spec: { ...own.spec, domain: 'd2', domainName: 'own.test' } });
  await bind('through', 'https://guard.apps.test:8443/');
  await until('it is the router', () => of('through')?.addresses.join() === '127.0.0.1');
  await bind('elsewhere', 'https://guard.apps.test/');
  await bind('theirs', 'https://private.own.test:8443/');
  await until('both are known', () => of('elsewhere') !== undefined && of('theirs') !== undefined);
  assert.notDeepEqual(of('elsewhere')?.addresses, ['127.0.0.1'], 'another port is another server');
  assert.notDeepEqual(of('theirs')?.addresses, ['127.0.0.1'], 'the domain is of another organization');
  await client.create(spaces, {
    metadata: { name: 'space-guid' },
    spec: { displayName: 'space', organization: 'somebody', namespace },
  });
  await until('it is of its own', () => of('theirs')?.addresses.join() === '127.0.0.1');
});

test('URLs are told to the proxy in a form that it takes', () => {
  assert.equal(serviceUrl('https://user:pass@Svc.Test/a|b?c=<d>#e'), 'https://svc.test/a%7Cb?c=%3Cd%3E');
  assert.equal(serviceUrl('http://svc.test/'), undefined);
  assert.equal(serviceUrl('nonsense'), undefined);
});

test('keys are kept, and a new one comes every day', async () => {
  await until('there is one', () => services.read().keys.length === 1);
  const [first] = services.read().keys;
  let now = Date.now();
  let told = 0;
  const open = () => new SignatureKeys({ client: plane.client, now: () => now, onChange: () => told++, log });
  const current = async (keys: SignatureKeys, count: number) => {
    await until(`${count} keys`, () => keys.current().length === count);
    keys.close();
    return keys.current().map(({ id }) => id);
  };
  assert.deepEqual(await current(open(), 1), [first?.id], 'who comes later has the same');
  now += 25 * 3600_000;
  const [second, before] = await current(open(), 2);
  assert.notEqual(second, first?.id);
  assert.equal(before, first?.id);
  now += 10 * 60_000;
  assert.deepEqual(await current(open(), 1), [second]);
  assert.ok(told >= 3 && changes > 0);
  const kept = await plane.client.get(secrets, KEYS_SECRET, systemNamespace);
  assert.match(secretText(kept, 'keys'), /^\[\{"id":"[0-9a-f]{16}","key":"[A-Za-z0-9+/]{43}=","madeAt":/);
});
