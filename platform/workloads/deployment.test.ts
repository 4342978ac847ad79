import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Json } from '../cloud-controller/api.ts';
import { startTestCloud, type TestCloud } from '../cloud-controller/cloud.fixture.ts';
import { pods, replicaSets, secrets } from '../resources/kubernetes.ts';
import { plan } from './deployment.ts';
import { lowestFree } from './instance-index.ts';
import { generationOf, isReady } from './reading.ts';

let cloud: TestCloud;

before(async () => {
  cloud = await startTestCloud();
});
after(() => cloud?.close());

/** An app that runs, the short way. */
async function running(name: string, instances: number): Promise<string> {
  const spaces = await cloud.json('GET', '/v3/spaces?names=dev');
  const space = (spaces.resources as Json[])[0]?.guid;
  const app = await cloud.json('POST', '/v3/apps', { name, relationships: { space: { data: { guid: space } } } });
  const guid = String(app.guid);
  await cloud.json('POST', `/v3/processes/${guid}/actions/scale`, { instances });
  await cloud.json('PATCH', `/v3/apps/${guid}/relationships/current_droplet`, { data: { guid: await droplet(guid) } });
  await cloud.json('POST', `/v3/apps/${guid}/actions/start`);
  await cloud.until('it runs', () => readyPods(guid).length === instances);
  return guid;
}

async function droplet(app: string): Promise<string> {
  const item = await cloud.json('POST', '/v3/packages', {
    type: 'bits',
    relationships: { app: { data: { guid: app } } },
  });
  const form = new FormData();
  form.set('bits', new Blob(['zip']), 'package.zip');
  await cloud.json('POST', `/v3/packages/${String(item.guid)}/upload`, form);
  const build = await cloud.json('POST', '/v3/builds', { package: { guid: item.guid } });
  const staged = await cloud.until('the build', async () => {
    const now = await cloud.json('GET', `/v3/builds/${String(build.guid)}`);
    return now.state === 'STAGED' && now;
  });
  return String((staged.droplet as Json).guid);
}

function readyPods(app: string) {
  return cloud.informers.of(pods).byIndex('platform/app', app).filter(isReady);
}

async function deploy(app: string, body: Json = {}): Promise<string> {
  const deployment = await cloud.json('POST', '/v3/deployments', {
    ...body,
    relationships: { app: { data: { guid: app } } },
  });
  return String(deployment.guid);
}

async function ended(guid: string): Promise<Json> {
  return cloud.until('the end of the deployment', async () => {
    const deployment = await cloud.json('GET', `/v3/deployments/${guid}`);
    return (deployment.status as Json).value === 'FINALIZED' && deployment;
  });
}

test('plan: never fewer than wanted, never more than allowed above', () => {
  for (let wanted = 0; wanted <= 6; wanted++) {
    for (let inFlight = 1; inFlight <= 4; inFlight++) {
      for (let ready = 0; ready <= wanted; ready++) {
        for (let oldPods = 0; oldPods <= wanted + inFlight; oldPods++) {
          const { fresh, old } = plan({ wanted, ready, maxInFlight: inFlight, oldPods });
          assert.ok(ready + old >= wanted);
          assert.ok(fresh + old <= wanted + inFlight);
          assert.ok(fresh >= ready);
          assert.ok(ready === wanted || oldPods > wanted - ready || fresh > ready, 'it goes on');
        }
      }
    }
  }
});

test('index: the lowest free one', () => {
  assert.equal(lowestFree(new Set()), 0);
  assert.equal(lowestFree(new Set([0, 1, 3])), 2);
});

test('rolling: the new droplet takes over without a moment of fewer ready instances', async () => {
  const app = await running('rolling', 3);
  let fewest = Number.POSITIVE_INFINITY;
  let most = 0;
  const stop = cloud.informers.of(pods).onChange(() => {
    fewest = Math.min(fewest, readyPods(app).length);
    const all = cloud.informers
      .of(pods)
      .byIndex('platform/app', app)
      .filter((pod) => !pod.metadata.deletionTimestamp);
    most = Math.max(most, all.length);
  });
  const fresh = await droplet(app);
  const deployment = await ended(await deploy(app, { droplet: { guid: fresh } }));
  assert.equal((deployment.status as Json).reason, 'DEPLOYED');
  await cloud.until('only the new ones', () => {
    const sets = cloud.informers.of(replicaSets).byIndex('platform/app', app);
    return sets.length === 1 && generationOf(sets[0] ?? { metadata: {} }) === 2 && readyPods(app).length === 3;
  });
  stop();
  assert.equal(fewest, 3);
  assert.ok(most <= 4, `${most} pods at once`);
  const current = await cloud.json('GET', `/v3/apps/${app}/droplets/current`);
  assert.equal(current.guid, fresh);
  const indexes = readyPods(app).map((pod) => pod.metadata.annotations?.['platform.sampan.dev/instance-index']);
  assert.deepEqual(indexes.sort(), ['0', '1', '2']);
});

/** How many instances each web process of an app has, as clients see it. */
async function shownWebs(app: string): Promise<string> {
  const { resources } = await cloud.json('GET', `/v3/apps/${app}/processes?types=web`);
  const stats = await Promise.all(
    (resources as Json[]).map(({ guid }) => cloud.json('GET', `/v3/processes/${String(guid)}/stats`)),
  );
  return stats.map((each) => (each.resources as Json[]).length).join();
}

test('canary: it waits at each of its steps, with the old version beside it, and goes on when told', async () => {
  const app = await running('canary', 4);
  const fresh = await droplet(app);
  const weights = [25, 50];
  const options = { canary: { steps: weights.map((weight) => ({ instance_weight: weight })) } };
  const guid = await deploy(app, { strategy: 'canary', droplet: { guid: fresh }, options });
  const state = async () => cloud.json('GET', `/v3/deployments/${guid}`);
  const byGeneration = () => {
    const ready = readyPods(app).filter((pod) => !pod.metadata.deletionTimestamp);
    return [1, 2].map((generation) => ready.filter((pod) => generationOf(pod) === generation).length).join();
  };
  for (const [index, expected] of ['3,1', '2,2'].entries()) {
    const waiting = await cloud.until(`step ${index + 1}`, async () => {
      const now = await state();
      const { reason, canary } = now.status as { reason: string; canary: { steps: { current: number } } };
      return reason === 'PAUSED' && canary.steps.current === index + 1 && byGeneration() === expected && now;
    });
    assert.deepEqual((waiting.options as Json).canary, options.canary);
    await cloud.until('what serves, and what is tried beside it', async () => (await shownWebs(app)) === expected);
    assert.equal((await cloud.call('POST', `/v3/deployments/${guid}/actions/continue`)).status, 200);
    const told = (await state()).status as { reason: string; canary: { steps: { current: number } } };
    assert.ok(
      told.reason !== 'PAUSED' || told.canary.steps.current > index + 1,
      'who waits for it is not told of before',
    );
  }
  const told = await ended(guid);
  assert.equal((told.status as Json).reason, 'DEPLOYED');
  await cloud.until('the new version alone', () => byGeneration() === '0,4');
  await cloud.until('one web process', async () => (await shownWebs(app)) === '4');
  assert.deepEqual(told.new_processes, [{ guid: app, type: 'web' }]);
  assert.equal((await cloud.json('GET', `/v3/processes/${guid}`)).guid, app, 'what was brought is the process now');
  const again = await cloud.call('POST', `/v3/deployments/${guid}/actions/continue`);
  assert.match(again.text, /Cannot continue a deployment with status: FINALIZED and reason: DEPLOYED/);
});

test('canary: of one instance there are two while it waits; no time runs out, and it can be taken back', async () => {
  const app = await running('single', 1);
  const before = readyPods(app).map((pod) => pod.metadata.uid);
  const guid = await deploy(app, { strategy: 'canary', droplet: { guid: await droplet(app) } });
  const paused = await cloud.until('the canary', async () => {
    const now = await cloud.json('GET', `/v3/deployments/${guid}`);
    return (now.status as Json).reason === 'PAUSED' && readyPods(app).length === 2 && now;
  });
  assert.deepEqual((paused.status as Json).canary, { steps: { current: 1, total: 1 } });
  assert.deepEqual(paused.new_processes, [{ guid, type: 'web' }]);
  const brought = await cloud.json('GET', `/v3/processes/${guid}`);
  const revisionOf = ({ relationships }: Json) => ((relationships as Json).revision as Json).data;
  assert.deepEqual([brought.guid, brought.type, brought.instances], [guid, 'web', 1]);
  assert.deepEqual(revisionOf(brought), { guid: (paused.revision as Json).guid });
  assert.notDeepEqual(revisionOf(await cloud.json('GET', `/v3/processes/${app}`)), revisionOf(brought));
  assert.deepEqual((await cloud.json('GET', `/v3/processes/${guid}/sidecars`)).resources, []);
  const scaled = await cloud.json('POST', `/v3/processes/${guid}/actions/scale`, { instances: 1 });
  assert.equal(scaled.guid, app, 'its settings are those of the process');
  cloud.clock.offset = 3_600_000;
  await cloud.restart();
  assert.equal(((await cloud.json('GET', `/v3/deployments/${guid}`)).status as Json).reason, 'PAUSED');
  cloud.clock.offset = 0;
  await cloud.call('POST', `/v3/deployments/${guid}/actions/cancel`);
  assert.match(
    String(((await cloud.json('GET', `/v3/deployments/${guid}`)).status as Json).reason),
    /^CANCEL(ING|ED)$/,
  );
  assert.equal(((await ended(guid)).status as Json).reason, 'CANCELED');
  assert.equal((await cloud.call('GET', `/v3/processes/${guid}`)).status, 404);
  await cloud.until('the old one alone', () => readyPods(app).length === 1);
  assert.deepEqual(
    readyPods(app).map((pod) => pod.metadata.uid),
    before,
    'it never stopped',
  );
});

test('rolling: what it changes of the web process comes with the new version', async () => {
  const app = await running('sized', 1);
  const options = { web_instances: 2, memory_in_mb: 99, disk_in_mb: null, log_rate_limit_in_bytes_per_second: null };
  await ended(await deploy(app, { options }));
  await cloud.until('two of the new size', () => {
    const limits = readyPods(app).map((pod) => pod.spec?.containers[0]?.resources?.limits?.['memory']);
    return limits.join() === '99Mi,99Mi';
  });
});

test('canary: steps that cannot be are refused', async () => {
  const app = await running('steps', 1);
  const refused = async (canary: unknown, message: RegExp, strategy = 'canary') => {
    const body = { strategy, options: { canary }, relationships: { app: { data: { guid: app } } } };
    const answer = await cloud.call('POST', '/v3/deployments', body);
    assert.equal(answer.status, 422, answer.text);
    assert.match(answer.text, message);
  };
  await refused({ steps: [{ instance_weight: 0 }] }, /between 1 and 100/);
  await refused({ steps: [{ instance_weight: 50 }, { instance_weight: 20 }] }, /ascending order/);
  await refused({ steps: [] }, /array of 1 to 100/);
  await refused({ steps: [{ instance_weight: 5 }] }, /only valid for canary/, 'rolling');
});

test('rolling: a version that crashes is taken back, and the old one never stopped', async () => {
  const app = await running('crashing', 2);
  const before = readyPods(app)
    .map((pod) => pod.metadata.uid)
    .sort();
  const old = (await cloud.json('GET', `/v3/apps/${app}/droplets/current`)).guid;
  cloud.nodes.fare = (pod) =>
    pod.metadata.labels?.['platform.sampan.dev/app'] === app && generationOf(pod) === 2
      ? { ready: false, restarts: 3, exitCode: 7, waiting: 'CrashLoopBackOff' }
      : { ready: true };
  const deployment = await ended(await deploy(app, { droplet: { guid: await droplet(app) } }));
  const status = deployment.status as Json;
  assert.equal(status.reason, 'CANCELED');
  assert.match(String((status.details as Json).error), /crashed 3 times: exit status 7/);
  await cloud.until(
    'nothing half-made',
    () => cloud.informers.of(replicaSets).byIndex('platform/app', app).length === 1,
  );
  assert.deepEqual(
    readyPods(app)
      .map((pod) => pod.metadata.uid)
      .sort(),
    before,
  );
  assert.equal((await cloud.json('GET', `/v3/apps/${app}/droplets/current`)).guid, old);
  const events = await cloud.until('the crash event', async () => {
    const answer = await cloud.json('GET', `/v3/audit_events?types=audit.app.process.crash&target_guids=${app}`);
    return (answer.resources as Json[]).length > 0 && (answer.resources as Json[]);
  });
  assert.equal((events[0]?.data as Json | undefined)?.exit_status, 7);
  cloud.nodes.fare = () => ({ ready: true });
  const again = await ended(await deploy(app));
  assert.equal((again.status as Json).reason, 'DEPLOYED', 'the next one works');
});

test('rolling: one that never listens is cancelled by hand, one that is stopped ends, one is superseded', async () => {
  const app = await running('silent', 1);
  cloud.nodes.fare = (pod) => ({ ready: generationOf(pod) !== 2 && generationOf(pod) !== 3 });
  const first = await deploy(app);
  const second = await deploy(app);
  assert.equal(((await ended(first)).status as Json).reason, 'SUPERSEDED');
  const answer = await cloud.call('POST', `/v3/deployments/${second}/actions/cancel`);
  assert.equal(answer.status, 200);
  assert.equal(((await ended(second)).status as Json).reason, 'CANCELED');
  await cloud.until('the old one alone', () => {
    const all = cloud.informers.of(pods).byIndex('platform/app', app);
    return all.length === 1 && readyPods(app).length === 1;
  });
  assert.equal((await cloud.call('POST', `/v3/deployments/${second}/actions/cancel`)).status, 422);
  await cloud.json('POST', `/v3/apps/${app}/actions/stop`);
  await cloud.until('no pods', () => cloud.informers.of(pods).byIndex('platform/app', app).length === 0);
  cloud.nodes.fare = () => ({ ready: true });
});

test('rolling: one that never listens is taken back after its time, with the reason', async () => {
  const app = await running('deaf', 1);
  const [before] = readyPods(app);
  cloud.nodes.fare = (pod) => ({ ready: generationOf(pod) !== 2 });
  const deployment = await deploy(app);
  await cloud.until('the new instance runs, and is not healthy', () =>
    cloud.informers
      .of(pods)
      .byIndex('platform/app', app)
      .some((pod) => generationOf(pod) === 2 && pod.status?.phase === 'Running'),
  );
  assert.equal(((await cloud.json('GET', `/v3/deployments/${deployment}`)).status as Json).value, 'ACTIVE');
  cloud.clock.offset = 10 * 60_000;
  await cloud.json('PATCH', `/v3/deployments/${deployment}`, { metadata: { labels: { wake: 'up' } } });
  const status = (await ended(deployment)).status as Json;
  cloud.clock.offset = 0;
  cloud.nodes.fare = () => ({ ready: true });
  assert.equal(status.reason, 'CANCELED');
  assert.match(String((status.details as Json).error), /healthy within 60 s: it runs, and its health check fails/);
  assert.deepEqual(
    readyPods(app).map((pod) => pod.metadata.uid),
    [before?.metadata.uid],
  );
});

test('revisions: changes make them, a rollback brings environment and command back', async () => {
  const app = await running('revised', 1);
  await cloud.json('PATCH', `/v3/apps/${app}/environment_variables`, { var: { COLOR: 'red' } });
  await cloud.json('PATCH', `/v3/processes/${app}`, { command: 'node other.js' });
  await cloud.json('POST', `/v3/apps/${app}/actions/restart`);
  const list = (await cloud.json('GET', `/v3/apps/${app}/revisions`)).resources as Json[];
  assert.deepEqual(
    list.map((revision) => revision.description),
    ['Initial revision.', "New environment variables deployed. Custom start command updated for 'web' process."],
  );
  await cloud.json('POST', `/v3/apps/${app}/actions/restart`);
  assert.equal(
    ((await cloud.json('GET', `/v3/apps/${app}/revisions`)).resources as Json[]).length,
    2,
    'a plain restart makes none',
  );
  const back = await ended(await deploy(app, { revision: { guid: list[0]?.guid } }));
  assert.equal((back.status as Json).reason, 'DEPLOYED');
  assert.deepEqual((await cloud.json('GET', `/v3/apps/${app}/environment_variables`)).var, {});
  assert.equal((await cloud.json('GET', `/v3/processes/${app}`)).command, 'node server.js');
});

test('revisions: where they are turned off none is made, what runs is right all the same, and later ones go on counting', async () => {
  const app = await running('unrevised', 1);
  const versions = async (path = '') =>
    ((await cloud.json('GET', `/v3/apps/${app}/revisions${path}`)).resources as Json[]).map(({ version }) => version);
  const keep = (enabled: boolean) => cloud.json('PATCH', `/v3/apps/${app}/features/revisions`, { enabled });
  const colour = async (value: string) => {
    await cloud.json('PATCH', `/v3/apps/${app}/environment_variables`, { var: { COLOR: value } });
    await cloud.json('POST', `/v3/apps/${app}/actions/restart`);
  };
  const [first] = (await cloud.json('GET', `/v3/apps/${app}/revisions`)).resources as Json[];
  assert.equal((await keep(false)).enabled, false);
  assert.equal((await cloud.json('GET', `/v3/apps/${app}/features/revisions`)).enabled, false);
  await cloud.json('POST', `/v3/apps/${app}/actions/restart`);
  assert.deepEqual(await versions('/deployed'), [1], 'nothing changed since');
  await colour('red');
  assert.deepEqual([await versions(), await versions('/deployed')], [[1], []]);
  const process = await cloud.json('GET', `/v3/processes/${app}`);
  assert.equal((process.relationships as Json).revision, null);
  const unshown = await cloud.until('what it runs by', () =>
    cloud.informers
      .of(replicaSets)
      .byIndex('platform/app', app)
      .map(({ metadata }) => metadata.annotations?.['platform.sampan.dev/revision'] ?? '')
      .find((name) => name !== '' && name !== first?.guid),
  );
  assert.equal((await cloud.call('GET', `/v3/revisions/${unshown}`)).status, 404);
  const { data } = await cloud.plane.client.get(secrets, `env-${unshown}`, 'default-dev');
  assert.equal(Buffer.from(data?.['COLOR'] ?? '', 'base64').toString(), 'red');
  const relationships = { app: { data: { guid: app } } };
  const back = await cloud.call('POST', '/v3/deployments', { revision: { guid: first?.guid }, relationships });
  assert.equal(back.status, 422);
  assert.match(back.text, /Cannot create deployment from a revision for an app without revisions enabled/);
  const deployment = await ended(await deploy(app));
  assert.deepEqual([(deployment.status as Json).reason, deployment.revision], ['DEPLOYED', undefined]);
  await keep(true);
  await colour('blue');
  assert.deepEqual([await versions(), await versions('/deployed')], [[1, 2], [2]]);
});

test('readiness: an instance that wants no requests for a while is told of, and one without a check is not', async () => {
  const [app, other] = [await running('moody', 1), await running('steady', 1)];
  const check = { type: 'http', data: { endpoint: '/ready' } };
  await cloud.json('PATCH', `/v3/processes/${app}`, { readiness_health_check: check });
  await cloud.json('POST', `/v3/apps/${app}/actions/restart`);
  const isChecked = () => readyPods(app).some((pod) => pod.spec?.containers[0]?.readinessProbe !== undefined);
  await cloud.until('it runs with its check', isChecked);
  cloud.nodes.fare = () => ({ ready: false });
  cloud.nodes.replay();
  await cloud.until('none is ready', () => readyPods(app).length + readyPods(other).length === 0);
  cloud.nodes.fare = () => ({ ready: true });
  cloud.nodes.replay();
  const types = 'audit.app.process.ready,audit.app.process.not-ready';
  const told = async (guid: string) => {
    const answer = await cloud.json('GET', `/v3/audit_events?types=${types}&target_guids=${guid}&order_by=created_at`);
    const kinds = (answer.resources as Json[]).map(({ type }) => String(type).split('.').at(-1));
    return kinds.sort().join();
  };
  await cloud.until('all of it is told', async () => (await told(app)) === 'not-ready,ready,ready');
  assert.equal(await told(other), '');
});
