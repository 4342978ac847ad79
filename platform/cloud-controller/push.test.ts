import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { replicaSets, pods, services } from '../resources/kubernetes.ts';
import { annotations, labels } from '../resources/types.ts';
import type { Json } from './api.ts';
import { DIGEST, startTestCloud, type TestCloud } from './cloud.fixture.ts';

let cloud: TestCloud;
let space: string;

before(async () => {
  cloud = await startTestCloud();
  const spaces = await cloud.json('GET', '/v3/spaces?names=dev');
  space = String((spaces.resources as Json[])[0]?.guid);
});
after(() => cloud?.close());

const YAML = { 'content-type': 'application/x-yaml' };

test('push: the calls that cf makes, from manifest to running instances', async () => {
  const manifest =
    '---\napplications:\n- name: hello\n  instances: 2\n  memory: 128M\n  default-route: true\n  env:\n    GREETING: 1\n';
  const diff = await cloud.call('POST', `/v3/spaces/${space}/manifest_diff`, manifest, { headers: YAML });
  assert.equal(diff.status, 202);
  assert.equal(((diff.body.diff as Json[])[0] ?? {}).op, 'add');
  const applied = await cloud.call('POST', `/v3/spaces/${space}/actions/apply_manifest`, manifest, { headers: YAML });
  assert.equal((await cloud.finished(applied)).state, 'COMPLETE', cloud.problems.join('\n'));
  const listed = await cloud.json('GET', `/v3/apps?names=hello&space_guids=${space}&include=space.organization`);
  const app = (listed.resources as Json[])[0] ?? {};
  assert.equal(app.state, 'STOPPED');
  assert.equal(((listed.included as Json).organizations as Json[]).length, 1);
  const guid = String(app.guid);

  // What it says already is not written again: nothing that follows apps and processes is woken.
  const written = () =>
    [cloud.api.context.records.apps.get(guid), cloud.api.context.records.processes.get(guid)].map(
      (object) => object?.metadata.annotations?.[annotations.updatedAt],
    );
  const before = written();
  const again = await cloud.call('POST', `/v3/spaces/${space}/actions/apply_manifest`, manifest, { headers: YAML });
  assert.equal((await cloud.finished(again)).state, 'COMPLETE', cloud.problems.join('\n'));
  assert.deepEqual(written(), before);
  const less = manifest.replace('128M', '64M');
  const changed = await cloud.call('POST', `/v3/spaces/${space}/actions/apply_manifest`, less, { headers: YAML });
  assert.equal((await cloud.finished(changed)).state, 'COMPLETE', cloud.problems.join('\n'));
  assert.equal(written()[0], before[0]);
  assert.notEqual(written()[1], before[1]);
  const back = await cloud.call('POST', `/v3/spaces/${space}/actions/apply_manifest`, manifest, { headers: YAML });
  assert.equal((await cloud.finished(back)).state, 'COMPLETE', cloud.problems.join('\n'));

  const item = await cloud.json('POST', '/v3/packages', { type: 'bits', relationships: { app: { data: { guid } } } });
  assert.equal(item.state, 'AWAITING_UPLOAD');
  const matched = await cloud.call('POST', '/v3/resource_matches', {
    resources: ['a', 'b'].map((digit) => ({
      checksum: { value: digit.repeat(40) },
      size_in_bytes: 3,
      path: digit,
      mode: '644',
    })),
  });
  assert.equal((matched.body.resources as Json[]).length, 1);
  const form = new FormData();
  form.set('resources', JSON.stringify(matched.body.resources));
  form.set('bits', new Blob(['zip bytes']), 'package.zip');
  const uploaded = await cloud.call('POST', `/v3/packages/${String(item.guid)}/upload`, form);
  assert.equal(uploaded.body.state, 'READY', uploaded.text);
  assert.equal(cloud.uploads[0]?.zip?.toString(), 'zip bytes');
  assert.equal(cloud.uploads[0]?.resources[0]?.path, 'a');

  const build = await cloud.json('POST', '/v3/builds', { package: { guid: item.guid } });
  const staged = await cloud.until('the build', async () => {
    const now = await cloud.json('GET', `/v3/builds/${String(build.guid)}`);
    return now.state !== 'STAGING' && now;
  });
  assert.equal(staged.state, 'STAGED');
  const droplet = (staged.droplet as Json).guid;
  await cloud.json('PATCH', `/v3/apps/${guid}/relationships/current_droplet`, { data: { guid: droplet } });
  const started = await cloud.json('POST', `/v3/apps/${guid}/actions/start`);
  assert.equal(started.state, 'STARTED');

  const stats = await cloud.until('two running instances', async () => {
    const answer = await cloud.json('GET', `/v3/apps/${guid}/processes/web/stats`);
    const all = answer.resources as Json[];
    return all.length === 2 && all.every((instance) => instance.state === 'RUNNING') && all;
  });
  assert.deepEqual(
    stats.map((instance) => instance.index),
    [0, 1],
  );
  assert.equal(stats[0]?.mem_quota, 128 * 1024 * 1024);
  assert.equal(stats[0]?.node, 'node-1');

  const [set] = cloud.informers.of(replicaSets).byIndex('platform/app', guid);
  const container = set?.spec?.template?.spec?.containers[0];
  assert.equal(container?.image, `registry/cf/${guid}@${DIGEST}`);
  assert.deepEqual(container?.args, ['web']);
  assert.equal(container?.resources?.limits?.memory, '128Mi');
  assert.equal(container?.env?.find((variable) => variable.name === 'PORT')?.value, '8080');
  const vcap = JSON.parse(
    container?.env?.find((variable) => variable.name === 'VCAP_APPLICATION')?.value ?? '{}',
  ) as Json;
  assert.equal(vcap.application_name, 'hello');
  assert.deepEqual(vcap.uris, ['hello.apps.test']);
  const [service] = cloud.informers.of(services).byIndex('platform/app', guid);
  assert.equal(service?.metadata.name, `proc-${guid}`);
  assert.deepEqual(service?.spec?.selector, { [labels.process]: guid });

  const routes = await cloud.json('GET', `/v3/apps/${guid}/routes`);
  assert.equal((routes.resources as Json[])[0]?.url, 'hello.apps.test');
  const events = await cloud.json('GET', `/v3/audit_events?target_guids=${guid}&order_by=-created_at`);
  const types = (events.resources as Json[]).map((event) => event.type);
  for (const type of ['audit.app.create', 'audit.app.start', 'audit.app.droplet.mapped', 'audit.app.map-route']) {
    assert.ok(types.includes(type), `${type} is not in ${types.join(', ')}`);
  }
  assert.ok(cloud.lines.some((line) => line.sourceType === 'CELL' && line.message === 'Container became healthy'));

  const scaled = await cloud.call('POST', `/v3/processes/${guid}/actions/scale`, { instances: 3 });
  assert.equal(scaled.status, 202);
  await cloud.until('three instances', async () => {
    const answer = await cloud.json('GET', `/v3/processes/${guid}/stats`);
    const all = answer.resources as Json[];
    return all.length === 3 && all.every((instance) => instance.state === 'RUNNING');
  });
  await cloud.call('POST', `/v3/processes/${guid}/actions/scale`, { instances: 1 });
  const left = await cloud.until('one pod', () => {
    const all = cloud.informers.of(pods).byIndex('platform/app', guid);
    return all.length === 1 && all;
  });
  assert.equal(left[0]?.metadata.annotations?.['platform.sampan.dev/instance-index'], '0');

  const gone = await cloud.call('DELETE', `/v3/apps/${guid}`);
  assert.equal((await cloud.finished(gone)).state, 'COMPLETE', cloud.problems.join('\n'));
  await cloud.until('no pods', () => cloud.informers.of(pods).byIndex('platform/app', guid).length === 0);
  assert.equal((await cloud.call('GET', `/v3/apps/${guid}`)).status, 404);
  const kept = await cloud.json('GET', '/v3/routes?hosts=hello');
  assert.deepEqual((kept.resources as Json[])[0]?.destinations, []);
  assert.deepEqual(cloud.problems, []);
});
