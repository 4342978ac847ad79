/** A broker that the platform brings is there without anybody's doing, for everybody, and stays one however often the platform starts. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startTestCloud, type TestCloud } from '../cloud-controller/cloud.fixture.ts';
import { catalogOf, PLAN, TestBroker } from './broker.fixture.ts';
import type { BrokerNetwork } from './services.ts';

let cloud: TestCloud;
let broker: TestBroker;

before(async () => {
  [cloud, broker] = await Promise.all([startTestCloud(), new TestBroker().listen()]);
  // An address that its URL does not lead to.
  const own = { name: 'brought', url: 'http://brought.internal', port: Number(new URL(broker.url).port) };
  (cloud.brokers as { own: BrokerNetwork['own'] }).own = [
    { ...own, username: broker.username, password: broker.password },
  ];
});
after(async () => {
  await cloud?.close();
  await broker?.[Symbol.asyncDispose]();
});

interface Listed {
  resources: { name: string; guid: string; visibility_type?: string; description?: string }[];
}

const list = async (path: string) => ((await cloud.json('GET', path)) as unknown as Listed).resources;
const plans = () => list('/v3/service_plans?service_broker_names=brought');

test('it is registered at the start, and its plans are public', async () => {
  await cloud.restart();
  await cloud.until('its plan is there', async () => (await plans()).length === 1);
  const [plan] = await plans();
  assert.deepEqual([plan?.name, plan?.visibility_type], ['small', 'public']);
  assert.deepEqual(
    (await list('/v3/service_brokers')).map(({ name }) => name),
    ['brought'],
  );
});

test('the next start reads its catalog again, and leaves what an administrator has set', async () => {
  const [plan] = await plans();
  await cloud.json('PATCH', `/v3/service_plans/${plan?.guid}/visibility`, { type: 'admin' });
  broker.catalog = catalogOf({}, [{ ...PLAN, description: 'Another one' }]);
  await cloud.restart();
  await cloud.until('the catalog is read', async () => (await plans())[0]?.description === 'Another one');
  assert.deepEqual(
    (await plans()).map(({ guid, visibility_type }) => [guid, visibility_type]),
    [[plan?.guid, 'admin']],
  );
  assert.equal((await list('/v3/service_brokers')).length, 1);
});

test('it had nothing to complain about', () => assert.deepEqual(cloud.problems, []));
