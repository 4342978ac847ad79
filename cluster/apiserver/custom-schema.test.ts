/** What a definition may say of its objects besides what `custom.test.ts` shows: limits, versions that end, fields to select by. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';

const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const THINGS = '/apis/shop.example.com/v1/namespaces/default/things';

const limits: Record<string, [schema: object, good: unknown[], bad: [value: unknown, text: string][]]> = {
  upTo: [{ type: 'integer', maximum: 5 }, [5], [[6, 'spec.upTo in body should be less than or equal to 5']]],
  below: [
    { type: 'number', maximum: 5, exclusiveMaximum: true },
    [4.5],
    [[5, 'spec.below in body should be less than 5']],
  ],
  above: [
    { type: 'integer', minimum: 2, exclusiveMinimum: true },
    [3],
    [[2, 'spec.above in body should be greater than 2']],
  ],
  even: [{ type: 'integer', multipleOf: 2 }, [4], [[5, 'spec.even in body should be a multiple of 2']]],
  word: [
    { type: 'string', minLength: 2, maxLength: 3 },
    ['ab', 'äöü'],
    [
      ['a', 'spec.word in body should be at least 2 chars long'],
      ['abcd', 'spec.word in body should be at most 3 chars long'],
    ],
  ],
  list: [
    { type: 'array', items: { type: 'integer' }, minItems: 1, maxItems: 2 },
    [[1], [1, 1]],
    [
      [[], 'spec.list in body should have at least 1 items'],
      [[1, 2, 3], 'spec.list in body should have at most 2 items'],
    ],
  ],
  set: [
    { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set' },
    [['a', 'b']],
    [[['a', 'a'], 'spec.set[1]: Duplicate value: "a"']],
  ],
  map: [
    { type: 'object', additionalProperties: { type: 'string' }, minProperties: 1, maxProperties: 2 },
    [{ a: 'x' }],
    [
      [{}, 'spec.map in body should have at least 1 properties'],
      [{ a: '', b: '', c: '' }, 'spec.map in body should have at most 2 properties'],
    ],
  ],
  all: [
    { type: 'integer', allOf: [{ minimum: 1 }, { maximum: 3 }] },
    [2],
    [[4, 'spec.all in body should be less than or equal to 3']],
  ],
  one: [
    { type: 'integer', oneOf: [{ maximum: 2 }, { minimum: 2 }] },
    [1],
    [[2, 'spec.one in body must validate one and only one schema (oneOf)']],
  ],
  any: [
    { type: 'integer', anyOf: [{ maximum: 1 }, { minimum: 5 }] },
    [7],
    [[3, 'spec.any in body must validate at least one schema (anyOf)']],
  ],
  never: [
    { type: 'integer', not: { minimum: 5 } },
    [4],
    [[5, 'spec.never in body must not validate the schema (not)']],
  ],
};

const version = (name: string, more: object = {}) => ({
  name,
  served: true,
  storage: name === 'v1',
  schema: {
    openAPIV3Schema: {
      type: 'object',
      properties: {
        spec: {
          type: 'object',
          properties: {
            ...Object.fromEntries(Object.entries(limits).map(([field, [schema]]) => [field, schema])),
            color: { type: 'string' },
            replicas: { type: 'integer' },
            whole: {
              type: 'object',
              'x-kubernetes-map-type': 'atomic',
              properties: { a: { type: 'string' }, b: { type: 'string' } },
            },
          },
        },
        status: { type: 'object', properties: { replicas: { type: 'integer' }, selector: { type: 'string' } } },
      },
    },
  },
  ...more,
});

describe('API server: what a definition says of its objects', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
    const spec = {
      group: 'shop.example.com',
      scope: 'Namespaced',
      names: { plural: 'things', kind: 'Thing', singular: 'thing', listKind: 'ThingSet' },
      versions: [
        version('v1', {
          selectableFields: [{ jsonPath: '.spec.color' }],
          subresources: {
            status: {},
            scale: {
              specReplicasPath: '.spec.replicas',
              statusReplicasPath: '.status.replicas',
              labelSelectorPath: '.status.selector',
            },
          },
          additionalPrinterColumns: [
            { name: 'Color', type: 'string', jsonPath: '.spec.color', description: 'of the thing' },
            { name: 'Replicas', type: 'integer', format: 'int32', jsonPath: '.spec.replicas', priority: 1 },
          ],
        }),
        version('v1beta1', { deprecated: true }),
        version('v1alpha1', { deprecated: true, deprecationWarning: 'v1alpha1 things go next week' }),
      ],
    };
    const body = { apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition', spec };
    const made = await fixture.call('POST', DEFINITIONS, {
      body: { ...body, metadata: { name: 'things.shop.example.com' } },
    });
    assert.equal(made.status, 201, made.text);
  });
  after(() => fixture.close());

  const create = (name: string, spec: object) =>
    fixture.call('POST', THINGS, {
      body: { apiVersion: 'shop.example.com/v1', kind: 'Thing', metadata: { name }, spec },
    });

  test('limits hold, and are named with their field', async () => {
    for (const [field, [, good, bad]] of Object.entries(limits)) {
      for (const value of good) {
        const { status, text } = await fixture.call('POST', `${THINGS}?dryRun=All`, {
          body: {
            apiVersion: 'shop.example.com/v1',
            kind: 'Thing',
            metadata: { name: 'good' },
            spec: { [field]: value },
          },
        });
        assert.equal(status, 201, text);
      }
      for (const [value, text] of bad) {
        const { status, json } = await create('bad', { [field]: value });
        assert.equal(status, 422, `${field} ${JSON.stringify(value)}`);
        assert.ok(json.message.includes(text), `${text}: ${json.message}`);
      }
    }
  });

  test('an atomic object belongs to one manager as a whole', async () => {
    const apply = (manager: string, whole: object) =>
      fixture.call('PATCH', `${THINGS}/atomic?fieldManager=${manager}`, {
        body: { apiVersion: 'shop.example.com/v1', kind: 'Thing', metadata: { name: 'atomic' }, spec: { whole } },
        headers: { 'content-type': 'application/apply-patch+yaml' },
      });
    const first = await apply('one', { a: 'x' });
    assert.equal(first.status, 201, first.text);
    const [entry] = first.json.metadata.managedFields ?? [];
    assert.deepEqual(entry?.fieldsV1, { 'f:spec': { 'f:whole': {} } });
    assert.equal(entry?.fieldsType, 'FieldsV1');
    assert.equal((await apply('two', { b: 'y' })).status, 409);
  });

  test('objects are selected by the fields that the definition names', async () => {
    await create('red', { color: 'red' });
    await create('blue', { color: 'blue' });
    const { json } = await fixture.call('GET', `${THINGS}?fieldSelector=spec.color%3Dred`);
    assert.deepEqual([json.kind, json.items.map(({ metadata }) => metadata.name)], ['ThingSet', ['red']]);
    assert.equal((await fixture.call('GET', `${THINGS}?fieldSelector=spec.replicas%3D1`)).status, 400);
  });

  test('columns have their place, and a scale its selector', async () => {
    const table = await fixture.call('GET', THINGS, {
      headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
    });
    const columns = table.json['columnDefinitions'] as { name: string; priority: number; description: string }[];
    assert.deepEqual(
      columns.map(({ name, priority }) => [name, priority]),
      [
        ['Name', 0],
        ['Color', 0],
        ['Replicas', 1],
      ],
    );
    assert.equal(columns[1]?.description, 'of the thing');
    await fixture.call('PATCH', `${THINGS}/red/status`, {
      body: { status: { replicas: 2, selector: 'app=red' } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    const scale = await fixture.call('GET', `${THINGS}/red/scale`);
    assert.deepEqual(scale.json['status'], { replicas: 2, selector: 'app=red' });
  });

  test('versions that end say so to whoever asks for them', async () => {
    const warningOf = async (name: string) =>
      (await fixture.call('GET', `/apis/shop.example.com/${name}/namespaces/default/things`)).headers['warning'];
    assert.equal(await warningOf('v1'), undefined);
    assert.match(
      String(await warningOf('v1beta1')),
      /shop\.example\.com\/v1beta1 Thing is deprecated; use shop\.example\.com\/v1 Thing/,
    );
    assert.match(String(await warningOf('v1alpha1')), /v1alpha1 things go next week/);
  });

  test('the status says which names were taken, and since when', async () => {
    const { json } = await fixture.call('GET', `${DEFINITIONS}/things.shop.example.com`);
    const { acceptedNames, conditions, storedVersions } = json['status'] as {
      acceptedNames: object;
      conditions: { type: string; lastTransitionTime?: string }[];
      storedVersions: string[];
    };
    assert.deepEqual(acceptedNames, { plural: 'things', kind: 'Thing', singular: 'thing', listKind: 'ThingSet' });
    assert.deepEqual(storedVersions, ['v1']);
    for (const { type, lastTransitionTime } of conditions) assert.ok(lastTransitionTime, type);
  });
});
