import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { apps, processes } from '../resources/types.ts';
import type { Json } from './api.ts';
import { startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { makeApp } from './made-app.fixture.ts';
import { Tenancy } from './tenancy.fixture.ts';

let cloud: TestCloud;
let space: string;

before(async () => {
  cloud = await startTestCloud();
  space = String(((await cloud.json('GET', '/v3/spaces')).resources as Json[])[0]?.guid);
});
after(() => cloud?.close());

const one = (guid: unknown) => ({ data: { guid } });
const all = async (path: string) =>
  (await cloud.json('GET', `${path}${path.includes('?') ? '&' : '?'}per_page=5000`)).resources as Json[];

interface Event {
  guid: string;
  state: { current: string; previous: string | null };
  app: { guid: string; name: string };
  process: { guid: string | null; type: string | null };
  task: { guid: string | null; name: string | null };
  instance_count: { current: number; previous: number };
  memory_in_mb_per_instance: { current: number; previous: number };
}

async function eventsOf(app: string): Promise<Event[]> {
  return ((await all('/v3/app_usage_events')) as unknown as Event[]).filter((event) => event.app.guid === app);
}

/** Waits for the last event of the app's web process. */
const last = (app: string, state: string, instances: number): Promise<Event> =>
  cloud.until(`${state} of ${instances}`, async () => {
    const event = (await eventsOf(app)).filter(({ process }) => process.type === 'web').at(-1);
    return event?.state.current === state && event.instance_count.current === instances && event;
  });

test('what is started, scaled, stopped and deleted is told of, each with what was before', async () => {
  const { app } = await makeApp(cloud, 'metered', space);
  await cloud.json('POST', `/v3/apps/${app}/processes/web/actions/scale`, { instances: 2 });
  assert.equal((await eventsOf(app)).filter(({ process }) => process.type === 'web').length, 0, 'nothing runs yet');
  await cloud.json('POST', `/v3/apps/${app}/actions/start`);
  const started = await last(app, 'STARTED', 2);
  assert.deepEqual(started.state, { current: 'STARTED', previous: 'STOPPED' });
  assert.deepEqual([started.app.name, started.process.guid], ['metered', app]);
  await cloud.json('POST', `/v3/apps/${app}/processes/web/actions/scale`, { instances: 3 });
  const scaled = await last(app, 'STARTED', 3);
  assert.deepEqual(scaled.state, { current: 'STARTED', previous: 'STARTED' });
  assert.deepEqual(scaled.instance_count, { current: 3, previous: 2 });
  await cloud.json('POST', `/v3/apps/${app}/processes/web/actions/scale`, { memory_in_mb: 64 });
  await cloud.until('the memory', async () => {
    const event = (await eventsOf(app)).at(-1);
    return event?.memory_in_mb_per_instance.current === 64 && event.memory_in_mb_per_instance.previous === 256;
  });
  await cloud.json('POST', `/v3/apps/${app}/actions/stop`);
  const stopped = await last(app, 'STOPPED', 3);
  const later = (await all(`/v3/app_usage_events?after_guid=${started.guid}`)) as unknown as Event[];
  assert.ok(later.some(({ guid }) => guid === scaled.guid) && later.some(({ guid }) => guid === stopped.guid));
  assert.ok(!later.some(({ guid }) => guid === started.guid));
  const single = await cloud.json('GET', `/v3/app_usage_events/${stopped.guid}`);
  assert.deepEqual((single.space as Json).guid, space);
  await cloud.json('POST', `/v3/apps/${app}/actions/start`);
  await last(app, 'STARTED', 3);
  await cloud.finished(await cloud.call('DELETE', `/v3/apps/${app}`));
  assert.deepEqual((await last(app, 'STOPPED', 3)).state, { current: 'STOPPED', previous: 'STARTED' });
});

test('builds and tasks are told of when they begin and when they end', async () => {
  const { app } = await makeApp(cloud, 'busy', space);
  const states = async () => (await eventsOf(app)).map(({ state }) => state.current);
  await cloud.until('the build', async () => (await states()).includes('STAGING_STOPPED'));
  assert.ok((await states()).includes('STAGING_STARTED'));
  const task = await cloud.json('POST', `/v3/apps/${app}/tasks`, { command: 'x', name: 'once', memory_in_mb: 32 });
  const begun = await cloud.until('the task', async () =>
    (await eventsOf(app)).find(({ state }) => state.current === 'TASK_STARTED'),
  );
  assert.deepEqual(begun.task, { guid: task.guid, name: 'once' });
  assert.equal(begun.memory_in_mb_per_instance.current, 32);
  await cloud.json('POST', `/v3/tasks/${String(task.guid)}/actions/cancel`);
  await cloud.until('its end', async () => (await states()).includes('TASK_STOPPED'));
});

test('what changes while the platform is down is told of when it is back, and nothing twice', async () => {
  const { app } = await makeApp(cloud, 'asleep', space);
  const { app: removed } = await makeApp(cloud, 'removed', space);
  for (const guid of [app, removed]) {
    await cloud.json('POST', `/v3/apps/${guid}/actions/start`);
    await last(guid, 'STARTED', 1);
  }
  const before = (await eventsOf(app)).length;
  const namespace = String(cloud.api.context.records.spaces.get(space)?.spec.namespace);
  const { client } = cloud.plane;
  await cloud.restart(async () => {
    await client.patch(processes, app, { type: 'merge', body: { spec: { instances: 4 } } }, { namespace });
    await client.delete(apps, removed, { namespace, propagationPolicy: 'Background' });
  });
  assert.deepEqual((await last(app, 'STARTED', 4)).instance_count, { current: 4, previous: 1 });
  await last(removed, 'STOPPED', 1);
  await cloud.restart();
  // It waits in line behind what a start finds to say.
  await cloud.api.context.usage.sweep(Date.now());
  assert.equal((await eventsOf(app)).length, before + 1);
});

test('service instances: made, renamed, deleted', async () => {
  const body = { type: 'user-provided', name: 'db', relationships: { space: one(space) } };
  const { guid } = await cloud.json('POST', '/v3/service_instances', body);
  const states = async () =>
    (await all('/v3/service_usage_events'))
      .filter((event) => (event.service_instance as Json).guid === guid)
      .map((event) => `${String(event.state)} ${String((event.service_instance as Json).name)}`);
  const reaches = (expected: string[]) =>
    cloud.until(expected.join(), async () => (await states()).join() === expected.join());
  await reaches(['CREATED db']);
  await cloud.json('PATCH', `/v3/service_instances/${String(guid)}`, { name: 'store' });
  await reaches(['CREATED db', 'UPDATED store']);
  await cloud.call('DELETE', `/v3/service_instances/${String(guid)}`);
  await reaches(['CREATED db', 'UPDATED store', 'DELETED store']);
  const typed = await all('/v3/service_usage_events?service_instance_types=managed_service_instance');
  assert.deepEqual(typed, []);
});

test('purge forgets all, and begins with what runs', async () => {
  const { app } = await makeApp(cloud, 'reseeded', space);
  await cloud.json('POST', `/v3/apps/${app}/actions/start`);
  const [old] = await all('/v3/app_usage_events');
  const path = 'actions/destructively_purge_all_and_reseed';
  assert.equal((await cloud.call('POST', `/v3/app_usage_events/${path}`)).status, 200);
  const events = await eventsOf(app);
  assert.deepEqual(
    events.map(({ state, process }) => [state.current, state.previous, process.type]),
    [['STARTED', 'STARTED', 'web']],
  );
  const stale = await cloud.call('GET', `/v3/app_usage_events?after_guid=${String(old?.guid)}`);
  assert.equal(stale.status, 422);
  assert.match(stale.text, /After guid filter must be a valid app usage event guid/);
  const token = await new Tenancy(cloud).token('auditor', ['cloud_controller.global_auditor']);
  const seen = await cloud.call('GET', '/v3/app_usage_events', undefined, { token });
  assert.ok((seen.body.resources as Json[]).length > 0);
  assert.equal((await cloud.call('POST', `/v3/app_usage_events/${path}`, undefined, { token })).status, 403);
});
