/** Every list of the route table: pages, order, filters by guid and time, label selectors, included resources, unknown parameters. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Json } from './api.ts';
import { startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { endpointTable } from './table.ts';
import { filled, Tenancy, type World } from './tenancy.fixture.ts';

let cloud: TestCloud;
let tenancy: Tenancy;
let world: World;
let paths: string[];

/** Of things that are no objects: they have names and no more. */
const PLAIN = /feature_flags|features|process_instances/;

interface List {
  pagination: { total_results: number; total_pages: number; next: { href: string } | null; previous: unknown };
  resources: { guid: string; created_at: string; metadata?: unknown }[];
  included?: Record<string, { guid: string }[]>;
}

before(async () => {
  cloud = await startTestCloud();
  tenancy = new Tenancy(cloud);
  await tenancy.broker.listen();
  await tenancy.world();
  world = await tenancy.world();
  // What is written of it meanwhile is written.
  await cloud.api.context.usage.sweep(Date.now());
  paths = [];
  for (const { method, path } of endpointTable(cloud.api.context)) {
    if (method !== 'GET' || PLAIN.test(path)) continue;
    const filledPath = filled(path, world);
    const { status, body } = await cloud.call('GET', filledPath);
    if (status === 200 && body.pagination !== undefined) paths.push(filledPath);
  }
});
after(async () => {
  await cloud?.close();
  await tenancy?.broker[Symbol.asyncDispose]();
});

async function ask(path: string, query: Record<string, string>): Promise<List> {
  const answer = await cloud.call('GET', `${path}?${new URLSearchParams(query).toString()}`);
  assert.equal(answer.status, 200, `${path} ${JSON.stringify(query)}: ${answer.text.slice(0, 300)}`);
  return answer.body as unknown as List;
}

const guids = ({ resources }: List) => resources.map(({ guid }) => guid);

test('there are lists of everything', () => {
  assert.ok(paths.length >= 30, paths.join('\n'));
});

test('pages: each thing is on one of them, in the order of all, and links lead from one to the next', async () => {
  for (const path of paths) {
    const all = await ask(path, { per_page: '5000' });
    assert.equal(all.pagination.total_results, all.resources.length, path);
    const seen: string[] = [];
    let next: string | undefined = `${path}?per_page=2`;
    while (next !== undefined && seen.length < 6) {
      const page: List = (await cloud.json('GET', next)) as unknown as List;
      assert.equal(page.pagination.total_pages, Math.max(1, Math.ceil(all.resources.length / 2)), path);
      seen.push(...guids(page));
      const href = page.pagination.next?.href;
      next = href === undefined ? undefined : `${new URL(href).pathname}${new URL(href).search}`;
    }
    assert.deepEqual(seen, guids(all).slice(0, seen.length), path);
    for (const wrong of ['page=0', 'page=x', 'per_page=0', 'per_page=5001', 'order_by=nothing', 'nothing=1']) {
      const { status, body } = await cloud.call('GET', `${path}?${wrong}`);
      assert.deepEqual([status, (body.errors as Json[])[0]?.code], [400, 10005], `${path}?${wrong}`);
    }
  }
});

test('order by time of creation, both ways; filters by guid and by time', async () => {
  for (const path of paths) {
    const [up, down] = [
      await ask(path, { order_by: 'created_at', per_page: '5000' }),
      await ask(path, { order_by: '-created_at', per_page: '5000' }),
    ];
    const times = (list: List) => list.resources.map(({ created_at: at }) => at);
    assert.deepEqual(times(up), times(up).toSorted(), path);
    assert.deepEqual(times(down), times(up).toReversed(), path);
    const [first] = up.resources;
    if (!first) continue;
    assert.deepEqual(guids(await ask(path, { guids: `${first.guid},nobody` })), [first.guid], path);
    const later = await ask(path, { 'created_ats[gte]': first.created_at, per_page: '5000' });
    assert.deepEqual(guids(later).toSorted(), guids(up).toSorted(), path);
    assert.deepEqual((await ask(path, { 'created_ats[lt]': '2020-01-01T00:00:00Z' })).resources, [], path);
    assert.equal((await cloud.call('GET', `${path}?created_ats=yesterday`)).status, 400, path);
  }
});

test('label selectors choose what is labelled so; included resources come with the page', async () => {
  for (const path of paths) {
    const [first] = (await ask(path, { per_page: '1' })).resources;
    if (first?.metadata !== undefined) {
      assert.deepEqual((await ask(path, { label_selector: 'lists=no-such' })).resources, [], path);
      const all = await ask(path, { per_page: '5000' });
      assert.deepEqual(guids(await ask(path, { label_selector: '!lists', per_page: '5000' })), guids(all), path);
    }
    const { text } = await cloud.call('GET', `${path}?include=nothing`);
    const [, named = ''] = /Valid included resources are: ([^"]*)/.exec(text) ?? [];
    for (const [, include = ''] of named.matchAll(/'([^']+)'/g)) {
      const { included = {} } = await ask(path, { include, per_page: '5000' });
      for (const list of Object.values(included)) assert.equal(new Set(list.map(({ guid }) => guid)).size, list.length);
      assert.ok(Object.keys(included).length > 0, `${path}?include=${include}`);
    }
  }
  const app = world.guids['apps'] ?? '';
  await cloud.json('PATCH', `/v3/apps/${app}`, { metadata: { labels: { lists: 'yes' } } });
  for (const selector of ['lists', 'lists=yes', 'lists in (yes,no)', 'lists,lists!=no'])
    assert.deepEqual(guids(await ask('/v3/apps', { label_selector: selector })), [app], selector);
});

test('what only some lists know', async () => {
  const { guids: known } = world;
  const embedded = await cloud.json('GET', `/v3/processes?embed=process_instances&guids=${known['processes']}`);
  const [process] = embedded.resources as Json[];
  const instances = (process ?? {}).process_instances as Json[];
  assert.equal(instances[0]?.state, 'RUNNING');
  assert.equal((await cloud.call('GET', '/v3/processes?embed=secrets')).status, 400);
  const revisions = `/v3/apps/${known['apps']}/revisions`;
  assert.ok((await ask(revisions, { deployable: 'true' })).resources.length > 0);
  assert.deepEqual((await ask(revisions, { deployable: 'false' })).resources, []);
  const users = `/v3/organizations/${known['organizations']}/users`;
  assert.deepEqual(
    ((await cloud.json('GET', `${users}?partial_usernames=SUPPORT`)).resources as Json[]).map((user) => user.username),
    ['space_supporter'],
  );
  assert.equal((await cloud.call('GET', `${users}?usernames=a&partial_usernames=b`)).status, 400);
  const destinations = `/v3/routes/${known['routes']}/destinations`;
  const led = async (query: string) =>
    ((await cloud.json('GET', `${destinations}?${query}`)).destinations as Json[]).length;
  assert.deepEqual([await led(`app_guids=${known['apps']}`), await led('app_guids=nobody')], [1, 0]);
});

test('a list shows each thing as it is, whoever changed it, and what it tells of others too', async () => {
  const { guids: known } = world;
  const listed = async (kind: string): Promise<Json> => {
    const { resources } = await ask(`/v3/${kind}`, { guids: known[kind] ?? '' });
    assert.equal(resources.length, 1, kind);
    return resources[0] as unknown as Json;
  };
  const kinds = ['apps', 'routes', 'packages', 'droplets', 'builds', 'processes'];
  for (const kind of [...kinds, 'service_instances', 'service_credential_bindings']) {
    for (const mark of ['before', 'after']) {
      await cloud.json('PATCH', `/v3/${kind}/${known[kind]}`, { metadata: { labels: { shown: mark } } });
      const { command: own, ...one } = await cloud.json('GET', `/v3/${kind}/${known[kind]}`);
      const { command: shown, ...rest } = await listed(kind);
      assert.deepEqual(rest, one, kind);
      assert.equal(((rest.metadata as Json).labels as Json).shown, mark, kind);
      // Of processes, lists hide the command.
      assert.equal(shown, own === undefined ? undefined : '[PRIVATE DATA HIDDEN IN LISTS]');
    }
  }
  // The process is the same as before: what changes is its app.
  const revision = async () => ((await listed('processes')).relationships as Json).revision;
  assert.ok(await revision());
  await cloud.json('POST', `/v3/apps/${known['apps']}/actions/stop`);
  assert.equal(await revision(), null);
});
