import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { pods, replicaSets } from '../resources/kubernetes.ts';
import { SEGMENT_KEY, SHARED_SEGMENT } from '../resources/segments.ts';
import { builds, labels } from '../resources/types.ts';
import type { Json } from './api.ts';
import { startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { makeApp } from './made-app.fixture.ts';

const one = (guid: string | null) => ({ data: guid === null ? null : { guid } });

let cloud: TestCloud;
let organization: string;
let space: string;
let gold: string;
const segments = '/v3/isolation_segments';
const ofSpace = () => `/v3/spaces/${space}/relationships/isolation_segment`;
const ofOrganization = () => `/v3/organizations/${organization}/relationships/default_isolation_segment`;

before(async () => {
  cloud = await startTestCloud();
  organization = String((await cloud.json('POST', '/v3/organizations', { name: 'rich' })).guid);
  const made = { name: 's', relationships: { organization: one(organization) } };
  space = String((await cloud.json('POST', '/v3/spaces', made)).guid);
  gold = String((await cloud.json('POST', segments, { name: 'gold', metadata: { labels: { tier: 'high' } } })).guid);
});
after(() => cloud?.close());

async function refused(method: string, path: string, body: Json, message: RegExp): Promise<void> {
  const { status, text } = await cloud.call(method, path, body);
  assert.equal(status, 422, text);
  assert.match(text, message);
}

test('a segment has a name of its own; the shared one is there and stays', async () => {
  await refused('POST', segments, { name: 'GOLD' }, /names are case insensitive and must be unique/);
  await refused('POST', segments, { name: 'shared' }, /must be unique/);
  await refused('POST', segments, { name: 'two words' }, /nodes have it as a label/);
  await refused('DELETE', `${segments}/${SHARED_SEGMENT}`, {}, /Cannot update or delete the shared Isolation Segment/);
  const named = async (query: string) =>
    ((await cloud.json('GET', `${segments}?${query}`)).resources as Json[]).map(({ name }) => name);
  assert.deepEqual(await named('order_by=name'), ['gold', 'shared']);
  assert.deepEqual(await named('names=Gold'), ['gold']);
  assert.deepEqual(await named('label_selector=tier%3Dhigh'), ['gold']);
  const other = String((await cloud.json('POST', segments, { name: 'silver' })).guid);
  await refused('PATCH', `${segments}/${other}`, { name: 'gold' }, /must be unique/);
  assert.equal((await cloud.json('PATCH', `${segments}/${other}`, { name: 'tin' })).name, 'tin');
  // The name that it had is free.
  const again = String((await cloud.json('POST', segments, { name: 'silver' })).guid);
  for (const guid of [other, again]) assert.equal((await cloud.call('DELETE', `${segments}/${guid}`)).status, 204);
  assert.equal((await cloud.call('GET', `${segments}/${other}`)).status, 404);
});

test('who is entitled chooses it; what is chosen is not taken away', async () => {
  await refused(
    'PATCH',
    ofSpace(),
    one(gold),
    /Ensure it has been entitled to the organization that this space belongs/,
  );
  await refused('PATCH', ofOrganization(), one(gold), /Ensure it has been entitled to the organization\./);
  const entitled = `${segments}/${gold}/relationships/organizations`;
  await refused('POST', entitled, { data: [{ guid: 'nobody' }] }, /Unable to entitle organizations \['nobody'\]/);
  const answer = await cloud.json('POST', entitled, { data: [{ guid: organization }] });
  assert.deepEqual(answer.data, [{ guid: organization }]);
  const [listed] = (await cloud.json('GET', `${segments}/${gold}/organizations`)).resources as Json[];
  assert.equal(listed?.name, 'rich');
  assert.deepEqual((await cloud.json('PATCH', ofSpace(), one(gold))).data, { guid: gold });
  assert.deepEqual((await cloud.json('GET', ofSpace())).data, { guid: gold });
  assert.deepEqual((await cloud.json('GET', `${segments}/${gold}/relationships/spaces`)).data, [{ guid: space }]);
  await refused('DELETE', `${entitled}/${organization}`, {}, /while spaces of the organization are in/);
  await refused('DELETE', `${segments}/${gold}`, {}, /Revoke the Organization entitlements/);
  await cloud.json('PATCH', ofSpace(), one(null));
  await cloud.json('PATCH', ofOrganization(), one(gold));
  await refused('DELETE', `${entitled}/${organization}`, {}, /is the organization's default/);
  await cloud.json('PATCH', ofOrganization(), one(SHARED_SEGMENT));
  assert.equal((await cloud.call('DELETE', `${entitled}/${organization}`)).status, 204);
  await cloud.json('POST', entitled, { data: [{ guid: organization }] });
  await cloud.json('PATCH', ofOrganization(), one(null));
});

test('builds, instances and tasks are for its nodes from the next start on: the space’s, else the organization’s', async () => {
  const { plane } = cloud;
  const { app } = await makeApp(cloud, 'web', space);
  const selectors = async (): Promise<unknown[]> => {
    const { items } = await plane.client.list(replicaSets, { labelSelector: `${labels.app}=${app}` });
    return items
      .filter(({ spec }) => (spec?.replicas ?? 0) > 0)
      .map(({ spec }) => {
        const { nodeSelector, tolerations } = spec?.template?.spec ?? {};
        return { nodeSelector, tolerations: tolerations?.map(({ key, value, effect }) => ({ key, value, effect })) };
      });
  };
  const nowhere = { nodeSelector: undefined, tolerations: undefined };
  const inGold = {
    nodeSelector: { [SEGMENT_KEY]: 'gold' },
    tolerations: [{ key: SEGMENT_KEY, value: 'gold', effect: 'NoSchedule' }],
  };
  const runs = (what: string, where: unknown) =>
    cloud.until(what, async () => {
      const found = await selectors();
      return found.length === 1 && JSON.stringify(found[0]) === JSON.stringify(where);
    });
  await cloud.json('POST', `/v3/apps/${app}/actions/start`);
  await runs('it runs on any node', nowhere);
  await cloud.json('PATCH', ofOrganization(), one(gold));
  assert.deepEqual(await selectors(), [nowhere], 'what runs stays where it is');
  await cloud.json('POST', `/v3/apps/${app}/actions/restart`);
  await runs('it runs in the segment', inGold);
  const task = String((await cloud.json('POST', `/v3/apps/${app}/tasks`, { command: 'x' })).guid);
  const pod = await cloud.until('the task has a pod', async () => {
    const { items } = await plane.client.list(pods, {
      labelSelector: `${labels.task}=${task}`,
    });
    return items[0];
  });
  assert.deepEqual(pod.spec?.nodeSelector, inGold.nodeSelector);
  const [first] = (await cloud.json('GET', `/v3/processes/${app}/stats`)).resources as Json[];
  assert.equal(first?.isolation_segment, 'gold');
  const { build } = await makeApp(cloud, 'other', space);
  const { items } = await plane.client.list(builds);
  assert.equal(items.find(({ metadata }) => metadata.name === build)?.spec.segment, 'gold');
  // A space that says the shared one is not where its organization is.
  await cloud.json('PATCH', ofSpace(), one(SHARED_SEGMENT));
  await cloud.json('POST', `/v3/apps/${app}/actions/restart`);
  await runs('it runs on any node again', nowhere);
});
