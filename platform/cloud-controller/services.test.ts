import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { pods, secrets } from '../resources/kubernetes.ts';
import { labels } from '../resources/types.ts';
import type { Json } from './api.ts';
import { type Answer, startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { makeApp } from './made-app.fixture.ts';

let cloud: TestCloud;
let space: string;
let namespace: string;
let app: string;

before(async () => {
  cloud = await startTestCloud();
  space = String(((await cloud.json('GET', '/v3/spaces')).resources as Json[])[0]?.guid);
  namespace = String(cloud.api.context.records.spaces.get(space)?.spec.namespace);
  app = (await makeApp(cloud, 'shop', space)).app;
});
after(() => cloud?.close());

const one = (guid: unknown) => ({ data: { guid } });
const provide = (name: string, rest: Json = {}) =>
  cloud.call('POST', '/v3/service_instances', {
    type: 'user-provided',
    name,
    relationships: { space: one(space) },
    ...rest,
  });
const bind = (instance: unknown, rest: Json = {}) =>
  cloud.call('POST', '/v3/service_credential_bindings', {
    type: 'app',
    relationships: { app: one(app), service_instance: one(instance) },
    ...rest,
  });

function refusal(answer: Answer): string {
  assert.equal(answer.status, 422, answer.text);
  return String((answer.body.errors as Json[])[0]?.detail);
}

/** What the newest pod of the app, or of a task, is told of its services. */
async function told(selector: string): Promise<unknown> {
  const pod = await cloud.until('its pod', async () => {
    const { items } = await cloud.plane.client.list(pods, { namespace, labelSelector: selector });
    return items.toSorted(
      (a: Stored<Pod>, b) => Number(b.metadata.resourceVersion) - Number(a.metadata.resourceVersion),
    )[0];
  });
  const variable = pod.spec?.containers[0]?.env?.find(({ name }) => name === 'VCAP_SERVICES');
  const { secretKeyRef } = variable?.valueFrom ?? {};
  if (!secretKeyRef) return JSON.parse(String(variable?.value));
  const secret = await cloud.plane.client.get(secrets, String(secretKeyRef.name), namespace);
  return JSON.parse(atob(String(secret.data?.[secretKeyRef.key])));
}

test('a service that runs elsewhere is provided, bound, told to the app from its next start on, and taken away', async () => {
  await cloud.json('POST', `/v3/apps/${app}/actions/start`);
  assert.deepEqual(await told(`${labels.app}=${app}`), {});
  const made = await provide('db', { credentials: { uri: 'postgres://x', port: 5432 }, tags: ['sql'] });
  assert.equal(made.status, 201, made.text);
  const { guid } = made.body;
  assert.deepEqual([made.body.type, (made.body.last_operation as Json).state], ['user-provided', 'succeeded']);
  assert.doesNotMatch(made.text, /postgres/, 'credentials are shown at their own place alone');
  assert.deepEqual(await cloud.json('GET', `/v3/service_instances/${String(guid)}/credentials`), {
    uri: 'postgres://x',
    port: 5432,
  });
  const bound = await bind(guid, { name: 'main' });
  assert.equal(bound.status, 201, bound.text);
  assert.match(refusal(await bind(guid)), /already bound/);
  const listed = await cloud.json(
    'GET',
    `/v3/service_credential_bindings?type=app&app_guids=${app}&include=app,service_instance`,
  );
  assert.equal(((listed.included as Json).service_instances as Json[])[0]?.name, 'db');

  await cloud.json('POST', `/v3/apps/${app}/actions/restart`);
  const expected = {
    'user-provided': [
      {
        label: 'user-provided',
        name: 'main',
        tags: ['sql'],
        instance_guid: guid,
        instance_name: 'db',
        binding_guid: bound.body.guid,
        binding_name: 'main',
        credentials: { uri: 'postgres://x', port: 5432 },
        syslog_drain_url: '',
        volume_mounts: [],
      },
    ],
  };
  const newest = await cloud.until('the new instance', async () => {
    const services = (await told(`${labels.app}=${app}`)) as Json;
    return Object.keys(services).length > 0 && services;
  });
  assert.deepEqual(newest, expected);
  const environment = await cloud.json('GET', `/v3/apps/${app}/env`);
  assert.deepEqual((environment.system_env_json as Json).VCAP_SERVICES, expected);
  const task = await cloud.json('POST', `/v3/apps/${app}/tasks`, { command: 'x' });
  assert.deepEqual(await told(`${labels.task}=${String(task.guid)}`), expected);

  await cloud.json('PATCH', `/v3/service_instances/${String(guid)}`, { credentials: { uri: 'postgres://y' } });
  const details = await cloud.json('GET', `/v3/service_credential_bindings/${String(bound.body.guid)}/details`);
  assert.deepEqual(details.credentials, { uri: 'postgres://y' });
  assert.deepEqual(await told(`${labels.task}=${String(task.guid)}`), expected, 'what runs keeps what it was told');
  assert.equal((await cloud.call('DELETE', `/v3/service_instances/${String(guid)}`)).status, 204);
  assert.equal(((await cloud.json('GET', '/v3/service_credential_bindings')).resources as Json[]).length, 0);
  assert.equal((await provide('db')).status, 201, 'the name is free again');
});

test('an app is bound several times to one instance where that is asked for; the newest counts', async () => {
  const { guid } = (await provide('rotated')).body;
  const again = (strategy: string) => bind(guid, { strategy });
  const told = async () => {
    const { system_env_json: system } = await cloud.json('GET', `/v3/apps/${app}/env`);
    const services = ((system as Json).VCAP_SERVICES as Record<string, Json[]>)['user-provided'] ?? [];
    return services.filter((one) => one.instance_guid === guid).map((one) => one.binding_guid);
  };
  const bindings: unknown[] = [(await bind(guid)).body.guid];
  assert.match(refusal(await again('single')), /already bound/);
  assert.match(refusal(await again('some')), /Strategy must be 'single' or 'multiple'/);
  for (let count = 2; count <= 5; count++) bindings.push((await again('multiple')).body.guid);
  assert.match(refusal(await again('multiple')), /too many bindings to this service instance \(limit: 5\)/);
  assert.deepEqual(await told(), [bindings.at(-1)]);
  const manifest = (await cloud.call('GET', `/v3/apps/${app}/manifest`)).text;
  assert.equal(manifest.split('rotated').length, 2, manifest);
  assert.equal((await cloud.call('DELETE', `/v3/service_credential_bindings/${String(bindings.pop())}`)).status, 204);
  assert.deepEqual(await told(), [bindings.at(-1)]);
  assert.equal((await cloud.call('DELETE', `/v3/service_instances/${String(guid)}`)).status, 204);
});

test('what a start wrote down of services counts for instances that are made later, whatever is bound by then', async () => {
  const { app: late } = await makeApp(cloud, 'late', space);
  const act = (action: string) => cloud.json('POST', `/v3/apps/${late}/actions/${action}`);
  const scale = (instances: number) =>
    cloud.json('POST', `/v3/apps/${late}/processes/web/actions/scale`, { instances });
  await scale(0);
  await act('start');
  const { guid } = (await provide('later', { credentials: { key: 'x' } })).body;
  const bound = await bind(guid, { relationships: { app: one(late), service_instance: one(guid) } });
  assert.equal(bound.status, 201, bound.text);
  await scale(1);
  assert.deepEqual(await told(`${labels.app}=${late}`), {});

  await scale(0);
  await act('restart');
  assert.equal((await cloud.call('DELETE', `/v3/service_credential_bindings/${String(bound.body.guid)}`)).status, 204);
  await scale(1);
  await cloud.until(
    'an instance that is told',
    async () => 'user-provided' in ((await told(`${labels.app}=${late}`)) as Json),
  );
  await act('restart');
  assert.deepEqual(await told(`${labels.app}=${late}`), {}, 'nothing is bound any more');
});

/** The files that the pods of an app have of its services, and the variables that say so; undefined while there is no such pod. */
async function filesOf(app: string, variable: string): Promise<Record<string, string> | undefined> {
  const { items } = await cloud.plane.client.list(pods, { namespace, labelSelector: `${labels.app}=${app}` });
  const pod = items.find(({ spec }) => spec?.containers[0]?.env?.some(({ name }) => name === variable));
  const [container] = pod?.spec?.containers ?? [];
  const volume = pod?.spec?.volumes?.[0]?.secret;
  if (!container || !volume) return undefined;
  const [mount] = container.volumeMounts ?? [];
  assert.deepEqual([mount?.name, mount?.readOnly], [pod?.spec?.volumes?.[0]?.name, true]);
  assert.ok(!container.env?.some(({ name }) => name === 'VCAP_SERVICES'));
  const { data = {} } = await cloud.plane.client.get(secrets, String(volume.secretName), namespace);
  const files = (volume.items ?? []).map(({ key, path }) => [
    `${String(mount?.mountPath)}/${path}`,
    atob(String(data[key])),
  ]);
  return Object.fromEntries(files) as Record<string, string>;
}

test('an app may be told of its services by a file, or by a file for each fact', async () => {
  const { app: filed } = await makeApp(cloud, 'filed', space);
  const bound = async (name: string, rest: Json) => {
    const { guid } = (await provide(name, rest)).body;
    return (await bind(guid, { relationships: { app: one(filed), service_instance: one(guid) } })).body;
  };
  const binding = await bound('sql', { credentials: { uri: 'postgres://x', port: 5432 }, tags: ['a'] });
  const feature = (name: string, enabled: boolean) =>
    cloud.call('PATCH', `/v3/apps/${filed}/features/${name}`, { enabled });
  const restart = () => cloud.call('POST', `/v3/apps/${filed}/actions/restart`);
  assert.equal((await feature('file-based-vcap-services', true)).status, 200);
  assert.match(refusal(await feature('service-binding-k8s', true)), /cannot be enabled at the same time/);
  await restart();
  const file = await cloud.until('the file', () => filesOf(filed, 'VCAP_SERVICES_FILE_PATH'));
  assert.deepEqual(Object.keys(file), ['/etc/cf-service-bindings/vcap_services']);
  const [service] = (JSON.parse(Object.values(file)[0] ?? '') as Record<string, Json[]>)['user-provided'] ?? [];
  assert.deepEqual([service?.name, service?.binding_guid], ['sql', binding.guid]);

  await feature('file-based-vcap-services', false);
  await feature('service-binding-k8s', true);
  await restart();
  const files = await cloud.until('the files', () => filesOf(filed, 'SERVICE_BINDING_ROOT'));
  const { [`/etc/cf-service-bindings/sql/instance-guid`]: instance, ...others } = files;
  assert.equal(instance, service?.instance_guid);
  assert.deepEqual(others, {
    '/etc/cf-service-bindings/sql/uri': 'postgres://x',
    '/etc/cf-service-bindings/sql/port': '5432',
    '/etc/cf-service-bindings/sql/type': 'user-provided',
    '/etc/cf-service-bindings/sql/provider': 'user-provided',
    '/etc/cf-service-bindings/sql/label': 'user-provided',
    '/etc/cf-service-bindings/sql/name': 'sql',
    '/etc/cf-service-bindings/sql/instance-name': 'sql',
    '/etc/cf-service-bindings/sql/binding-guid': String(binding.guid),
    '/etc/cf-service-bindings/sql/tags': '["a"]',
    '/etc/cf-service-bindings/sql/syslog-drain-url': '',
    '/etc/cf-service-bindings/sql/volume-mounts': '[]',
  });
  const task = await cloud.json('POST', `/v3/apps/${filed}/tasks`, { command: 'x' });
  await cloud.until('a task that has them too', async () => {
    const { items } = await cloud.plane.client.list(pods, {
      namespace,
      labelSelector: `${labels.task}=${String(task.guid)}`,
    });
    return items[0]?.spec?.volumes?.[0]?.secret?.items?.length === Object.keys(files).length;
  });

  await bound('No Directory', { credentials: {} });
  assert.match(refusal(await restart()), /"No Directory" is no name of a directory: bind it by another/);
  await feature('service-binding-k8s', false);
  assert.equal((await restart()).status, 200);
  await cloud.until('the variable again', async () => {
    const { items } = await cloud.plane.client.list(pods, { namespace, labelSelector: `${labels.app}=${filed}` });
    return items.some(({ spec }) => spec?.containers[0]?.env?.some(({ name }) => name === 'VCAP_SERVICES'));
  });
});

test('names are unique in a space, and what cannot be is said', async () => {
  assert.equal((await provide('one')).status, 201);
  assert.match(refusal(await provide('ONE')), /name is taken: ONE/);
  assert.match(refusal(await provide('two', { type: 'managed' })), /service_plan: \{"data"/);
  assert.match(refusal(await provide('two', { syslog_drain_url: 'ftp://x' })), /must begin with one of syslog:/);
  assert.match(refusal(await provide('two', { credentials: 'x' })), /Credentials must be an object/);
  assert.match(refusal(await provide('two', { credentials: { x: 'y'.repeat(70_000) } })), /at most 64 KiB/);
  assert.match(refusal(await bind('nobody')), /service instance could not be found/);
  const renamed = (await provide('three')).body;
  assert.match(
    refusal(await cloud.call('PATCH', `/v3/service_instances/${String(renamed.guid)}`, { name: 'one' })),
    /taken/,
  );
  const shown = await cloud.json('GET', '/v3/service_instances?names=three&fields[service_plan]=name');
  assert.equal((shown.resources as Json[]).length, 1);
});

test('what is provided goes with its space', async () => {
  const [organization] = (await cloud.json('GET', '/v3/organizations')).resources as Json[];
  const other = await cloud.json('POST', '/v3/spaces', {
    name: 'gone',
    relationships: { organization: one(organization?.guid) },
  });
  await cloud.json('POST', '/v3/service_instances', {
    type: 'user-provided',
    name: 'x',
    relationships: { space: one(other.guid) },
  });
  await cloud.finished(await cloud.call('DELETE', `/v3/spaces/${String(other.guid)}`));
  assert.equal(((await cloud.json('GET', '/v3/service_instances?names=x')).resources as Json[]).length, 0);
});
