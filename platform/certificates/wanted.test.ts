import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Domain, DomainCertificate, Route } from '../resources/types.ts';
import { covers, wantedCertificates } from './wanted.ts';

const stored = <T>(name: string, spec: object): Stored<T & { metadata: object }> =>
  ({ metadata: { name }, spec }) as never;
const domain = (name: string, displayName: string, internal = false) =>
  stored<Domain>(name, { displayName, internal }) as Stored<Domain>;
const route = (domainGuid: string, domainName: string, host: string, more: Partial<Route['spec']> = {}) =>
  stored<Route>(`${host}-${domainGuid}`, {
    domain: domainGuid,
    domainName,
    host,
    path: '',
    protocol: 'http',
    destinations: [{ guid: 'x', app: 'a', processType: 'web', protocol: 'http1' }],
    ...more,
  }) as Stored<Route>;

const sources = {
  domains: [
    domain('d1', 'example.com'),
    domain('d2', 'shop.test'),
    domain('d3', 'apps.internal', true),
    domain('d4', 'dev.localhost'),
  ],
  routes: [
    route('d1', 'example.com', 'web'),
    route('d1', 'example.com', 'Web', { path: '/deep' }),
    route('d1', 'example.com', '*'),
    route('d1', 'example.com', 'api'),
    route('d1', 'example.com', 'nobody', { destinations: [] }),
    route('d1', 'example.com', 'raw', { protocol: 'tcp' }),
    route('d2', 'shop.test', ''),
    route('d3', 'apps.internal', 'back'),
    route('d4', 'dev.localhost', 'web'),
  ],
  certificates: [] as Stored<DomainCertificate>[],
  domain: 'example.com',
  systemHosts: ['uaa.example.com', 'api.example.com'],
};

const wanted = (more: Partial<Parameters<typeof wantedCertificates>[0]>): string[] =>
  [...wantedCertificates({ ...sources, acme: true, ...more }).values()]
    .map(({ source, domain: of, hosts }) => `${source} ${of} ${hosts.join(' ')}`)
    .toSorted();

const OWN = ['own d2 shop.test *.shop.test', 'own d4 dev.localhost *.dev.localhost'];

test('without ACME each domain but the platform’s has one of our own for itself and what is below', () => {
  assert.deepEqual(wanted({ acme: false }), OWN);
});

test('by ACME each host of a route that leads to an app and that the world can know has one, and the platform’s hosts together', () => {
  const acme = ['acme d1 api.example.com uaa.example.com', 'acme d1 web.example.com', 'acme d2 shop.test'];
  assert.deepEqual(wanted({}), [...acme, ...OWN]);
});

test('what somebody brought is not asked for again', () => {
  const brought = (name: string, of: string, hosts: string[]) =>
    stored<DomainCertificate>(name, { source: 'uploaded', domain: of, hosts }) as Stored<DomainCertificate>;
  assert.deepEqual(wanted({ certificates: [brought('u', 'd1', ['*.example.com'])] }), ['acme d2 shop.test', ...OWN]);
  assert.deepEqual(wanted({ certificates: [brought('u', 'd2', ['shop.test', 'web.example.com'])] }), [
    'acme d1 api.example.com uaa.example.com',
    ...OWN,
  ]);
});

test('a wildcard covers one label', () => {
  assert.ok(covers('*.a.test', 'x.a.test'));
  for (const host of ['a.test', 'y.x.a.test', 'xa.test']) assert.ok(!covers('*.a.test', host), host);
});
