/** Against Debian's pebble: it asks a name server of ours where hosts are, and finds http-01's answers at a real router. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request } from 'node:https';
import { after, before, describe, test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import type { Stored } from '#cluster/kinds/kind.ts';
import { events } from '#cluster/kinds/resources.ts';
import { addressGuard } from '#lib/guarded-address.ts';
import { createRequest } from '#lib/certificate-requests.ts';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { type ControlPlane, startControlPlane } from '#testing/control-plane.ts';
import { serveDns, type TestDns } from '#testing/dns-upstream.ts';
import { type Pebble, pebbleMissing, startPebble } from '#testing/pebble.ts';
import { installResources } from '../resources/definitions.ts';
import { createInformers, type Informers } from '../resources/informers.ts';
import { secrets } from '../resources/kubernetes.ts';
import {
  type DomainCertificate,
  domainCertificates,
  domains,
  labels,
  routes,
  systemNamespace,
} from '../resources/types.ts';
import { type RouteController, startRouteController } from '../router/controller.ts';
import { type App, startApp, startRouter, type TestRouter, until } from '../router/testing.ts';
import { accountKey } from './acme/account.ts';
import { AcmeClient } from './acme/client.ts';
import { acmeHttp } from './acme/http.ts';
import type { AcmeSettings, CertificateSide } from './certificates.ts';
import { keepCertificate, keepNext, keepOrder } from './kept.ts';
import { openCertificates } from './open.ts';

const PATIENCE = 180_000;
const SYSTEM = 'api.apps.test';

describe('certificates', { skip: pebbleMissing, concurrency: false }, () => {
  let plane: ControlPlane;
  let router: TestRouter;
  let app: App;
  let pebble: Pebble;
  let dns: TestDns;
  let informers: Informers;
  let certificates: CertificateSide;
  let controller: RouteController;
  let stop: AbortController;
  const addresses: Record<string, string> = { [SYSTEM]: '127.0.0.1', 'web.apps.test': '127.0.0.1' };
  const clock = { offset: 0 };
  const problems: string[] = [];

  before(async () => {
    plane = await startControlPlane();
    await installResources(plane.client);
    await plane.namespace('space-1');
    app = await startApp('api');
    router = await startRouter({ system: [{ host: SYSTEM, address: '127.0.0.1', port: app.port }] });
    dns = await serveDns(addresses);
    pebble = await startPebble({ httpPort: router.router.ports().http, dns: `${dns.address}:53` });
    for (const [name, displayName] of [
      ['d1', 'apps.test'],
      ['d2', 'shop.test'],
    ] as const)
      await plane.client.create(domains, { metadata: { name }, spec: { displayName, internal: false } });
    await open();
  });
  after(async () => {
    await close();
    await pebble?.[Symbol.asyncDispose]();
    await dns?.[Symbol.asyncDispose]();
    await router?.[Symbol.asyncDispose]();
    await app?.[Symbol.asyncDispose]();
    await plane?.close();
  });

  const settings = (): AcmeSettings => ({
    directory: pebble.directory,
    authorities: pebble.authorities,
    email: 'ops@apps.test',
  });
  const now = (): number => Date.now() + clock.offset;
  const log = (level: string, message: string, fields?: unknown): void =>
    void problems.push(`${level} ${message} ${JSON.stringify(fields)}`);

  async function open(): Promise<void> {
    stop = new AbortController();
    informers = createInformers(plane.client);
    const own = await createAuthority({ commonName: 'own', days: 10 });
    const common = { informers, systemHosts: [SYSTEM], signal: stop.signal, log };
    const guard = addressGuard(() => [], []);
    certificates = openCertificates({
      ...common,
      domain: 'apps.test',
      acme: settings(),
      own: (hosts) => issueCertificate(own, { commonName: 'own', dnsNames: [...hosts], usages: ['server'], days: 5 }),
      now,
    });
    controller = startRouteController({ ...common, router: router.router, certificates, address: '127.0.0.1', guard });
    await controller.ready;
  }

  async function close(): Promise<void> {
    stop?.abort();
    await controller?.close();
    await certificates?.close();
    informers?.close();
  }

  async function route(domain: string, domainName: string, host: string): Promise<void> {
    await plane.client.create(routes, {
      metadata: { name: `${host || 'itself'}-${domain}`, namespace: 'space-1' },
      spec: {
        ...{ domain, domainName, host, path: '', protocol: 'http' },
        destinations: [
          { guid: 'x', app: '11111111-1111-4111-8111-111111111111', processType: 'web', protocol: 'http1' },
        ],
      },
    });
  }

  async function offered(host: string): Promise<X509Certificate> {
    const socket = connect({
      host: '127.0.0.1',
      port: router.router.ports().https,
      servername: host,
      rejectUnauthorized: false,
    });
    await once(socket, 'secureConnect');
    const { raw } = socket.getPeerCertificate();
    socket.destroy();
    return new X509Certificate(raw);
  }

  async function shown(host: string, issuer: RegExp, but = ''): Promise<X509Certificate> {
    let last: X509Certificate | undefined;
    const right = async (): Promise<boolean> => {
      last = await offered(host);
      if (issuer.test(last.issuer) && last.serialNumber !== but) return true;
      await lookAgain(host);
      return false;
    };
    await until(`${host} has a certificate of ${issuer}`, right, PATIENCE).catch((error: Error) => {
      throw new Error(`${error.message}; last of ${last?.issuer}; ${problems.join('\n')}`, { cause: error });
    });
    assert.ok(last);
    return last;
  }

  const of = async (host: string, source = 'acme'): Promise<Stored<DomainCertificate> | undefined> =>
    (await plane.client.list(domainCertificates)).items.find(
      ({ spec }) => spec.source === source && spec.hosts.includes(host),
    );

  async function standing(
    host: string,
    is: (certificate: Stored<DomainCertificate> | undefined) => boolean,
  ): Promise<Stored<DomainCertificate> | undefined> {
    let last: Stored<DomainCertificate> | undefined;
    await until(
      `the certificate of ${host} stands as it should`,
      async () => is((last = await of(host))),
      PATIENCE,
    ).catch((error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(last)}; ${problems.join('\n')}`, { cause: error });
    });
    return last;
  }

  async function told(reason: string, message: RegExp): Promise<void> {
    await until(
      `an event ${reason} ${message}`,
      async () => {
        const { items } = await plane.client.list(events);
        return items.some((one) => one.reason === reason && message.test(one.message ?? ''));
      },
      PATIENCE,
    );
  }

  /** On a busy machine the server's own look at a host may take too long for it: what failed is tried again when it is time. */
  async function lookAgain(host: string): Promise<void> {
    const next = Date.parse((await of(host))?.status?.nextAttempt ?? '');
    if (!(next > now())) return;
    clock.offset += next - now();
    await poke();
  }

  /** So that it looks at the clock. */
  const poke = async (): Promise<void> => {
    await route('d1', 'apps.test', `poke${Math.trunc(clock.offset)}.deep`);
  };

  test('routes and the platform get theirs, while connections go on', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ask = async (): Promise<TLSSocket> => {
      const sent = request({
        ...{ agent, host: '127.0.0.1', port: router.router.ports().https, servername: SYSTEM },
        ...{ headers: { host: SYSTEM }, rejectUnauthorized: false },
      }).end();
      const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
      response.resume();
      await once(response, 'end');
      assert.equal(response.statusCode, 200);
      return response.socket as TLSSocket;
    };
    try {
      const connection = await ask();
      await route('d1', 'apps.test', 'web');
      const certificate = await shown('web.apps.test', /Pebble/);
      assert.equal(certificate.subjectAltName, 'DNS:web.apps.test');
      assert.equal((await shown(SYSTEM, /Pebble/)).subjectAltName, `DNS:${SYSTEM}`);
      assert.equal(await ask(), connection);
      assert.equal(router.router.status().reloads, 0);
      // Who names another host, or none, gets the one that was there before.
      assert.match((await offered('other.apps.test')).issuer, /router-test/);
      await told('Issued', /There is a new certificate for web\.apps\.test/);
      const { status } = (await standing('web.apps.test', (one) => one?.status?.state === 'ACTIVE')) ?? {};
      assert.equal(status?.serial, certificate.serialNumber);
      assert.equal(status?.notAfter, certificate.validToDate.toISOString());
      assert.ok(Date.parse(status?.renewAt ?? '') < certificate.validToDate.getTime());
      assert.deepEqual([...certificates.challenges()], []);
    } finally {
      agent.destroy();
    }
  });

  test('a domain of somebody’s has one of our own at once', async () => {
    assert.equal((await shown('any.shop.test', /CN=own/)).checkHost('shop.test'), 'shop.test');
  });

  test('what fails is said in the server’s words, tried again later, and then it is there', async () => {
    await route('d2', 'shop.test', 'new');
    const failed = await standing('new.shop.test', (one) => one?.status?.state === 'FAILED');
    const { error, failures, nextAttempt } = failed?.status ?? {};
    assert.match(error?.detail ?? '', /new\.shop\.test/);
    assert.ok((error?.type ?? '') !== '' && error?.type !== 'internal', JSON.stringify(error));
    assert.equal(failures, 1);
    assert.ok(Date.parse(nextAttempt ?? '') > now());
    await told('Failed', /There is no new certificate for new\.shop\.test: /);
    assert.match((await offered('new.shop.test')).issuer, /CN=own/);
    addresses['new.shop.test'] = '127.0.0.1';
    clock.offset += 15 * 60_000;
    await poke();
    await shown('new.shop.test', /Pebble/);
    const mended = await standing(
      'new.shop.test',
      (one) => one?.status?.state === 'ACTIVE' && one.status.failures === 0,
    );
    assert.equal(mended?.status?.error, undefined);
    assert.equal(mended?.status?.nextAttempt, undefined);
  });

  test('another process goes on with the order that it finds, and with the account', async () => {
    await close();
    const key = await accountKey(plane.client, pebble.directory);
    const acme = new AcmeClient({
      ...{ settings: settings(), key, http: acmeHttp(pebble.authorities), now },
      signal: AbortSignal.timeout(PATIENCE),
    });
    const order = await acme.newOrder(['late.shop.test']);
    const made = await createRequest({ dnsNames: ['late.shop.test'] });
    addresses['late.shop.test'] = '127.0.0.1';
    await route('d2', 'shop.test', 'late');
    await open();
    // What it has to be called is what another process calls it.
    const called = await standing('late.shop.test', (one) => one !== undefined);
    await close();
    const name = called?.metadata.name ?? '';
    await plane.client.deleteCollection(secrets, {
      namespace: systemNamespace,
      labelSelector: `${labels.certificate}=${name}`,
    });
    await keepNext(plane.client, name, made);
    await keepOrder(plane.client, name, order.url);
    await open();
    const certificate = await shown('late.shop.test', /Pebble/);
    assert.ok(
      certificate.checkPrivateKey((await import('node:crypto')).createPrivateKey(made.key)),
      'it is for the key that was kept',
    );
    assert.equal((await acme.order(order.url))?.status, 'valid');
    const { items } = await plane.client.list(secrets, { namespace: systemNamespace });
    const names = items.map(({ metadata }) => metadata.name);
    assert.equal(names.filter((one) => one.startsWith('acme-account-')).length, 1);
  });

  test('it is made anew when two thirds of its life are over', async () => {
    const before = await offered('web.apps.test');
    const life = before.validToDate.getTime() - before.validFromDate.getTime();
    clock.offset = before.validFromDate.getTime() + life * 0.7 - Date.now();
    await poke();
    const next = await shown('web.apps.test', /Pebble/, before.serialNumber);
    assert.notDeepEqual(
      next.publicKey.export({ type: 'spki', format: 'der' }),
      before.publicKey.export({ type: 'spki', format: 'der' }),
    );
    clock.offset = 0;
  });

  test('what somebody brings comes before it, and goes again', async () => {
    const authority = await createAuthority({ commonName: 'brought', days: 1 });
    const pair = await issueCertificate(authority, {
      ...{ commonName: '*.apps.test', dnsNames: ['*.apps.test', 'apps.test'] },
      ...{ usages: ['server'], days: 1 },
    });
    await keepCertificate(plane.client, 'uploaded-d1', pair);
    await plane.client.create(domainCertificates, {
      metadata: { name: 'uploaded-d1' },
      spec: { source: 'uploaded', domain: 'd1', hosts: ['apps.test', '*.apps.test'] },
    });
    for (const host of ['web.apps.test', SYSTEM, 'other.apps.test', 'apps.test']) await shown(host, /brought/);
    await standing('web.apps.test', (one) => one === undefined);
    await plane.client.delete(domainCertificates, 'uploaded-d1');
    await shown('web.apps.test', /Pebble/);
    await shown(SYSTEM, /Pebble/);
    assert.match((await offered('other.apps.test')).issuer, /router-test/);
  });

  test('a route that goes takes its certificate and its key with it', async () => {
    const name = (await of('web.apps.test'))?.metadata.name;
    await plane.client.delete(routes, 'web-d1', { namespace: 'space-1' });
    await standing('web.apps.test', (one) => one === undefined);
    await until(
      'its Secrets are gone',
      async () => {
        const left = await plane.client.list(secrets, { labelSelector: `${labels.certificate}=${name}` });
        return left.items.length === 0;
      },
      PATIENCE,
    );
    await shown('web.apps.test', /router-test/);
    assert.equal(router.router.status().reloads, 0);
  });
});
