/** Ingresses through the real API server and a real HAProxy: what is asked for is what is served, and who is told of what is not. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as requestTls } from 'node:https';
import { after, before, describe, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { endpointSlices, events, ingressClasses, ingresses, secrets, services } from '#cluster/kinds/resources.ts';
import type { IngressSpec } from '#cluster/kinds/types/networking.ts';
import { addressGuard } from '#lib/guarded-address.ts';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { sourceAddress } from '#lib/source-address.ts';
import { type ControlPlane, startControlPlane } from '#testing/control-plane.ts';
import { installResources } from '../../resources/definitions.ts';
import { createInformers, type Informers } from '../../resources/informers.ts';
import { apps, domains, routes } from '../../resources/types.ts';
import { type RouteController, startRouteController } from '../controller.ts';
import { type App, get, startApp, startRouter, type TestRouter, until } from '../testing.ts';
import { ensureIngressClass } from './default-class.ts';

const PATIENCE = 60_000;
const namespace = 'web';
const started: App[] = [];
const abort = new AbortController();
let plane: ControlPlane;
let informers: Informers;
let router: TestRouter;
let controller: RouteController;
let address: string;

before(async () => {
  plane = await startControlPlane();
  await installResources(plane.client);
  await plane.namespace(namespace);
  await ensureIngressClass(plane.client);
  address = await sourceAddress();
  informers = createInformers(plane.client);
  router = await startRouter({ system: [{ host: 'api.apps.test', address: '127.0.0.1', port: 9 }] });
  controller = startRouteController({
    informers,
    router: router.router,
    systemHosts: ['api.apps.test'],
    address: '192.0.2.7',
    guard: addressGuard(() => [], []),
    signal: abort.signal,
    log: () => undefined,
  });
  await controller.ready;
  for (const name of ['one', 'two', 'three']) await service(name);
});

after(async () => {
  await controller?.close();
  informers?.close();
  for (const app of started) await app[Symbol.asyncDispose]();
  await router?.[Symbol.asyncDispose]();
  await plane?.close();
});

/** A Service with an endpoint that answers with the Service's name. */
async function service(name: string): Promise<void> {
  const app = await startApp(name);
  started.push(app);
  await plane.client.create(services, {
    metadata: { name, namespace },
    spec: { ports: [{ name: 'web', port: 80, targetPort: app.port }] },
  });
  await plane.client.create(endpointSlices, slice(name, app.port, true));
}

function slice(name: string, port: number, ready: boolean) {
  return {
    metadata: { name: `${name}-1`, namespace, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [address], conditions: { ready, serving: ready, terminating: false } }],
    ports: [{ name: 'web', port, protocol: 'TCP' }],
  };
}

const to = (name: string) => ({ service: { name, port: { number: 80 } } });
const path = (text: string, pathType: string, name: string) => ({ path: text, pathType, backend: to(name) });

async function ingress(name: string, spec: IngressSpec, annotations: Record<string, string> = {}): Promise<void> {
  await plane.client.create(ingresses, { metadata: { name, namespace, annotations }, spec });
}

const remove = (name: string): Promise<void> => plane.client.delete(ingresses, name, { namespace });

async function answers(host: string, at: string, expected: string | number): Promise<void> {
  let last: unknown;
  await until(
    `${host}${at} answers ${expected}`,
    async () => {
      const { status, body } = await get(router.router, host, at);
      last = status === 200 ? body : status;
      return last === expected;
    },
    PATIENCE,
  ).catch((error: Error) => {
    throw new Error(`${error.message}, last was ${String(last)}`, { cause: error });
  });
}

async function toldOf(name: string, message: RegExp, kind = 'Ingress'): Promise<void> {
  await until(
    `${kind} ${name} is told ${message}`,
    async () => {
      const { items } = await plane.client.list(events, { namespace });
      return items.some(
        (one) =>
          one.involvedObject.kind === kind && one.involvedObject.name === name && message.test(one.message ?? ''),
      );
    },
    PATIENCE,
  );
}

/** Who serves the host by TLS, and with whose certificate. */
async function serverOf(host: string): Promise<string> {
  const sent = requestTls({
    host: '127.0.0.1',
    port: router.router.ports().https,
    servername: host,
    headers: { host },
    rejectUnauthorized: false,
    agent: false,
  }).end();
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  const issuer = (response.socket as TLSSocket).getPeerCertificate().issuer.CN;
  response.resume();
  await once(response, 'end');
  return String(issuer);
}

async function tlsData(hosts: string[], authorityName: string): Promise<Record<string, string>> {
  const authority = await createAuthority({ commonName: authorityName, days: 1 });
  const pair = await issueCertificate(authority, {
    commonName: hosts[0] ?? '',
    dnsNames: hosts,
    usages: ['server'],
    days: 1,
  });
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return { 'tls.crt': base64(pair.certificate), 'tls.key': base64(pair.key) };
}

describe('ingress', { concurrency: 1 }, () => {
  test('the class is made once, as the default one, and is the administrator’s from then on', async () => {
    const made = await plane.client.get(ingressClasses, 'sampan');
    assert.equal(made.metadata.annotations?.['ingressclass.kubernetes.io/is-default-class'], 'true');
    await plane.client.create(ingressClasses, {
      metadata: { name: 'other' },
      spec: { controller: 'example.com/other' },
    });
    await ingress('unnamed', { defaultBackend: to('one') });
    const { spec } = await plane.client.get(ingresses, 'unnamed', namespace);
    assert.equal(spec?.ingressClassName, 'sampan');
    await remove('unnamed');
  });

  test('hosts and paths by the specification’s table', async () => {
    await ingress('table', {
      rules: [
        {
          host: 'table.test',
          http: {
            paths: [
              path('/', 'Prefix', 'one'),
              path('/exact', 'Exact', 'two'),
              path('/exact-slash/', 'Exact', 'two'),
              path('/pre/', 'Prefix', 'two'),
              path('/pre/deep', 'Prefix', 'three'),
              path('/both', 'Prefix', 'two'),
              path('/both', 'Exact', 'three'),
              path('/own', 'ImplementationSpecific', 'two'),
              path('/a b', 'Prefix', 'two'),
            ],
          },
        },
        { host: '*.wild.test', http: { paths: [path('/', 'Prefix', 'two'), path('/x', 'Exact', 'three')] } },
        { host: 'exact.wild.test', http: { paths: [path('/only', 'Prefix', 'one')] } },
      ],
    });
    await answers('exact.wild.test', '/only', 'one');
    const expected: [string, string, string | number][] = [
      ['table.test', '/', 'one'],
      ['table.test', '/exact', 'two'],
      ['table.test', '/exact/', 'one'],
      ['table.test', '/exact?q=1', 'two'],
      ['table.test', '/Exact', 'one'],
      ['table.test', '/exact-slash/', 'two'],
      ['table.test', '/exact-slash', 'one'],
      ['table.test', '/pre', 'two'],
      ['table.test', '/pre/', 'two'],
      ['table.test', '/pre/x', 'two'],
      ['table.test', '/prefix', 'one'],
      ['table.test', '/pre/deep/x', 'three'],
      ['table.test', '/pre/deeper', 'two'],
      ['table.test', '/both', 'three'],
      ['table.test', '/both/x', 'two'],
      ['table.test', '/own/x', 'two'],
      ['table.test', '/a%20b', 'two'],
      ['TABLE.test:8080', '/', 'one'],
      ['a.wild.test', '/', 'two'],
      ['a.wild.test', '/x', 'three'],
      ['a.b.wild.test', '/', 404],
      ['wild.test', '/', 404],
      ['exact.wild.test', '/x', 'three'],
    ];
    for (const [host, at, name] of expected) await answers(host, at, name);
    await until(
      'its status shows the address',
      async () => {
        const { status } = await plane.client.get(ingresses, 'table', namespace);
        const [shown] = status?.loadBalancer?.ingress ?? [];
        return shown?.ip === '192.0.2.7' && shown.ports?.[0]?.port === router.router.ports().http;
      },
      PATIENCE,
    );
    await remove('table');
    await answers('table.test', '/', 404);
  });

  test('default backends: at the hosts of the rules what no rule takes, elsewhere what nobody takes', async () => {
    await ingress('whole', { defaultBackend: to('one') });
    await answers('whoever.test', '/x', 'one');
    await ingress('with-rules', {
      defaultBackend: to('two'),
      rules: [{ host: 'rules.test', http: { paths: [path('/three', 'Prefix', 'three')] } }, { host: 'none.test' }],
    });
    await answers('rules.test', '/three', 'three');
    await answers('rules.test', '/x', 'two');
    await answers('none.test', '/', 'two');
    await answers('whoever.test', '/', 'one');
    await toldOf('with-rules', /^\*\/ is not served: the Ingress web\/whole has \*\/ already$/);
    // A rule, of whichever age, is stronger than a default backend.
    await ingress('rule', { rules: [{ host: 'rules.test', http: { paths: [path('/', 'Prefix', 'three')] } }] });
    await answers('rules.test', '/x', 'three');
    await ingress('any-host', { rules: [{ http: { paths: [path('/any', 'Prefix', 'three')] } }] });
    await answers('whoever.test', '/any', 'three');
    await answers('whoever.test', '/', 'one');
    for (const name of ['whole', 'with-rules', 'rule', 'any-host']) await remove(name);
    await answers('whoever.test', '/', 404);
  });

  test('only Ingresses of a class of this controller are served, and lose the address with the class', async () => {
    const spec = { rules: [{ host: 'class.test', http: { paths: [path('/', 'Prefix', 'one')] } }] };
    await ingress('classy', { ...spec, ingressClassName: 'other' });
    await ingress(
      'old',
      { rules: [{ host: 'old.test', http: spec.rules[0]?.http ?? { paths: [] } }] },
      { 'kubernetes.io/ingress.class': 'sampan' },
    );
    await answers('old.test', '/', 'one');
    await answers('class.test', '/', 404);
    const change = (ingressClassName: string) =>
      plane.client.patch(ingresses, 'classy', { type: 'merge', body: { spec: { ingressClassName } } }, { namespace });
    const address = async (): Promise<string | undefined> =>
      (await plane.client.get(ingresses, 'classy', namespace)).status?.loadBalancer?.ingress?.[0]?.ip;
    await change('sampan');
    await answers('class.test', '/', 'one');
    await until('it has the address', async () => (await address()) === '192.0.2.7', PATIENCE);
    await change('other');
    await answers('class.test', '/', 404);
    await until('it has no address', async () => (await address()) === undefined, PATIENCE);
    for (const name of ['classy', 'old']) await remove(name);
  });

  test('backends: by name of the port, without an endpoint, without a Service, and as they change', async () => {
    await ingress('ports', {
      rules: [
        {
          host: 'ports.test',
          http: {
            paths: [
              { path: '/named', pathType: 'Prefix', backend: { service: { name: 'one', port: { name: 'web' } } } },
              { path: '/no-port', pathType: 'Prefix', backend: { service: { name: 'one', port: { number: 81 } } } },
              path('/missing', 'Prefix', 'missing'),
              { path: '/bucket', pathType: 'Prefix', backend: { resource: { kind: 'Bucket', name: 'b' } } },
            ],
          },
        },
      ],
    });
    await answers('ports.test', '/named', 'one');
    await answers('ports.test', '/missing', 503);
    await answers('ports.test', '/no-port', 503);
    await answers('ports.test', '/bucket', 503);
    await toldOf('ports', /^the Service missing does not exist$/);
    await toldOf('ports', /^the Service one has no port 81$/);
    await toldOf('ports', /^the backend Bucket b is not served/);
    await service('missing');
    await answers('ports.test', '/missing', 'missing');
    const { ports } = await plane.client.get(endpointSlices, 'missing-1', namespace);
    const port = ports?.[0]?.port ?? 0;
    await plane.client.update(endpointSlices, slice('missing', port, false));
    await answers('ports.test', '/missing', 503);
    await plane.client.update(endpointSlices, slice('missing', port, true));
    await answers('ports.test', '/missing', 'missing');
    await remove('ports');
  });

  test('TLS: by the name that a client asks for, replaced and taken away without a reload', async () => {
    const data = await tlsData(['tls.test', '*.tls.test'], 'first');
    await ingress('tls', {
      tls: [{ hosts: ['tls.test', '*.tls.test'], secretName: 'tls' }, { secretName: 'other' }],
      rules: ['tls.test', 'a.tls.test', 'rule.test'].map((host) => ({
        host,
        http: { paths: [path('/', 'Prefix', 'one')] },
      })),
    });
    await answers('tls.test', '/', 'one');
    assert.equal(await serverOf('tls.test'), 'router-test');
    await toldOf('tls', /^TLS for tls\.test, \*\.tls\.test: there is no Secret tls of the type kubernetes\.io\/tls/);
    await plane.client.create(secrets, { metadata: { name: 'tls', namespace }, type: 'kubernetes.io/tls', data });
    const shown = (host: string, issuer: string): Promise<void> =>
      until(`${host} shows ${issuer}`, async () => (await serverOf(host)) === issuer, PATIENCE);
    await shown('tls.test', 'first');
    await shown('a.tls.test', 'first');
    assert.equal(await serverOf('b.a.tls.test'), 'router-test');
    await plane.client.update(secrets, {
      metadata: { name: 'tls', namespace },
      type: 'kubernetes.io/tls',
      data: await tlsData(['tls.test'], 'second'),
    });
    await shown('tls.test', 'second');
    // A key of somebody else's is told, and nothing else suffers.
    const mixed = { ...(await tlsData(['rule.test'], 'x')), 'tls.key': data['tls.key'] ?? '' };
    await plane.client.create(secrets, {
      metadata: { name: 'other', namespace },
      type: 'kubernetes.io/tls',
      data: mixed,
    });
    await toldOf('tls', /^TLS for a\.tls\.test, rule\.test: .*its private key is that of another certificate$/);
    await shown('tls.test', 'second');
    await plane.client.update(secrets, {
      metadata: { name: 'other', namespace },
      type: 'kubernetes.io/tls',
      data: await tlsData(['rule.test'], 'third'),
    });
    await shown('rule.test', 'third');
    // It is what a proxy serves that is started again, too.
    const { proxyPid = 0 } = router.router.status();
    process.kill(proxyPid, 'SIGKILL');
    await until('another proxy', () => (router.router.status().proxyPid ?? proxyPid) !== proxyPid, PATIENCE);
    await until('it serves', async () => (await serverOf('rule.test').catch(() => '')) === 'third', PATIENCE);
    await remove('tls');
    await shown('rule.test', 'router-test');
    assert.equal(router.router.status().reloads, 0);
  });

  test('conflicts: the oldest has it, route of an app or Ingress, and the platform’s own hosts are nobody’s', async () => {
    await plane.client.create(domains, {
      metadata: { name: 'd1' },
      spec: { displayName: 'apps.test', internal: false },
    });
    const app = '11111111-1111-4111-8111-111111111111';
    await plane.client.create(apps, {
      metadata: { name: app, namespace },
      spec: { displayName: 'web', state: 'STARTED', lifecycle: { type: 'docker' }, generation: 1 },
    });
    const destinations = [{ guid: 'x', app, processType: 'web', protocol: 'http1' as const }];
    const routeOf = (name: string, host: string) => ({
      metadata: { name, namespace },
      spec: { domain: 'd1', domainName: 'apps.test', host, path: '', protocol: 'http' as const, destinations },
    });
    await plane.client.create(routes, routeOf('a-route', 'mine'));
    await answers('mine.apps.test', '/', 503);
    const rule = (host: string, name: string) => ({ host, http: { paths: [path('/', 'Prefix', name)] } });
    await ingress('z-ingress', {
      rules: [rule('mine.apps.test', 'one'), rule('yours.apps.test', 'one'), rule('api.apps.test', 'one')],
    });
    await answers('yours.apps.test', '/', 'one');
    await answers('mine.apps.test', '/', 503);
    await toldOf('z-ingress', /^mine\.apps\.test\/ is not served: the route a-route has mine\.apps\.test\/ already$/);
    await toldOf('z-ingress', /^api\.apps\.test\/ is not served: api\.apps\.test is the platform's own$/);
    await plane.client.create(routes, routeOf('zz-route', 'yours'));
    await toldOf('zz-route', /^the Ingress web\/z-ingress has yours\.apps\.test\/ already$/, 'Route');
    await answers('yours.apps.test', '/', 'one');
    await plane.client.delete(routes, 'a-route', { namespace });
    await answers('mine.apps.test', '/', 'one');
    await remove('z-ingress');
    await answers('yours.apps.test', '/', 503);
  });
});
