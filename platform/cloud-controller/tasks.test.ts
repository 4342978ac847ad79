import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { pods } from '../resources/kubernetes.ts';
import { annotations, labels } from '../resources/types.ts';
import type { Json } from './api.ts';
import { startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { makeApp } from './made-app.fixture.ts';

let cloud: TestCloud;
let space: string;
let app: string;

before(async () => {
  cloud = await startTestCloud();
  space = String(((await cloud.json('GET', '/v3/spaces')).resources as Json[])[0]?.guid);
  app = (await makeApp(cloud, 'worker', space)).app;
});
after(() => cloud?.close());

const run = (body: Json) => cloud.call('POST', `/v3/apps/${app}/tasks`, body);
const read = (guid: unknown) => cloud.json('GET', `/v3/tasks/${String(guid)}`);
const state = (guid: unknown, wanted: string) =>
  cloud.until(`the task to be ${wanted}`, async () => {
    const task = await read(guid);
    return task.state === wanted && task;
  });
const podOf = async (guid: unknown): Promise<Stored<Pod> | undefined> => {
  const { items } = await cloud.plane.client.list(pods, { labelSelector: `${labels.task}=${String(guid)}` });
  return items[0];
};
/** How each pod of a task fares, by the name of the task. */
const fares = new Map<string, { ready: boolean; ended?: number; waiting?: string }>();
const fare = (name: string, how: { ended?: number; waiting?: string }) => {
  fares.set(name, { ready: false, ...how });
  cloud.nodes.fare = (pod) => fares.get(pod.metadata.annotations?.[annotations.taskName] ?? '') ?? { ready: true };
  cloud.nodes.replay();
};

test('a task runs once, with the droplet, variables and size of its app, and says what it came to', async () => {
  await cloud.json('PATCH', `/v3/apps/${app}/environment_variables`, { var: { COLOR: 'red' } });
  const made = await run({ command: 'echo $(HOME)', name: 'first', memory_in_mb: 64 });
  assert.equal(made.status, 202, made.text);
  const task = made.body;
  assert.deepEqual([task.sequence_id, task.name, task.memory_in_mb, task.disk_in_mb], [1, 'first', 64, 1024]);
  await state(task.guid, 'RUNNING');
  const pod = await podOf(task.guid);
  const [container] = pod?.spec?.containers ?? [];
  assert.deepEqual(container?.args, ['echo $$(HOME)'], 'Kubernetes replaces nothing in it');
  assert.equal(container?.resources?.limits?.['memory'], '64Mi');
  assert.deepEqual(
    container?.envFrom?.map(({ secretRef }) => secretRef?.name),
    [`env-running-${String(task.guid)}`, `env-${app}`],
  );
  assert.equal(pod?.spec?.restartPolicy, 'Never');
  fare('first', { ended: 0 });
  const done = await state(task.guid, 'SUCCEEDED');
  assert.deepEqual(done.result, { failure_reason: null });
  const again = await cloud.call('POST', `/v3/tasks/${String(task.guid)}/actions/cancel`);
  assert.match(String((again.body.errors as Json[])[0]?.detail), /SUCCEEDED and therefore cannot be canceled/);
  const second = await run({ command: 'x' });
  assert.equal(second.body.sequence_id, 2);
  assert.match(String(second.body.name), /^[0-9a-f]{8}$/);
  await cloud.call('PUT', `/v3/tasks/${String(second.body.guid)}/cancel`);
  await state(second.body.guid, 'FAILED');
});

test('a task that fails, has no image, is cancelled or loses its instance says so', async () => {
  const failing = (await run({ command: 'false', name: 'failing' })).body;
  fare('failing', { ended: 4 });
  assert.deepEqual((await state(failing.guid, 'FAILED')).result, { failure_reason: 'Exited with status 4' });

  fare('imageless', { waiting: 'ImagePullBackOff' });
  const imageless = (await run({ command: 'x', name: 'imageless' })).body;
  assert.deepEqual((await state(imageless.guid, 'FAILED')).result, { failure_reason: 'ImagePullBackOff' });

  const stopped = (await run({ command: 'sleep 100', name: 'stopped' })).body;
  await state(stopped.guid, 'RUNNING');
  const answer = await cloud.call('POST', `/v3/tasks/${String(stopped.guid)}/actions/cancel`);
  assert.deepEqual([answer.status, answer.body.state], [202, 'CANCELING']);
  assert.deepEqual((await state(stopped.guid, 'FAILED')).result, { failure_reason: 'task was cancelled' });
  assert.equal(await podOf(stopped.guid), undefined);

  const lost = (await run({ command: 'sleep 100', name: 'lost' })).body;
  await state(lost.guid, 'RUNNING');
  const pod = await podOf(lost.guid);
  await cloud.plane.client.delete(pods, String(pod?.metadata.name), { namespace: String(pod?.metadata.namespace) });
  assert.deepEqual((await state(lost.guid, 'FAILED')).result, { failure_reason: 'its instance was lost' });
});

test('what is wrong with a task is said, and nothing is made', async () => {
  const count = async () => Number(((await cloud.json('GET', '/v3/tasks')).pagination as Json).total_results);
  const before = await count();
  const refused = async (body: Json, detail: RegExp) => {
    const answer = await run(body);
    assert.equal(answer.status, 422, answer.text);
    assert.match(String((answer.body.errors as Json[])[0]?.detail), detail);
  };
  await refused({}, /Command can't be blank/);
  await refused({ command: 'x', memory_in_mb: 0 }, /Memory in mb must be greater than or equal to 6/);
  await refused({ command: 'x', template: { process: { guid: 'nobody' } } }, /Template process must exist/);
  await refused({ command: 'x', droplet_guid: 'nobody' }, /Unable to assign current droplet/);
  await refused({ command: 'x', colour: 1 }, /Unknown field\(s\): 'colour'/);
  const limited = await cloud.json('POST', '/v3/organization_quotas', {
    name: 'few',
    apps: { per_app_tasks: 0, total_memory_in_mb: 100 },
    relationships: {
      organizations: {
        data: [{ guid: ((await cloud.json('GET', '/v3/organizations')).resources as Json[])[0]?.guid }],
      },
    },
  });
  await refused({ command: 'x' }, /^app_task_limit app_task_limit_exceeded: .*"few"/);
  await cloud.json('PATCH', `/v3/organization_quotas/${String(limited.guid)}`, { apps: { per_app_tasks: null } });
  await refused({ command: 'x', memory_in_mb: 101 }, /^memory quota_exceeded/);
  assert.equal(await count(), before);
});

test('a restart of the platform goes on with tasks, and runs none twice', async () => {
  const [organization] = (await cloud.json('GET', '/v3/organizations')).resources as Json[];
  await cloud.json('POST', '/v3/organization_quotas/00000000-0000-4000-8000-000000000001/relationships/organizations', {
    data: [{ guid: organization?.guid }],
  });
  const task = (await run({ command: 'x', name: 'long' })).body;
  await state(task.guid, 'RUNNING');
  const { uid } = (await podOf(task.guid))?.metadata ?? {};
  await cloud.restart(async () => fare('long', { ended: 0 }));
  await state(task.guid, 'SUCCEEDED');
  const pod = await podOf(task.guid);
  assert.ok(pod === undefined || pod.metadata.uid === uid, 'the pod is the same, or gone');
});
