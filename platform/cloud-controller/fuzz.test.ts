import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fuzz } from '#testing/fuzz.ts';
import type { Json } from './api.ts';
import { startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { pushParsers } from './parsers.fixture.ts';
import { endpointTable } from './table.ts';

let cloud: TestCloud;
let ids: Record<string, string>;

before(async () => {
  cloud = await startTestCloud();
  const first = async (path: string) => String(((await cloud.json('GET', path)).resources as Json[])[0]?.guid);
  const space = await first('/v3/spaces');
  const app = await cloud.json('POST', '/v3/apps', {
    name: 'fuzzed',
    relationships: { space: { data: { guid: space } } },
  });
  const guid = String(app.guid);
  const item = await cloud.json('POST', '/v3/packages', { type: 'bits', relationships: { app: { data: { guid } } } });
  const domain = await first('/v3/domains');
  const route = await cloud.json('POST', '/v3/routes', {
    host: 'fuzzed',
    relationships: { space: { data: { guid: space } }, domain: { data: { guid: domain } } },
  });
  ids = {
    spaces: space,
    apps: guid,
    processes: guid,
    packages: String(item.guid),
    domains: domain,
    routes: String(route.guid),
  };
});
after(() => cloud?.close());

/** Small and repeatable (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const KEYS = [
  'name',
  'type',
  'data',
  'guid',
  'metadata',
  'labels',
  'annotations',
  'relationships',
  'app',
  'space',
  'organization',
  'domain',
  'user',
  'lifecycle',
  'buildpacks',
  'stack',
  'command',
  'health_check',
  'readiness_health_check',
  'instances',
  'memory_in_mb',
  'disk_in_mb',
  'destinations',
  'process',
  'port',
  'protocol',
  'host',
  'path',
  'var',
  'package',
  'droplet',
  'revision',
  'strategy',
  'options',
  'max_in_flight',
  'resources',
  'checksum',
  'size_in_bytes',
  'mode',
  'enabled',
  'state',
  'environment_variables',
  '__proto__',
  'constructor',
  'timeout',
  'endpoint',
]; // prettier-ignore
const SCALARS: unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  1e308,
  '',
  'x',
  'a\nb',
  '"',
  '\u0000',
  '../..',
  'ä'.repeat(300),
  '%',
  'bits',
  'http',
  '/x',
]; // prettier-ignore

function value(random: () => number, depth: number): unknown {
  const pick = <T>(from: T[]): T => from[Math.floor(random() * from.length)] as T;
  const dice = random();
  if (depth === 0 || dice < 0.35) return random() < 0.2 ? pick(Object.values(ids)) : pick(SCALARS);
  if (dice < 0.5) return Array.from({ length: Math.floor(random() * 3) }, () => value(random, depth - 1));
  return Object.fromEntries(
    Array.from({ length: Math.floor(random() * 5) }, () => [pick(KEYS), value(random, depth - 1)]),
  );
}

test('fuzz: no body, parameter or query makes an endpoint fail', async () => {
  const random = generator(20261123);
  const odd = ['none', '%00', '..%2f..', '%', '"', 'constructor', '__proto__', 'a'.repeat(250)];
  const failures: string[] = [];
  let sent = 0;
  for (const endpoint of endpointTable(cloud.api.context)) {
    // Deletions would take away what the others are tried on; uploads have a test of their own.
    if (endpoint.rawBody || endpoint.method === 'DELETE') continue;
    const kind = endpoint.path.split('/')[2] ?? '';
    for (let round = 0; round < (endpoint.method === 'GET' ? 3 : 12); round++) {
      const known = round < 9 ? ids[kind] : undefined;
      const path = endpoint.path.replaceAll(/:(\w+)/g, (_all, name: string) => {
        if (name === 'guid' && known !== undefined) return known;
        if (name === 'type') return 'web';
        return odd[Math.floor(random() * odd.length)] ?? '';
      });
      const query =
        round % 3 === 1
          ? `?${['page=-1', 'per_page=x', 'order_by=__proto__', 'include=constructor', 'guids=%', 'names=%25', 'label_selector=(', 'created_ats[gt]=x'][Math.floor(random() * 8)]}`
          : '';
      const body = endpoint.method === 'GET' ? undefined : value(random, 4);
      const answer = await cloud.call(endpoint.method, `${path}${query}`, body);
      sent++;
      if (answer.status >= 500)
        failures.push(`${endpoint.method} ${path}${query} ${JSON.stringify(body)}: ${answer.text}`);
    }
  }
  assert.ok(sent > 500, `${sent} requests`);
  assert.deepEqual(failures, [], cloud.problems.join('\n').slice(0, 4000));
});

test('fuzz: no manifest makes the parser fail', async () => {
  const random = generator(7);
  const keys = [
    'name',
    'memory',
    'env',
    'routes',
    'route',
    'processes',
    'type',
    'docker',
    'image',
    'buildpacks',
    'command',
    'instances',
    'metadata',
    'labels',
    'timeout',
    'no-route',
    'services',
  ]; // prettier-ignore
  const scalars = [
    'x',
    '1',
    '-1',
    '~',
    'true',
    '1G',
    '"a\\nb"',
    '[',
    '{}',
    '*a',
    '&a b',
    '!!binary x',
    '0x7fffffff',
    '.inf',
  ];
  const failures: string[] = [];
  for (let round = 0; round < 150; round++) {
    const lines = ['applications:', '- name: fuzzed'];
    for (let line = 0; line < 6; line++) {
      const indent = '  '.repeat(1 + Math.floor(random() * 3));
      const dash = random() < 0.3 ? '- ' : '';
      const scalar = random() < 0.7 ? ` ${scalars[Math.floor(random() * scalars.length)]}` : '';
      lines.push(`${indent}${dash}${keys[Math.floor(random() * keys.length)]}:${scalar}`);
    }
    const text = lines.join('\n');
    const answer = await cloud.call('POST', `/v3/spaces/${ids.spaces}/manifest_diff`, text, {
      headers: { 'content-type': 'application/x-yaml' },
    });
    if (answer.status >= 500) failures.push(`${text}\n${answer.text}`);
  }
  assert.deepEqual(failures, [], cloud.problems.join('\n').slice(0, 4000));
});

for (const parser of pushParsers) {
  test(`fuzz: ${parser.name}`, async () => {
    const report = await fuzz({ ...parser, inputs: 3_000 });
    assert.ok(report.outcomes > 3, JSON.stringify(report));
  });
}
