/** A plan may be seen later than an instance of it: informers are apart. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Json } from '../cloud-controller/api.ts';
import { startTestCloud, type TestCloud } from '../cloud-controller/cloud.fixture.ts';
import type { Records } from '../cloud-controller/records.ts';
import { TestBroker } from './broker.fixture.ts';
import { startServices } from './start.ts';

let cloud: TestCloud;
let broker: TestBroker;

before(async () => {
  [cloud, broker] = await Promise.all([startTestCloud(), new TestBroker().listen()]);
});
after(async () => {
  await cloud?.close();
  await broker?.[Symbol.asyncDispose]();
});

const list = async (path: string) => (await cloud.json('GET', path)).resources as Json[];

/** These records, but plans are not there until the server was asked for one. */
function withLatePlans(records: Records): Records {
  const { servicePlans } = records;
  let isSeen = false;
  const late: Pick<Records['servicePlans'], 'get' | 'find'> = {
    get: (guid) => (isSeen ? servicePlans.get(guid) : undefined),
    async find(guid) {
      isSeen = true;
      return await servicePlans.find(guid);
    },
  };
  return new Proxy(records, {
    get(target, key: keyof Records) {
      const value: unknown = key === 'servicePlans' ? late : target[key];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

test('an instance whose plan was not seen yet is made, by its own broker and once', async () => {
  const credentials = { username: broker.username, password: broker.password };
  const authentication = { type: 'basic', credentials };
  const registered = await cloud.call('POST', '/v3/service_brokers', { name: 'late', url: broker.url, authentication });
  assert.equal((await cloud.finished(registered)).state, 'COMPLETE');
  const [plan] = await list('/v3/service_plans');
  await cloud.json('PATCH', `/v3/service_plans/${String(plan?.guid)}/visibility`, { type: 'public' });
  const [space] = await list('/v3/spaces');
  const { context } = cloud.api;
  await context.services.close();
  const relationships = { space: { data: { guid: space?.guid } }, service_plan: { data: { guid: plan?.guid } } };
  const body = { type: 'managed', name: 'made-late', relationships };
  assert.equal((await cloud.call('POST', '/v3/service_instances', body)).status, 202);
  const services = startServices({ ...context, records: withLatePlans(context.records) }, cloud.brokers);
  try {
    await cloud.until('the request to end', async () => {
      const [instance = {}] = await list('/v3/service_instances?names=made-late');
      const { state, description } = instance.last_operation as { state: string; description: string };
      assert.notEqual(state, 'failed', description);
      return state === 'succeeded';
    });
  } finally {
    await services.close();
  }
  assert.equal(broker.of('PUT').length, 1);
  assert.deepEqual(cloud.problems, []);
});
