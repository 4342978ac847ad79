import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture, take } from '#testing/apiserver-fixture.ts';
import { until } from '#testing/until.ts';

const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const ROUTES = '/apis/example.com/v1/namespaces/default/routes';
const MERGE = { 'content-type': 'application/merge-patch+json' };

const schema = {
  type: 'object',
  required: ['spec'],
  properties: {
    spec: {
      type: 'object',
      required: ['host'],
      properties: {
        host: { type: 'string', pattern: '^[a-z.]+$' },
        port: { type: 'integer', minimum: 1, maximum: 65535, default: 80 },
        replicas: { type: 'integer' },
        mode: { type: 'string', enum: ['http', 'tcp'] },
        free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
        targets: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          items: {
            type: 'object',
            required: ['name'],
            properties: { name: { type: 'string' }, weight: { type: 'integer' } },
          },
        },
      },
    },
    status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
  },
};

const definition = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'routes.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural: 'routes', kind: 'Route', shortNames: ['rt'], categories: ['all'] },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: { openAPIV3Schema: schema },
        subresources: {
          status: {},
          scale: { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.replicas' },
        },
        additionalPrinterColumns: [
          { name: 'Host', type: 'string', jsonPath: '.spec.host' },
          { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
          { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
        ],
      },
      {
        name: 'v1beta1',
        served: true,
        storage: false,
        schema: { openAPIV3Schema: schema },
        subresources: { status: {} },
      },
    ],
  },
};

describe('API server: custom resources', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture.close());

  const route = (name: string, spec: object) => ({
    apiVersion: 'example.com/v1',
    kind: 'Route',
    metadata: { name },
    spec,
  });

  test('a definition is served the moment it is created', async () => {
    assert.equal((await fixture.call('GET', ROUTES)).status, 404);
    const created = await fixture.call('POST', DEFINITIONS, { body: definition });
    assert.equal(created.status, 201);
    const { conditions, storedVersions } = created.json['status'] as {
      conditions: { type: string; status: string }[];
      storedVersions: string[];
    };
    assert.ok(conditions.some(({ type, status }) => type === 'Established' && status === 'True'));
    assert.deepEqual(storedVersions, ['v1']);
    assert.equal((await fixture.call('GET', ROUTES)).json.kind, 'RouteList');
    const group = await fixture.call('GET', '/apis/example.com');
    assert.deepEqual((group.json['preferredVersion'] as { version: string }).version, 'v1');
    const resources = await fixture.call('GET', '/apis/example.com/v1');
    assert.deepEqual(
      (resources.json['resources'] as { name: string }[]).map(({ name }) => name),
      ['routes', 'routes/scale', 'routes/status'],
    );
  });

  test('a definition takes no name of a built-in kind, also where that is kept under another', async () => {
    const groups = { 'events.k8s.io': 'events', batch: 'jobs' };
    for (const [group, plural] of Object.entries(groups)) {
      const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
      await fixture.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
        body: {
          metadata: { name: `${plural}.${group}`, annotations: { 'api-approved.kubernetes.io': 'test' } },
          spec: {
            group,
            scope: 'Namespaced',
            names: { plural, kind: 'Taken' },
            versions: [{ name: 'v1', served: true, storage: true, schema }],
          },
        },
      });
      const { json } = await fixture.call('GET', `/apis/${group}/v1/namespaces/default/${plural}`);
      assert.equal(json.kind, plural === 'jobs' ? 'JobList' : 'EventList');
    }
  });

  test('a definition that cannot be is refused', async () => {
    const wrong = await fixture.call('POST', DEFINITIONS, { body: { ...definition, metadata: { name: 'wrong' } } });
    assert.equal(wrong.status, 422);
    assert.match(wrong.json.message, /must be spec.names.plural\+"."\+spec.group/);
  });

  test('objects are defaulted, pruned and validated', async () => {
    const created = await fixture.call('POST', ROUTES, {
      body: { ...route('a', { host: 'a.b', unknown: 1, free: { any: { thing: [1] } } }), status: { ready: true } },
    });
    assert.equal(created.status, 201);
    assert.deepEqual(created.json['spec'], { host: 'a.b', free: { any: { thing: [1] } }, port: 80 });
    assert.equal(created.json['status'], undefined);
    assert.match(String(created.headers['warning']), /unknown field \\"spec.unknown\\"/);
    const invalid = await fixture.call('POST', ROUTES, {
      body: route('b', {
        host: 'A B',
        port: 70000,
        mode: 'udp',
        replicas: 'x',
        targets: [{ name: 'x' }, { name: 'x' }, {}],
      }),
    });
    assert.equal(invalid.status, 422);
    const causes = (invalid.json['details'] as { causes: { field: string; reason: string }[] }).causes;
    assert.deepEqual(causes.map(({ field, reason }) => `${field} ${reason}`).sort(), [
      'spec.host FieldValueInvalid',
      'spec.mode FieldValueNotSupported',
      'spec.port FieldValueInvalid',
      'spec.replicas FieldValueTypeInvalid',
      'spec.targets[1] FieldValueDuplicate',
      'spec.targets[2].name FieldValueRequired',
    ]);
    const missing = await fixture.call('POST', ROUTES, { body: { ...route('c', {}), spec: undefined } });
    assert.match(missing.json.message, /^Route.example.com "c" is invalid: spec: Required value$/);
    const strict = await fixture.call('POST', `${ROUTES}?fieldValidation=Strict`, {
      body: route('d', { host: 'a', x: 1 }),
    });
    assert.equal(strict.json.message, 'strict decoding error: unknown field "spec.x"');
  });

  test('status, scale, columns and versions', async () => {
    const status = await fixture.call('PATCH', `${ROUTES}/a/status`, {
      body: { spec: { host: 'changed' }, status: { replicas: 2, conditions: [{ type: 'Ready', status: 'True' }] } },
      headers: MERGE,
    });
    assert.equal((status.json['spec'] as { host: string }).host, 'a.b');
    assert.equal(status.json.metadata.generation, 1);
    const scaled = await fixture.call('PATCH', `${ROUTES}/a/scale`, {
      body: { spec: { replicas: 4 } },
      headers: MERGE,
    });
    assert.deepEqual([scaled.json['spec'], scaled.json['status']], [{ replicas: 4 }, { replicas: 2 }]);
    const table = await fixture.call('GET', ROUTES, {
      headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
    });
    const { rows } = table.json as unknown as { rows: { cells: string[] }[] };
    assert.deepEqual(rows[0]?.cells.slice(0, 3), ['a', 'a.b', 'True']);
    const beta = '/apis/example.com/v1beta1/namespaces/default/routes';
    const other = await fixture.call('GET', `${beta}/a`);
    assert.equal(other.json.apiVersion, 'example.com/v1beta1');
    assert.deepEqual(other.json['spec'], { host: 'a.b', free: { any: { thing: [1] } }, port: 80, replicas: 4 });
    const changed = await fixture.call('PATCH', `${beta}/a`, { body: { spec: { mode: 'tcp' } }, headers: MERGE });
    assert.equal(changed.json.apiVersion, 'example.com/v1beta1');
    assert.equal((await fixture.call('GET', `${ROUTES}/a`)).json.apiVersion, 'example.com/v1');
    const strategic = await fixture.call('PATCH', `${ROUTES}/a`, {
      body: {},
      headers: { 'content-type': 'application/strategic-merge-patch+json' },
    });
    assert.equal(strategic.status, 415);
  });

  test('server-side apply knows the lists by their keys', async () => {
    const apply = (manager: string, spec: object, force = false) =>
      fixture.call('PATCH', `${ROUTES}/applied?fieldManager=${manager}&force=${force}`, {
        body: route('applied', spec),
        headers: { 'content-type': 'application/apply-patch+yaml' },
      });
    const first = await apply('one', { host: 'a.b', targets: [{ name: 'x', weight: 1 }] });
    assert.equal(first.status, 201);
    const second = await apply('two', { targets: [{ name: 'y', weight: 2 }] });
    assert.deepEqual((second.json['spec'] as { targets: unknown }).targets, [
      { name: 'y', weight: 2 },
      { name: 'x', weight: 1 },
    ]);
    const conflicting = await apply('two', { targets: [{ name: 'x', weight: 9 }] });
    assert.equal(conflicting.status, 409);
    assert.equal(
      conflicting.json.message,
      'Apply failed with 1 conflict: conflict with "one" using example.com/v1: .spec.targets[name="x"].weight',
    );
    const forced = await apply('two', { targets: [{ name: 'x', weight: 9 }] }, true);
    assert.deepEqual(
      (forced.json['spec'] as { targets: unknown }).targets,
      [{ name: 'x', weight: 9 }],
      'y was no longer applied by anybody',
    );
    const gone = await apply('one', { host: 'a.b' });
    assert.deepEqual(
      (gone.json['spec'] as { targets: unknown }).targets,
      [{ name: 'x', weight: 9 }],
      'two has it still',
    );
  });

  test('objects are read as the schema is now, and written only when somebody writes them', async () => {
    const properties = { a: { type: 'string' }, b: { type: 'string' }, c: { type: 'string' } };
    const version = { name: 'v1', served: true, storage: true };
    const made = await fixture.call('POST', DEFINITIONS, {
      body: {
        metadata: { name: 'shapes.example.com' },
        spec: {
          group: 'example.com',
          scope: 'Cluster',
          names: { plural: 'shapes', kind: 'Shape' },
          versions: [{ ...version, schema: { openAPIV3Schema: { type: 'object', properties } } }],
        },
      },
    });
    assert.equal(made.status, 201, made.text);
    const shapes = '/apis/example.com/v1/shapes';
    const create = (name: string) =>
      fixture.call('POST', shapes, {
        body: { apiVersion: 'example.com/v1', kind: 'Shape', metadata: { name }, c: 'given' },
      });
    const define = async (changed: object) => {
      const body = [{ op: 'replace', path: '/spec/versions/0/schema/openAPIV3Schema/properties', value: changed }];
      const headers = { 'content-type': 'application/json-patch+json' };
      const { status, text } = await fixture.call('PATCH', `${DEFINITIONS}/shapes.example.com`, { body, headers });
      assert.equal(status, 200, text);
    };
    const fieldsOf = async (name: string) => {
      const { a, b, c } = (await fixture.call('GET', `${shapes}/${name}`)).json;
      return [a, b, c];
    };
    const { resourceVersion } = (await create('old')).json.metadata;
    assert.deepEqual(await fieldsOf('old'), [undefined, undefined, 'given']);
    await define({ ...properties, a: { type: 'string', default: 'A' } });
    assert.deepEqual(await fieldsOf('old'), ['A', undefined, 'given']);
    await create('new');
    await define({ a: properties.a, b: { type: 'string', default: 'B' } });
    assert.deepEqual(await fieldsOf('old'), [undefined, 'B', undefined]);
    assert.deepEqual(await fieldsOf('new'), ['A', 'B', undefined], 'its default was written');
    await fixture.restart();
    assert.deepEqual(await fieldsOf('old'), [undefined, 'B', undefined]);
    await define({ ...properties, b: { type: 'string', default: 'B' } });
    assert.deepEqual(await fieldsOf('old'), [undefined, 'B', 'given']);
    assert.equal((await fixture.call('GET', `${shapes}/old`)).json.metadata.resourceVersion, resourceVersion);
    const label = await fixture.call('PATCH', `${shapes}/old`, {
      body: { metadata: { labels: { a: 'b' } } },
      headers: MERGE,
    });
    assert.deepEqual([label.json['b'], label.json['c']], ['B', 'given']);
    await fixture.call('DELETE', `${DEFINITIONS}/shapes.example.com`);
    await until(async () => (await fixture.call('GET', shapes)).status === 404, 30);
  });

  test('a deleted definition takes its objects with it', async () => {
    const { json } = await fixture.call('GET', ROUTES);
    const events = await fixture.watch(`${ROUTES}?watch=1&resourceVersion=${json.metadata.resourceVersion}`);
    const definitions = await fixture.watch(`${DEFINITIONS}?watch=1&fieldSelector=metadata.name%3Droutes.example.com`);
    await take(definitions, 1);
    await fixture.call('DELETE', `${DEFINITIONS}/routes.example.com`);
    assert.deepEqual(
      (await take(events, json.items.length)).map(({ type }) => type),
      json.items.map(() => 'DELETED'),
    );
    const seen: string[] = [];
    while (seen.at(-1) !== 'DELETED') seen.push(...(await take(definitions, 1)).map(({ type }) => type));
    assert.equal((await fixture.call('GET', ROUTES)).status, 404);
    assert.equal((await fixture.call('GET', '/apis/example.com')).status, 404);
    await definitions.return(undefined);
    await events.return(undefined);
  });
});
