import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { namespaces } from '../resources/kubernetes.ts';
import { annotations, reservations, spaces } from '../resources/types.ts';
import type { Json } from './api.ts';
import { startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { reservationName, Reservations } from './reservations.ts';

let cloud: TestCloud;

before(async () => {
  cloud = await startTestCloud();
});
after(() => cloud?.close());

test('restart: tokens, objects and jobs outlive it, and what was half-done is done', async () => {
  const organization = ((await cloud.json('GET', '/v3/organizations')).resources as Json[])[0]?.guid;
  const space = await cloud.json('POST', '/v3/spaces', {
    name: 'doomed',
    relationships: { organization: { data: { guid: organization } } },
  });
  const app = await cloud.json('POST', '/v3/apps', {
    name: 'inside',
    relationships: { space: { data: { guid: space.guid } } },
  });
  const gone = await cloud.call('DELETE', `/v3/apps/${String(app.guid)}`);
  await cloud.finished(gone);
  const job = new URL(gone.headers.get('location') ?? '').pathname;
  const namespace = cloud.api.context.records.spaces.get(String(space.guid))?.spec.namespace ?? '';
  const { client } = cloud.plane;
  await cloud.restart(async () => {
    // As a deletion leaves it that died after its first step.
    await client.patch(spaces, String(space.guid), {
      type: 'merge',
      body: { metadata: { annotations: { [annotations.deleting]: 'true' } } },
    });
  });
  assert.equal((await cloud.json('GET', job)).state, 'COMPLETE');
  const lost = await cloud.json('GET', `/v3/jobs/space.apply_manifest~${crypto.randomUUID()}`);
  assert.equal(lost.state, 'FAILED');
  assert.match(JSON.stringify(lost.errors), /interrupted by a restart/);
  await cloud.until(
    'the space to go',
    async () => (await cloud.call('GET', `/v3/spaces/${String(space.guid)}`)).status === 404,
  );
  await cloud.until('its namespace to go', async () => {
    const list = await client.list(namespaces);
    return !list.items.some((item) => item.metadata.name === namespace);
  });
  const names = ((await cloud.json('GET', '/v3/organizations')).resources as Json[]).map((item) => item.name);
  assert.deepEqual(names, ['default'], 'the defaults are not made twice');
  assert.deepEqual(cloud.problems, []);
});

test('reservations: an orphan is taken over after a minute, and not before', async () => {
  const { client } = cloud.plane;
  let now = Date.now();
  const alive = new Set<string>();
  const reserve = new Reservations({ client, exists: (holder) => alive.has(holder.name), now: () => now });
  const holder = (name: string) => ({ resource: 'apps', name });
  assert.equal(await reserve.take('test', ['x'], holder('one')), true);
  assert.equal(await reserve.take('test', ['x'], holder('one')), true, 'again by the same');
  assert.equal(await reserve.take('test', ['x'], holder('two')), false);
  now += 61_000;
  alive.add('one');
  assert.equal(await reserve.take('test', ['x'], holder('two')), false, 'its holder lives');
  alive.delete('one');
  assert.equal(await reserve.take('test', ['x'], holder('two')), true);
  await reserve.release('test', ['x'], holder('one'));
  assert.equal((await client.get(reservations, reservationName('test', ['x']))).spec.holder.name, 'two');
  await reserve.release('test', ['x'], holder('two'));
  assert.equal(await reserve.take('test', ['x'], holder('three')), true);
});
