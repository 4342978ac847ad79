/** Manifests as people write them: several apps that share settings, services, what the difference says, and the way back. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Json } from '../api.ts';
import { type Answer, startTestCloud, type TestCloud } from '../cloud.fixture.ts';

let cloud: TestCloud;
let space: string;

before(async () => {
  cloud = await startTestCloud();
  space = String(((await cloud.json('GET', '/v3/spaces')).resources as Json[])[0]?.guid);
  const body = { type: 'user-provided', name: 'db', relationships: { space: { data: { guid: space } } } };
  await cloud.json('POST', '/v3/service_instances', body);
});
after(() => cloud?.close());

const YAML = { headers: { 'content-type': 'application/x-yaml' } };
const apply = (text: string): Promise<Answer> =>
  cloud.call('POST', `/v3/spaces/${space}/actions/apply_manifest`, text, YAML);
const difference = async (text: string): Promise<Json[]> =>
  (await cloud.call('POST', `/v3/spaces/${space}/manifest_diff`, text, YAML)).body.diff as Json[];
const appNamed = async (name: string): Promise<Json> => {
  const [app] = (await cloud.json('GET', `/v3/apps?names=${name}`)).resources as Json[];
  assert.ok(app, name);
  return app;
};

const SHARED = `---
common: &common
  memory: 64M
  instances: 2
  env: &env
    COLOR: red
    LEVEL: 3
applications:
- name: front
  <<: *common
  default-route: true
  health-check-type: http
  health-check-http-endpoint: /up
  services:
  - db
  metadata:
    labels: { tier: web }
- name: back
  <<: *common
  env:
    <<: *env
    COLOR: blue
  no-route: true
  services:
  - name: db
    binding_name: store
  processes:
  - type: web
    instances: 1
  - type: worker
    instances: 1
    memory: 32M
`;

test('several apps share settings by anchors; services are bound; applied again nothing changes', async () => {
  const fresh = await difference(SHARED);
  assert.deepEqual(
    fresh.map(({ op, path }) => [op, path]),
    [
      ['add', '/applications/0'],
      ['add', '/applications/1'],
    ],
  );
  for (let round = 0; round < 2; round += 1) {
    const job = await cloud.finished(await apply(SHARED));
    assert.equal(job.state, 'COMPLETE', JSON.stringify(job.errors));
  }
  assert.deepEqual(await difference(SHARED), []);
  const [front, back] = [await appNamed('front'), await appNamed('back')];
  const processOf = (app: Json, type: string) => cloud.json('GET', `/v3/apps/${String(app.guid)}/processes/${type}`);
  const web = await processOf(front, 'web');
  assert.deepEqual([web.memory_in_mb, web.instances], [64, 2]);
  assert.deepEqual(web.health_check, {
    type: 'http',
    data: { timeout: null, invocation_timeout: null, interval: null, endpoint: '/up' },
  });
  assert.equal((await processOf(back, 'web')).instances, 1);
  assert.equal((await processOf(back, 'worker')).memory_in_mb, 32);
  const variables = await cloud.json('GET', `/v3/apps/${String(back.guid)}/environment_variables`);
  assert.deepEqual(variables.var, { COLOR: 'blue', LEVEL: '3' });
  const bindings = (await cloud.json('GET', '/v3/service_credential_bindings?include=app')).resources as Json[];
  assert.deepEqual(bindings.map(({ name }) => name).sort(), ['store', null].sort());
  assert.deepEqual((front.metadata as Json).labels, { tier: 'web' });
});

test('the manifest of an app makes another one like it; a change is told before it is made', async () => {
  const { guid } = await appNamed('back');
  const { text } = await cloud.call('GET', `/v3/apps/${String(guid)}/manifest`);
  assert.match(text, /services:\n +- name: db\n +binding_name: store/);
  assert.deepEqual(await difference(text), []);
  const renamed = text.replace('name: back', 'name: twin');
  assert.equal((await cloud.finished(await apply(renamed))).state, 'COMPLETE');
  assert.deepEqual(await difference(renamed), []);
  const changed = await difference(renamed.replace('memory: 32M', 'memory: 48M'));
  assert.deepEqual(
    changed.map(({ op, was, value }) => [op, was, value]),
    [['replace', '32M', '48M']],
  );
});

test('features are turned on and off, and are in the manifest of an app', async () => {
  const { guid } = await appNamed('twin');
  const change = (features: string) => `applications:\n- name: twin\n  no-route: true\n  features: ${features}\n`;
  const changed = await difference(change('{ ssh: false }'));
  assert.deepEqual(
    changed.map(({ op, path, was, value }) => [op, path, was, value]),
    [['replace', '/applications/0/features/ssh', true, false]],
  );
  assert.equal((await cloud.finished(await apply(change('{ ssh: false }')))).state, 'COMPLETE');
  const { resources } = await cloud.json('GET', `/v3/apps/${String(guid)}/features`);
  assert.deepEqual(
    (resources as Json[]).map(({ name, enabled }) => [name, enabled]),
    [
      ['ssh', false],
      ['revisions', true],
      ['service-binding-k8s', false],
      ['file-based-vcap-services', false],
    ],
  );
  const { text } = await cloud.call('GET', `/v3/apps/${String(guid)}/manifest`);
  assert.match(text, /features:\n +ssh: false\n +revisions: true/);
});

test('what cannot be is refused by name before anything is done', async () => {
  const refused = async (text: string): Promise<string> => {
    const answer = await apply(text);
    const errors = answer.status === 202 ? (await cloud.finished(answer)).errors : answer.body.errors;
    return (errors as Json[]).map(({ detail }) => String(detail)).join('\n');
  };
  const app = (rest: string) => `applications:\n- name: none\n  no-route: true\n${rest}`;
  assert.match(
    await refused(app('  services: [queue]\n')),
    /For application 'none': Service instance 'queue' not found/,
  );
  assert.match(await refused(app('  services: queue\n')), /Services must be a list/);
  assert.match(await refused(app('  memory: 1M\n')), /Memory must be at least 6M: nothing starts in less/);
  assert.match(await refused(app('  timeout: 1000000\n')), /timeout must be an integer of 1 to 100000/);
  const both = 'service-binding-k8s: true, file-based-vcap-services: true';
  assert.match(await refused(app(`  features: { ${both} }\n`)), /cannot be enabled at the same time/);
  assert.match(await refused(app('  features: [ssh]\n')), /Features must be a mapping/);
  assert.match(await refused(app('  features: { ssh: maybe }\n')), /feature "ssh" must be true or false/);
  assert.match(
    await refused(app('  features: { magic: true }\n')),
    /unknown feature "magic"; there are "ssh", "revisions"/,
  );
  assert.match(
    await refused(app('  services:\n  - name: db\n    parameters: { size: 3 }\n')),
    /binding parameters are not supported for user-provided/,
  );
  assert.match(await refused(`a: &a\n  <<: *a\n${app('')}`), /parse error|not found|Unresolved/i);
  const bomb = ['a: &a0 [x,x,x,x,x,x,x,x,x,x]'];
  for (let level = 1; level < 9; level += 1) {
    const aliases = Array.from({ length: 10 }, () => `*a${level - 1}`);
    bomb.push(`a${level}: &a${level} [${aliases.join(',')}]`);
  }
  assert.match(await refused(`${bomb.join('\n')}\n${app('')}`), /alias/i);
  assert.deepEqual((await cloud.json('GET', '/v3/apps?names=none')).resources, []);
});
