import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Container } from '#cluster/kinds/types/core.ts';
import { pods } from '../resources/kubernetes.ts';
import { labels } from '../resources/types.ts';
import type { Json } from './api.ts';
import { startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { makeApp } from './made-app.fixture.ts';

let cloud: TestCloud;
let space: string;
let app: string;

before(async () => {
  cloud = await startTestCloud();
  space = String(((await cloud.json('GET', '/v3/spaces')).resources as Json[])[0]?.guid);
  app = (await makeApp(cloud, 'shop', space)).app;
});
after(() => cloud?.close());

const listed = async (path: string) => (await cloud.json('GET', path)).resources as Json[];
const make = (body: Json) => cloud.call('POST', `/v3/apps/${app}/sidecars`, body);
/** Of the app's one pod when its newest generation runs. */
const running = (sidecars: number): Promise<{ containers: Container[]; annotations: Record<string, string> }> =>
  cloud.until(`a pod with ${sidecars} sidecars`, async () => {
    const { items } = await cloud.plane.client.list(pods, { labelSelector: `${labels.app}=${app}` });
    const [pod, ...others] = items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    const containers = pod?.spec?.containers ?? [];
    if (others.length > 0 || containers.length !== sidecars + 1) return false;
    return { containers, annotations: pod?.metadata.annotations ?? {} };
  });

test('a sidecar is made, listed, changed and deleted; what makes no sense is refused in words', async () => {
  const made = await make({ name: 'auth', command: 'serve auth', process_types: ['web', 'worker'], memory_in_mb: 64 });
  assert.equal(made.status, 201, made.text);
  const { guid } = made.body;
  assert.deepEqual(
    { ...made.body, created_at: '', updated_at: '' },
    {
      guid,
      created_at: '',
      updated_at: '',
      name: 'auth',
      command: 'serve auth',
      process_types: ['web', 'worker'],
      memory_in_mb: 64,
      origin: 'user',
      relationships: { app: { data: { guid: app } } },
    },
  );
  for (const path of [
    `/v3/apps/${app}/sidecars`,
    `/v3/processes/${app}/sidecars`,
    `/v3/apps/${app}/processes/web/sidecars`,
  ]) {
    assert.deepEqual(
      (await listed(path)).map(({ name }) => name),
      ['auth'],
      path,
    );
  }
  assert.equal(
    (await cloud.json('PATCH', `/v3/sidecars/${String(guid)}`, { command: 'serve more' })).command,
    'serve more',
  );
  assert.equal((await cloud.json('GET', `/v3/sidecars/${String(guid)}`)).memory_in_mb, 64, 'what is not named stays');
  const refusals: [Json, RegExp][] = [
    [{ name: 'auth', command: 'x', process_types: ['web'] }, /Sidecar with name 'auth' already exists for given app/],
    [{ command: 'x', process_types: ['web'] }, /Name can't be blank/],
    [{ name: 'a', command: ' ', process_types: ['web'] }, /Command can't be blank/],
    [{ name: 'a', command: 'x', process_types: [] }, /must have at least 1 process_type/],
    [{ name: 'a', command: 'x', process_types: ['web'], memory_in_mb: 0 }, /greater than or equal to 1/],
    [
      { name: 'a', command: 'x', process_types: ['web'], memory_in_mb: 192 },
      /too large to run with the dependent \\"web\\" process/,
    ],
    [{ name: 'a', command: 'x', process_types: ['web'], port: 1 }, /Unknown field/],
  ];
  for (const [body, words] of refusals) {
    const answer = await make(body);
    assert.equal(answer.status, 422, JSON.stringify(body));
    assert.match(answer.text, words);
  }
  const shrunk = await cloud.call('POST', `/v3/processes/${app}/actions/scale`, { memory_in_mb: 64 });
  assert.match(shrunk.text, /not large enough to run all of your sidecar processes/);
  assert.equal((await cloud.call('DELETE', `/v3/sidecars/${String(guid)}`)).status, 204);
  assert.deepEqual(await listed(`/v3/apps/${app}/sidecars`), []);
});

test('sidecars run beside their processes from the next start on, are in the revision, and come back with it', async () => {
  await cloud.json('POST', `/v3/apps/${app}/actions/start`);
  assert.equal((await running(0)).containers[0]?.resources?.limits?.['memory'], '256Mi');
  await make({ name: 'auth', command: 'echo $(HOME)', process_types: ['web'], memory_in_mb: 64 });
  await make({ name: 'Über Log', command: 'log', process_types: ['web'] });
  await make({ name: 'other', command: 'x', process_types: ['worker'] });
  await cloud.json('POST', `/v3/apps/${app}/actions/restart`);
  const { containers, annotations } = await running(2);
  const byName = Object.fromEntries(containers.map((container) => [container.name, container]));
  assert.equal(containers[0]?.name, 'app');
  const memory = (container: Container | undefined) => container?.resources?.limits?.['memory'];
  assert.equal(memory(byName['app']), '192Mi', 'what a sidecar names is taken from the app');
  assert.equal(memory(byName['auth']), '64Mi');
  assert.equal(annotations['node.sampan.dev/memory'], '256Mi', 'what they share has one limit');
  assert.deepEqual(byName['auth']?.args, ['echo $$(HOME)']);
  assert.equal(byName['auth']?.image, byName['app']?.image);
  assert.deepEqual(byName['auth']?.envFrom, byName['app']?.envFrom);
  const limit = (container: Container | undefined) =>
    container?.env?.find(({ name }) => name === 'MEMORY_LIMIT')?.value;
  assert.deepEqual([limit(byName['app']), limit(byName['auth'])], ['192m', '64m']);
  assert.ok(
    Object.keys(byName).some((name) => /^u-ber-log-[0-9a-f]{8}$/.test(name)),
    Object.keys(byName).join(),
  );
  const revisions = await listed(`/v3/apps/${app}/revisions?order_by=-created_at`);
  assert.equal(revisions[0]?.description, 'Sidecars updated.');
  assert.deepEqual(
    ((revisions[0]?.sidecars ?? []) as Json[]).map(({ name }) => name),
    ['auth', 'other', 'Über Log'],
  );
  await cloud.json('POST', '/v3/deployments', {
    revision: { guid: revisions.at(-1)?.guid },
    relationships: { app: { data: { guid: app } } },
  });
  await running(0);
  assert.deepEqual(await listed(`/v3/apps/${app}/sidecars`), [], 'they are what the revision had');
});

test('a sidecar that ends again and again makes its instance crashed, and is told by name', async () => {
  await make({ name: 'auth', command: 'serve', process_types: ['web'] });
  await cloud.json('POST', `/v3/apps/${app}/actions/restart`);
  await running(1);
  cloud.nodes.fare = () => ({ ready: false, restarts: 3, waiting: 'CrashLoopBackOff' });
  cloud.nodes.replay();
  await cloud.until('it to be crashed', async () => {
    const [instance] = (await cloud.json('GET', `/v3/processes/${app}/stats`)).resources as Json[];
    return instance?.state === 'CRASHED';
  });
  await cloud.until('both to be told', async () => {
    const told = (await listed(`/v3/audit_events?types=audit.app.process.crash&target_guids=${app}`)).map(({ data }) =>
      String((data as Json).exit_description),
    );
    return (
      told.some((text) => text.startsWith('Sidecar auth: Exited')) && told.some((text) => text.startsWith('Exited'))
    );
  });
});

test('a manifest says them, and the manifest of an app has them', async () => {
  const manifest = (memory: string) => `---
applications:
- name: shop
  no-route: true
  sidecars:
  - name: proxy
    command: ./proxy
    process_types: [web]
    memory: ${memory}
`;
  const apply = async (text: string) =>
    cloud.finished(
      await cloud.call('POST', `/v3/spaces/${space}/actions/apply_manifest`, text, {
        headers: { 'content-type': 'application/x-yaml' },
      }),
    );
  await apply(manifest('32M'));
  await apply(manifest('48M'));
  const proxy = (await listed(`/v3/apps/${app}/sidecars`)).find(({ name }) => name === 'proxy');
  assert.equal(proxy?.memory_in_mb, 48);
  const { text } = await cloud.call('GET', `/v3/apps/${app}/manifest`);
  assert.match(text, /sidecars:[\s\S]*name: proxy\n +process_types:\n +- web\n +command: \.\/proxy\n +memory: 48M/);
  const bad = await cloud.call(
    'POST',
    `/v3/spaces/${space}/actions/apply_manifest`,
    manifest('lots').replace('[web]', 'web'),
    {
      headers: { 'content-type': 'application/x-yaml' },
    },
  );
  assert.equal(bad.status, 422);
  assert.match(bad.text, /Sidecar \\"proxy\\": Process types must be an array/);
  assert.match(bad.text, /Sidecar \\"proxy\\": Memory \\"lots\\" must use a supported unit/);
});
