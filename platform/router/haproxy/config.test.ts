import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { matchesGolden } from '#testing/golden.ts';
import { checkTable } from '../validate.ts';
import { type ConfigInput, configVersion, filesOf, renderConfig } from './config.ts';
import { withPlaces } from './hash.ts';
import { assignSlots, desiredState, planChange } from './plan.ts';
import { emptyState, parseServerLines } from './state.ts';

const input: ConfigInput = {
  files: filesOf({ dataDirectory: '/var/lib/sampan/router', runDirectory: '/run/sampan/router' }),
  http: 80,
  https: 443,
  tcp: [1024, 1025, 1027],
  addresses: ['*', '[::]'],
  tls: { minimum: '1.2', forwarded: 'sanitize_set' },
  serviceTls: { authorities: 'CA', verify: true },
  system: [
    { host: 'api.sampan.localhost', address: '127.0.0.1', port: 9001 },
    { host: 'uaa.sampan.localhost', address: '127.0.0.1', port: 9002, tls: true },
  ],
  maxConnections: 9850,
  user: 'haproxy',
  access: { port: 9003, token: 'secret' },
};

const table = {
  routes: [
    { host: 'shop.example.com', path: '/', backend: 'shop', id: '1' },
    { host: 'shop.example.com', path: '/cart;v=1', backend: 'cart', id: '2', service: 'guard' },
    { host: '*.example.com', path: '/', backend: 'shop', id: '3' },
    { host: 'tenants.example.com', path: '/', backend: 'tenants', id: '6' },
  ],
  services: [{ name: 'guard', url: 'https://guard.example.com:8443/check?x=1', addresses: ['203.0.113.7'] }],
  signatureKeys: [{ id: 'k1', key: `${'A'.repeat(43)}=` }],
  tcp: [
    { port: 1025, backend: 'cart', id: '4' },
    { port: 1026, backend: 'shop', id: '5' },
  ],
  backends: [
    {
      name: 'shop',
      endpoints: [
        { name: 'shop-1', ip: '10.1.0.2', port: 8080, instance: 0 },
        { name: 'shop-2', ip: '10.1.0.3', port: 8080, instance: 1, draining: true },
      ],
    },
    {
      name: 'cart',
      balance: 'least-connections' as const,
      endpoints: [{ name: 'cart-1', ip: 'fd00::2', port: 8080, weight: 10, protocol: 'http2' as const }],
    },
    {
      name: 'tenants',
      balance: { header: 'tenant-id', factor: 125 },
      endpoints: [
        { name: 'tenants-1', ip: '10.1.0.4', port: 8080, instance: 0 },
        { name: 'tenants-2', ip: '10.1.0.5', port: 8080, instance: 1 },
      ],
    },
    { name: 'idle', endpoints: [{ name: 'idle-1', ip: '10.1.0.9', port: 8080 }] },
  ],
};

/** One of each kind. */
const declared = { pools: { b: 2, l: 1, s: 1 }, hashed: ['h:tenant-id:125:tenants'] };

function wanted(slots: ReturnType<typeof assignSlots>['slots'], before = emptyState()) {
  return withPlaces(before, desiredState(table, slots, { ...input, system: [] }));
}

function golden(name: string, text: string): void {
  matchesGolden(join(import.meta.dirname, 'testdata', name), text);
}

test('haproxy: the configuration holds what runs', () => {
  checkTable(table, new Set());
  const { slots, missing, undeclared } = assignSlots(table, new Map(), emptyState(), declared);
  assert.deepEqual([missing, undeclared], [{ b: 0, l: 0, s: 0 }, []]);
  const state = withPlaces(emptyState(), desiredState(table, slots, input));
  const text = renderConfig(input, { ...declared, stamp: 'stamp', state });
  golden('haproxy.cfg', text);
  // And is read from it where nothing else tells.
  const ready = [...state.servers].map(([slot, servers]) => [
    slot,
    [...servers].filter(([, { mode }]) => mode === 'ready'),
  ]);
  assert.deepEqual(
    [...parseServerLines(text)].map(([slot, servers]) => [slot, [...servers]]),
    ready,
  );
});

test('haproxy: the version follows options, not what runs', () => {
  assert.equal(configVersion(input), configVersion({ ...input }));
  assert.notEqual(configVersion(input), configVersion({ ...input, http: 81 }));
  const { slots } = assignSlots(table, new Map(), emptyState(), declared);
  const version = (text: string): string | undefined => /SAMPAN_VERSION "(\w+)"/.exec(text)?.[1];
  assert.equal(
    version(renderConfig(input, { ...declared, stamp: 'a', state: desiredState(table, slots, input) })),
    version(renderConfig(input, { pools: { b: 8, l: 2, s: 4 }, hashed: [], stamp: 'b', state: undefined })),
  );
});

test('haproxy: from one state to the next by the fewest commands', () => {
  const { slots } = assignSlots(table, new Map(), emptyState(), declared);
  const full = wanted(slots);
  const names = { map: (map: string): string => `/${map}.map`, serviceTls: 'ssl verify none' };
  const text = (plan: ReturnType<typeof planChange>): string =>
    [...plan.commands, ...plan.drain]
      .map((command) => command.text)
      .concat(plan.gone.map(({ slot, name }) => `(gone ${slot}/${name})`))
      .join('\n');
  assert.equal(text(planChange(full, full, names)), '');
  golden('to-full.txt', `${text(planChange(emptyState(), full, names))}\n`);
  golden('to-empty.txt', `${text(planChange(full, emptyState(), names))}\n`);
});

test('haproxy: slots stay with their backends, and are free again when empty', () => {
  const first = assignSlots(table, new Map(), emptyState(), { ...declared, pools: { b: 1, l: 1, s: 1 } });
  assert.deepEqual(
    [...first.slots],
    [
      ['tenants', 'h:tenant-id:125:tenants'],
      ['shop', 'b0'],
      ['cart', 'l0'],
      ['guard', 's0'],
    ],
  );
  const state = wanted(first.slots);
  const pools = { pools: { b: 1, l: 1, s: 1 }, hashed: [] };
  const other = { ...table, services: [], routes: [{ host: 'x.test', path: '/', backend: 'idle', id: '4' }] };
  assert.deepEqual(assignSlots(other, first.slots, state, pools).missing, { b: 1, l: 0, s: 0 });
  assert.deepEqual([...assignSlots(other, new Map(), emptyState(), pools).slots], [['idle', 'b0']]);
});

test('haproxy: what is to choose by a header takes turns until its slot is declared; its servers keep their places', () => {
  const soon = assignSlots(table, new Map(), emptyState(), { pools: { b: 2, l: 1, s: 1 }, hashed: [] });
  assert.deepEqual([soon.slots.get('tenants'), soon.undeclared], ['b1', declared.hashed]);
  const now = assignSlots(table, soon.slots, emptyState(), declared);
  assert.deepEqual(
    [now.slots.get('tenants'), now.slots.get('shop'), now.undeclared],
    ['h:tenant-id:125:tenants', 'b0', []],
  );
  const places = ({ servers }: ReturnType<typeof wanted>) =>
    [...(servers.get('h:tenant-id:125:tenants') ?? [])].map(([name, { place }]) => [name.split('.')[0], place]);
  const before = wanted(now.slots);
  assert.deepEqual(places(before), [
    ['tenants-1', 1],
    ['tenants-2', 2],
  ]);
  const [tenants] = table.backends.filter(({ name }) => name === 'tenants');
  const third = { name: 'tenants-3', ip: '10.1.0.6', port: 8080, instance: 0 };
  const changed = {
    ...table,
    backends: [{ ...tenants, name: 'tenants', endpoints: [third, ...(tenants?.endpoints.slice(1) ?? [])] }],
  };
  const after = withPlaces(before, desiredState(changed, now.slots, { ...input, system: [] }));
  assert.deepEqual(places(after), [
    ['tenants-3', 3],
    ['tenants-2', 2],
  ]);
  const again = withPlaces(after, desiredState(table, now.slots, { ...input, system: [] }));
  assert.deepEqual(
    places(again),
    [
      ['tenants-1', 1],
      ['tenants-2', 2],
    ],
    'a place that is free is the next one',
  );
});
