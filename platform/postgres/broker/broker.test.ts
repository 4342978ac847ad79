/** The broker's side of the Open Service Broker API on a real API server with its controllers and a real registry; no node runs what is asked for. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { StatefulSet } from '#cluster/kinds/types/apps.ts';
import { createClient } from '#cluster/client/create.ts';
import { allControllers } from '#cluster/controllers/all.ts';
import {
  namespaces,
  networkPolicies,
  persistentVolumeClaims,
  pods,
  secrets,
  services,
  statefulSets,
} from '#cluster/kinds/resources.ts';
import { type ControlPlane, startControlPlane } from '#testing/control-plane.ts';
import { startTestRegistry, type TestRegistry } from '#testing/staging-registry.ts';
import { when } from '#testing/when.ts';
import { installResources } from '../../resources/definitions.ts';
import { writeImage } from '../../staging/images/single-layer.ts';
import { POSTGRES_ROLE } from '../access.ts';
import { currentRecipe, type Recipe } from '../image/recipe.ts';
import { Osb } from '../osb.fixture.ts';
import { PLANS, SERVICE_ID } from '../plans.ts';
import { NAMESPACE, type Postgres } from '../postgres.ts';
import { databaseName, postgresDatabases } from '../resource.ts';
import { startPostgres } from '../start.ts';

const [SMALL, MEDIUM] = PLANS as [(typeof PLANS)[0], (typeof PLANS)[0]];
const ACCOUNT = { name: `system:serviceaccount:${NAMESPACE}:postgres-broker`, groups: ['system:serviceaccounts'] };

describe('the PostgreSQL broker', { concurrency: 1 }, () => {
  let plane: ControlPlane;
  let registry: TestRegistry;
  let recipe: Recipe;
  let postgres: Postgres;
  let osb: Osb;
  const problems: string[] = [];

  let ahead = 0;
  const open = (): Promise<Postgres> =>
    startPostgres({
      now: () => Date.now() + ahead,
      client: plane.client,
      connect: () => createClient(plane.inProcess(ACCOUNT)),
      registry: registry.options,
      dataDirectory: join(registry.directory, 'postgres'),
      log: (level, message, fields) => level !== 'info' && problems.push(`${message} ${JSON.stringify(fields)}`),
    });

  before(async () => {
    [plane, registry, recipe] = await Promise.all([
      startControlPlane({ clusterRoles: [POSTGRES_ROLE] }),
      startTestRegistry(),
      currentRecipe(),
    ]);
    // No node looks into it.
    await writeImage(registry.client, 'postgres/server', recipe.hash, { architecture: 'amd64', layers: [], run: {} });
    await plane.start(...allControllers());
    await installResources(plane.client);
    postgres = await open();
    osb = new Osb(postgres);
  });
  after(async () => {
    await postgres?.close();
    await plane?.close();
    await registry?.[Symbol.asyncDispose]();
  });

  const secretNames = async () =>
    (await plane.client.list(secrets, { namespace: NAMESPACE })).items.map(({ metadata }) => metadata.name).sort();
  const object = (id: string) => plane.client.get(postgresDatabases, databaseName(id), NAMESPACE);

  test('who is not the platform, or speaks another version, learns nothing', async () => {
    const wrong = await osb.call('GET', 'catalog', undefined, { authorization: 'Basic eDp5' });
    assert.deepEqual([wrong.status, wrong.headers.get('www-authenticate')], [401, 'Basic realm="broker"']);
    assert.equal((await osb.call('GET', 'catalog', undefined, { 'x-broker-api-version': '3.0' })).status, 412);
    const identity = { 'x-broker-api-request-identity': 'c0ffee' };
    const right = await osb.call('GET', 'catalog', undefined, identity);
    assert.deepEqual([right.status, right.headers.get('x-broker-api-request-identity')], [200, 'c0ffee']);
    assert.equal((await osb.call('GET', 'nothing')).status, 404);
  });

  test('the catalogue has plans that can be changed, retrieved and upgraded', async () => {
    const { services: all } = (await osb.call('GET', 'catalog')).body as unknown as {
      services: { id: string; name: string; plans: { name: string; maintenance_info: { version: string } }[] }[];
    };
    assert.deepEqual(
      all.map(({ id, name, plans }) => [id, name, plans.map((plan) => plan.name)]),
      [[SERVICE_ID, 'postgres', ['small', 'medium', 'large']]],
    );
    assert.equal(all[0]?.plans[0]?.maintenance_info.version, recipe.version);
    // Semantic Versioning 2.0.0, as the specification wants it.
    assert.match(recipe.version, /^\d+\.\d+\.\d+\+[0-9a-f]+$/);
  });

  test('without a database nothing of it is in the cluster', async () => {
    assert.deepEqual(await secretNames(), ['broker-login']);
    const space = await plane.client.get(namespaces, NAMESPACE);
    assert.equal(space.metadata.labels?.['pod-security.kubernetes.io/enforce'], 'restricted');
  });

  test('what is wrong is refused by name, and makes nothing', async () => {
    const refusals: [Promise<{ status: number; body: { description?: string; error?: string } }>, number, RegExp][] = [
      [osb.provision('bad', SMALL, { service_id: 'other' }), 400, /no service "other"/],
      [osb.provision('bad', SMALL, { plan_id: 'huge' }), 400, /no plan "huge"/],
      [osb.provision('bad', SMALL, { plan_id: undefined }), 400, /plan_id is missing/],
      [osb.provision('bad', SMALL, { parameters: { size: 1 } }), 400, /Unknown parameter "size"; known are: tls/],
      [osb.provision('bad', SMALL, { parameters: { backup: true } }), 400, /Unknown parameter "backup"/],
      [osb.provision('bad', SMALL, { parameters: { backups_kept: 0 } }), 400, /from 1 to 100/],
      [osb.provision('bad', SMALL, { parameters: [] }), 400, /parameters must be an object/],
      [osb.provision('bad', SMALL, { context: 'x' }), 400, /context must be an object/],
      [osb.provision('bad', SMALL, { context: { space_guid: 'a b' } }), 400, /space_guid must be a guid/],
      [osb.provision('bad', SMALL, { maintenance_info: { version: '1.0.0' } }), 422, /not the catalogue's/],
      [osb.provision('b%2Fd', SMALL), 400, /letters, digits/],
      [osb.update('bad', { plan_id: MEDIUM.id }), 404, /no such database/],
      [osb.bind('bad', 'one', SMALL, 'app-1'), 404, /no such database/],
      [osb.call('GET', 'service_instances/bad'), 404, /no such database/],
    ];
    for (const [answer, status, words] of refusals) {
      const { status: got, body } = await answer;
      assert.equal(got, status, JSON.stringify(body));
      assert.match(body.description ?? '', words);
    }
    const inTime = await osb.call('PUT', 'service_instances/bad', { service_id: SERVICE_ID, plan_id: SMALL.id });
    assert.deepEqual([inTime.status, inTime.body.error], [422, 'AsyncRequired']);
    assert.equal((await osb.deprovision('bad', SMALL)).status, 410);
    assert.equal((await osb.call('GET', 'service_instances/bad/last_operation')).status, 410);
    assert.deepEqual((await plane.client.list(postgresDatabases)).items, []);
  });

  test('a database is asked for, once however often, and says what it waits for', async () => {
    const made = await osb.provision('one', SMALL);
    assert.equal(made.status, 202);
    const same = await osb.provision('one', SMALL);
    assert.deepEqual([same.status, same.body.operation], [202, made.body.operation]);
    assert.equal((await osb.provision('one', MEDIUM)).status, 409);
    assert.equal((await osb.provision('one', SMALL, { parameters: { tls: 'optional' } })).status, 409);
    await when(plane.client, statefulSets, (all) => all.some(({ metadata }) => metadata.name === databaseName('one')));
    await when(plane.client, postgresDatabases, ([one]) =>
      /^waiting|no node/.test(one?.status?.operation?.description ?? ''),
    );
    const asked = await osb.call('GET', `service_instances/one/last_operation?operation=${made.body.operation}`);
    assert.deepEqual([asked.status, asked.body.state], [200, 'in progress']);
    assert.equal((await osb.call('GET', 'service_instances/one')).status, 404);
    const other = await osb.update('one', { parameters: { backup: true } });
    assert.deepEqual([other.status, other.body.error], [422, 'ConcurrencyError']);
  });

  test('its pod is restricted, on a volume of its plan, behind a policy that lets nobody in', async () => {
    const name = databaseName('one');
    const claim = await plane.client.get(persistentVolumeClaims, name, NAMESPACE);
    assert.deepEqual(
      [claim.spec?.accessModes, claim.spec?.resources?.requests?.['storage']],
      [['ReadWriteOncePod'], '1Gi'],
    );
    const policy = await plane.client.get(networkPolicies, name, NAMESPACE);
    assert.deepEqual([policy.spec?.policyTypes, policy.spec?.ingress ?? []], [['Ingress', 'Egress'], []]);
    const set = await plane.client.get(statefulSets, name, NAMESPACE);
    const [container] = set.spec?.template.spec?.containers ?? [];
    assert.equal(container?.resources?.limits?.['memory'], '256Mi');
    assert.ok(container?.args?.includes('max_connections=28'), String(container?.args));
    // Admission has let it pass: the namespace is restricted.
    assert.equal(set.spec?.template.spec?.automountServiceAccountToken, false);
  });

  test('a binding waits for the server, and opens the way for its app alone', async () => {
    const bound = await osb.bind('one', 'first', SMALL, 'app-1');
    assert.equal(bound.status, 202, JSON.stringify(bound.body));
    const path = 'service_instances/one/service_bindings/first';
    assert.equal((await osb.call('GET', `${path}/last_operation`)).body.state, 'in progress');
    assert.equal((await osb.call('GET', path)).status, 404);
    assert.equal((await osb.bind('one', 'first', SMALL, 'app-2')).status, 409);
    const [policy] = await when(plane.client, networkPolicies, ([one]) => (one?.spec?.ingress?.length ?? 0) > 0);
    assert.deepEqual(policy?.spec?.ingress, [
      {
        from: [
          {
            namespaceSelector: { matchLabels: { 'platform.sampan.dev/space': 'space-1' } },
            podSelector: { matchLabels: { 'platform.sampan.dev/app': 'app-1' } },
          },
        ],
        ports: [{ protocol: 'TCP', port: 5432 }],
      },
    ]);
  });

  test('killed and started again, it goes on with what was asked for', async () => {
    await postgres.close();
    const name = databaseName('one');
    await plane.client.delete(services, name, { namespace: NAMESPACE });
    await plane.client.delete(networkPolicies, name, { namespace: NAMESPACE });
    postgres = await open();
    osb = new Osb(postgres);
    await when(plane.client, services, (all) => all.some(({ metadata }) => metadata.name === name));
    await when(plane.client, networkPolicies, (all) => all.some(({ metadata }) => metadata.name === name));
    assert.equal((await osb.provision('one', SMALL)).status, 202);
  });

  test('an upgrade that comes to nothing goes back, and says so', async () => {
    await postgres.close();
    const old = `${recipe.major}.0.0+000000000000`;
    const image = 'registry.example.com/postgres/server@sha256:old';
    // As an older release of the platform has left it.
    const { spec, metadata } = await object('one');
    const operation = { id: spec.operation.id, state: 'succeeded', description: 'it was made' };
    const merge = (body: object, more: object = {}) =>
      plane.client.patch(postgresDatabases, metadata.name, { type: 'merge', body }, { namespace: NAMESPACE, ...more });
    await merge({ spec: { version: old } });
    await merge({ status: { version: old, image, operation } }, { subresource: 'status' });
    postgres = await open();
    osb = new Osb(postgres);
    const imageOf = (all: Stored<StatefulSet>[]) => all[0]?.spec?.template.spec?.containers[0]?.image;
    await when(plane.client, statefulSets, (all) => imageOf(all) === image);
    const upgrade = await osb.update('one', { maintenance_info: { version: recipe.version } });
    assert.equal(upgrade.status, 202, JSON.stringify(upgrade.body));
    await when(plane.client, pods, ([pod]) => pod !== undefined && pod.spec?.containers[0]?.image !== image);
    ahead = 16 * 60_000;
    const body = { metadata: { annotations: { look: 'again' } } };
    await plane.client.patch(pods, `${metadata.name}-0`, { type: 'merge', body }, { namespace: NAMESPACE });
    const { state, description } = await osb.ended('one', upgrade);
    assert.deepEqual([state, description.startsWith('It took too long')], ['failed', true], description);
    await when(plane.client, statefulSets, (all) => imageOf(all) === image);
    const shown = await osb.call('GET', 'service_instances/one');
    assert.deepEqual(shown.body['maintenance_info'], { version: old });
    await when(plane.client, postgresDatabases, ([one]) => one?.status?.previous === undefined);
    ahead = 0;
    assert.match(problems.splice(0).join(), /An operation on a PostgreSQL database failed/);
  });

  test('its account reaches its own namespace, and nothing else', async () => {
    const client = createClient(plane.inProcess(ACCOUNT));
    const refused = { name: 'ApiError', code: 403 };
    await assert.rejects(client.list(secrets, { namespace: 'kube-system' }), refused);
    await assert.rejects(client.list(secrets), refused);
    await assert.rejects(client.create(namespaces, { metadata: { name: 'more' } }), refused);
    assert.ok((await client.list(secrets, { namespace: NAMESPACE })).items.length > 0);
  });

  test('what is deleted is not gone before anybody has seen that it goes; who was there before it is', async () => {
    const { uid } = (await object('one')).metadata;
    const deletion = (of: string) => osb.call('GET', `service_instances/one/last_operation?operation=delete-${of}`);
    const { status, body } = await deletion(uid);
    assert.deepEqual([status, body.state], [200, 'in progress']);
    assert.equal((await deletion('00000000-0000-4000-8000-000000000000')).status, 410);
  });

  test('deleted, nothing of it is left: no object, no binding, no backup', async () => {
    const name = databaseName('one');
    await writeImage(registry.client, `postgres/${name}`, 'a-backup', { architecture: 'amd64', layers: [], run: {} });
    const gone = await osb.ended('one', await osb.deprovision('one', SMALL));
    assert.equal(gone.state, 'gone');
    assert.equal((await osb.deprovision('one', SMALL)).status, 410);
    assert.equal((await osb.unbind('one', 'first', SMALL)).status, 410);
    await assert.rejects(object('one'), (error) => error instanceof ApiError && error.code === 404);
    for (const resource of [statefulSets, services, persistentVolumeClaims, networkPolicies]) {
      await when(plane.client, resource as typeof services, (all) =>
        all.every(({ metadata }) => metadata.namespace !== NAMESPACE),
      );
    }
    assert.deepEqual(await secretNames(), ['broker-login', 'postgres-authority']);
    assert.deepEqual(await registry.client.tags(`postgres/${name}`), []);
  });

  test('it had nothing to complain about', () => assert.deepEqual(problems, []));
});
