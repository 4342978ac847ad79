import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import { events } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { pods } from '../../resources/kubernetes.ts';
import { labels } from '../../resources/types.ts';
import type { Json } from '../api.ts';
import { startTestCloud, type TestCloud } from '../cloud.fixture.ts';
import { makeApp } from '../made-app.fixture.ts';
import { type Diagnosis, diagnose, type Facts, type Finding } from './diagnosis.ts';

let cloud: TestCloud;
let app: string;

before(async () => {
  cloud = await startTestCloud();
  const space = String(((await cloud.json('GET', '/v3/spaces')).resources as Json[])[0]?.guid);
  app = (await makeApp(cloud, 'shop', space)).app;
});
after(() => cloud?.close());

const why = async () => (await cloud.json('GET', `/v3/apps/${app}/why`)) as unknown as Diagnosis;
const whyUntil = (what: string, look: (diagnosis: Diagnosis) => boolean) =>
  cloud.until(what, async () => {
    const diagnosis = await why();
    return look(diagnosis) && diagnosis;
  });
const podOf = (): Promise<Stored<Pod>> =>
  cloud.until('the pod', async () => {
    const { items } = await cloud.plane.client.list(pods, { labelSelector: `${labels.app}=${app}` });
    return items.find(({ metadata }) => metadata.deletionTimestamp === undefined);
  });
let count = 0;
const tell = (pod: Pick<Pod, 'metadata'>, reason: string, message: string, at = new Date().toISOString()) =>
  cloud.plane.client.create(events, {
    metadata: { name: `event-${++count}`, namespace: 'default-dev' },
    involvedObject: {
      kind: 'Pod',
      namespace: 'default-dev',
      name: pod.metadata.name ?? '',
      ...(pod.metadata.uid === undefined ? {} : { uid: pod.metadata.uid }),
    },
    reason,
    message,
    type: 'Warning',
    lastTimestamp: at.replace(/\.\d+/, ''),
  });

test('an app that was never started, and one that runs', async () => {
  assert.match((await why()).summary, /^shop is stopped\.$/);
  await cloud.json('POST', `/v3/apps/${app}/actions/start`);
  const fine = await whyUntil('it to run', ({ instances }) => instances[0]?.state === 'RUNNING');
  assert.equal(fine.summary, 'shop runs, and nothing went wrong with it lately.');
  assert.deepEqual([fine.hint, fine.findings, fine.instances.length], [null, [], 1]);
  assert.match(fine.changes[0]?.message ?? '', /^admin started it$/);
});

test('a crash is told with its exit status, and as a failed health check where it was one', async () => {
  cloud.nodes.fare = () => ({ ready: false, restarts: 1, exitCode: 3, waiting: 'CrashLoopBackOff' });
  cloud.nodes.replay();
  const crashed = await whyUntil('the crash', ({ findings }) => findings[0]?.kind === 'crash');
  assert.equal(crashed.summary, '1 of 1 instance of shop is not running: exited with status 3.');
  assert.equal(crashed.instances[0]?.state, 'CRASHED');
  assert.match(crashed.hint ?? '', /sampan logs shop --recent/);
  const pod = await podOf();
  // Told in the moment of the crash, whenever this runs.
  const { at } = crashed.findings[0] ?? {};
  await tell(pod, 'Killing', 'Container app failed liveness probe, will be restarted', at);
  await tell(pod, 'Unhealthy', 'Liveness probe failed: HTTP probe failed with statuscode: 503', at);
  const killed = await whyUntil('the probe', ({ findings }) => findings[0]?.kind === 'probe');
  assert.match(
    killed.findings[0]?.message ?? '',
    /health check failed, and it was killed \(HTTP probe failed with statuscode: 503\)/,
  );
  assert.match(killed.hint ?? '', /listen on \$PORT/);
  cloud.nodes.fare = () => ({ ready: true, restarts: 1, exitCode: 3 });
  cloud.nodes.replay();
  const again = await whyUntil('it to run again', ({ instances }) => instances[0]?.state === 'RUNNING');
  assert.match(again.summary, /^shop runs again\. Last trouble at /);
});

test('what befell a pod that is gone is told, and of pods of other apps nothing', async () => {
  const { metadata } = await podOf();
  const gone = { metadata: { ...metadata, name: metadata.name.replace(/.{5}$/, 'zzzzz'), uid: 'gone' } };
  await tell(gone, 'Evicted', 'The node was low on resource: memory.');
  const evicted = await whyUntil('the eviction', ({ findings }) => findings.some(({ kind }) => kind === 'eviction'));
  assert.ok(evicted.findings.some(({ message }) => message === 'The node was low on resource: memory'));
  const other = { metadata: { ...metadata, name: metadata.name.replace(/-[0-9a-f]{6}-/, '-000000-') } };
  await tell(other, 'Preempted', 'Preempted by somebody');
  assert.ok(!(await why()).findings.some(({ message }) => /Preempted/.test(message)));
});

test('one that somebody stopped', async () => {
  await cloud.json('POST', `/v3/apps/${app}/actions/stop`);
  assert.match((await why()).summary, /^shop is stopped: admin stopped it at /);
});

const facts = (changes: Partial<Facts>): Facts => ({
  name: 'shop',
  state: 'STARTED',
  memoryMb: 128,
  instances: [
    { process: 'web', index: 0, state: 'CRASHED', ready: false, restarts: 4, since: null, node: 'n', details: null },
  ],
  findings: [],
  changes: [],
  ...changes,
});
const finding = (kind: Finding['kind'], message: string): Finding => ({
  kind,
  message,
  at: '2026-01-01T00:00:00Z',
  process: 'web',
  index: 0,
});

test('each kind of trouble has a remedy', () => {
  const oom = diagnose(facts({ findings: [finding('oom', 'exited with status 137 (out of memory)')] }));
  assert.match(oom.summary, /out of memory/);
  assert.match(oom.hint ?? '', /sampan scale shop -m 256M/);
  for (const kind of ['crash', 'probe', 'eviction', 'unschedulable', 'image', 'node'] as const) {
    assert.notEqual(diagnose(facts({ findings: [finding(kind, 'x')] })).hint, null, kind);
  }
  const old = diagnose(
    facts({
      instances: [{ ...facts({}).instances[0], state: 'RUNNING', ready: true } as Facts['instances'][number]],
      deployment: { at: '', error: 'A new instance crashed 3 times: exit status 1' },
    }),
  );
  assert.match(old.summary, /runs its old version, as the new one failed: A new instance crashed 3 times/);
  assert.match(diagnose(facts({ instances: [] })).summary, /has no instances/);
  const starting = facts({
    instances: [{ ...facts({}).instances[0], state: 'STARTING' } as Facts['instances'][number]],
  });
  assert.match(diagnose(starting).summary, /1 of 1 instance of shop is still starting\./);
});
