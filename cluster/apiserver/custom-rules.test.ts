import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture, take } from '#testing/apiserver-fixture.ts';
import { until } from '#testing/until.ts';

const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const WIDGETS = '/apis/example.com/v1/namespaces/default/widgets';
const MERGE = { 'content-type': 'application/merge-patch+json' };

const spec = {
  type: 'object',
  'x-kubernetes-validations': [
    { rule: 'self.min <= self.max', messageExpression: '"min " + string(self.min) + " is above max"' },
    { rule: 'self.max >= oldSelf.max', message: 'max may only grow', reason: 'FieldValueForbidden', fieldPath: '.max' },
    { rule: '!oldSelf.hasValue() || oldSelf.value().min == self.min', optionalOldSelf: true, message: 'min stays' },
  ],
  properties: {
    min: { type: 'integer', format: 'int32', default: 0 },
    max: { type: 'integer', default: 10 },
    size: { type: 'string', 'x-kubernetes-validations': [{ rule: 'quantity(self).isLessThan(quantity("1Gi"))' }] },
    port: { 'x-kubernetes-int-or-string': true },
    at: { type: 'string', format: 'date' },
    address: { type: 'string', format: 'ipv4' },
    maybe: { type: 'string', nullable: true },
    labels: { type: 'object', maxProperties: 1, additionalProperties: { type: 'string' } },
    tags: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
    nested: { type: 'object', default: {}, properties: { level: { type: 'string', default: 'low' } } },
    pattern: { type: 'string', pattern: '^(a+)+$' },
    template: { type: 'object', 'x-kubernetes-embedded-resource': true, 'x-kubernetes-preserve-unknown-fields': true },
    steps: {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
      items: {
        type: 'object',
        required: ['name'],
        'x-kubernetes-validations': [{ rule: 'self.weight >= oldSelf.weight', message: 'weights only grow' }],
        properties: { name: { type: 'string' }, weight: { type: 'integer', default: 1 } },
      },
    },
  },
};

const definition = (plural: string, kind: string, schema: object, names: object = {}) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${plural}.example.com` },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural, kind, ...names },
    versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema } }],
  },
});

describe('API server: rules of custom resources', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
    const schema = { type: 'object', properties: { spec } };
    const made = await fixture.call('POST', DEFINITIONS, { body: definition('widgets', 'Widget', schema) });
    assert.equal(made.status, 201, made.text);
  });
  after(() => fixture.close());

  const create = (name: string, wanted: object) =>
    fixture.call('POST', WIDGETS, {
      body: { apiVersion: 'example.com/v1', kind: 'Widget', metadata: { name }, spec: wanted },
    });

  test('rules of CEL: of a value, of a change, of the items of a map', async () => {
    const created = await create('a', { max: 5, size: '1Mi', steps: [{ name: 'x', weight: 3 }] });
    assert.equal(created.status, 201, created.text);
    assert.deepEqual((created.json['spec'] as { nested: object }).nested, { level: 'low' });
    const wrong = await create('b', { min: 20, max: 5, size: '2Gi' });
    assert.equal(
      wrong.json.message,
      'Widget.example.com "b" is invalid: [spec: Invalid value: "object": min 20 is above max, spec.size: Invalid value: "string": failed rule: quantity(self).isLessThan(quantity("1Gi"))]',
    );
    const failed = await create('b', { size: 'many' });
    assert.match(failed.json.message, /spec\.size: Invalid value: "string": .* evaluating rule: failed rule: quantity/);
    const patched = await fixture.call('PATCH', `${WIDGETS}/a`, {
      headers: MERGE,
      body: {
        spec: {
          min: 1,
          max: 4,
          steps: [
            { name: 'x', weight: 2 },
            { name: 'y', weight: 0 },
          ],
        },
      },
    });
    assert.equal(
      patched.json.message,
      'Widget.example.com "a" is invalid: [spec.max: Forbidden: max may only grow, spec: Invalid value: "object": min stays, spec.steps[0]: Invalid value: "object": weights only grow]',
    );
    const grown = await fixture.call('PATCH', `${WIDGETS}/a`, { headers: MERGE, body: { spec: { max: 6 } } });
    assert.equal(grown.status, 200, grown.text);
  });

  test('formats, sets, nullable and embedded objects', async () => {
    const wrong = await create('c', {
      min: 2 ** 31,
      port: true,
      at: '2024-13-01',
      address: '10.0.0.256',
      labels: { a: '1', b: '2' },
      tags: ['x', 'x'],
      template: { kind: 'Pod' },
      pattern: `${'a'.repeat(100)}!`,
    });
    const { causes } = wrong.json['details'] as { causes: { field: string; message: string }[] };
    assert.deepEqual(
      causes.map(({ field, message }) => `${field}: ${message}`),
      [
        'spec.min: Invalid value: 2147483648: spec.min in body must be of type int32: "number"',
        'spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"',
        'spec.at: Invalid value: "2024-13-01": spec.at in body must be of type date: "2024-13-01"',
        'spec.address: Invalid value: "10.0.0.256": spec.address in body must be of type ipv4: "10.0.0.256"',
        'spec.labels: Invalid value: 2: spec.labels in body should have at most 1 properties',
        'spec.tags[1]: Duplicate value: "x"',
        'spec.template.apiVersion: Required value: must not be empty',
        `spec.pattern: Invalid value: "${'a'.repeat(100)}!": spec.pattern in body should match '^(a+)+$'`,
      ],
    );
    const right = await create('d', {
      maybe: null,
      port: 'http',
      at: '2024-12-01',
      template: { apiVersion: 'v1', kind: 'Pod', any: 1 },
    });
    assert.equal(right.status, 201, right.text);
    assert.equal((right.json['spec'] as { maybe: unknown }).maybe, null);
  });

  test('a schema that is not structural, and a rule that does not compile, are refused with their place', async () => {
    const schema = {
      type: 'object',
      properties: {
        untyped: { description: 'x' },
        list: { type: 'array', 'x-kubernetes-list-type': 'map', items: { type: 'object' } },
        ref: { type: 'object', $ref: '#/definitions/x' },
        port: { type: 'integer', default: 'x' },
        either: { type: 'string', anyOf: [{ type: 'string' }] },
        rule: { type: 'string', 'x-kubernetes-validations': [{ rule: 'other > 1' }, { rule: '1 + 1' }] },
      },
    };
    const { json } = await fixture.call('POST', DEFINITIONS, { body: definition('bad', 'Bad', schema) });
    const at = 'spec.versions[0].schema.openAPIV3Schema.properties';
    const { causes } = json['details'] as { causes: { field: string; message: string }[] };
    assert.deepEqual(
      causes.map(({ field, message }) => `${field.replace(at, '')}: ${message.split(': ').at(-1)}`),
      [
        '[untyped].type: must not be empty for specified object fields',
        '[list].x-kubernetes-list-map-keys: must not be empty if x-kubernetes-list-type is map',
        '[ref].$ref: $ref is not supported',
        `[port].default: "string"`,
        '[either].anyOf[0].type: must be empty to be structural',
        '[rule].x-kubernetes-validations[0].rule: other',
        '[rule].x-kubernetes-validations[1].rule: must evaluate to bool',
      ],
    );
  });

  test('names that another definition has are not taken until they are free', async () => {
    const events = await fixture.watch(`${DEFINITIONS}?watch=1&fieldSelector=metadata.name%3Dgadgets.example.com`);
    const open = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
    await fixture.call('POST', DEFINITIONS, { body: definition('gadgets', 'Widget', open) });
    const conditionsOf = async () => {
      const [event] = await take(events, 1);
      assert.ok(event);
      const { conditions } = event.object['status'] as {
        conditions: { type: string; status: string; message: string }[];
      };
      return conditions.map(({ type, status }) => `${type}=${status}`).join();
    };
    while ((await conditionsOf()) !== 'NamesAccepted=False,Established=False');
    assert.equal((await fixture.call('GET', '/apis/example.com/v1/gadgets')).status, 404);
    await fixture.call('DELETE', `${DEFINITIONS}/widgets.example.com`);
    while ((await conditionsOf()) !== 'NamesAccepted=True,Established=True');
    assert.equal((await fixture.call('GET', '/apis/example.com/v1/gadgets')).status, 200);
    await events.return(undefined);
  });

  test('what did not change is not judged again by a stricter schema', async () => {
    const DIALS = '/apis/example.com/v1/namespaces/default/dials';
    const schemaOf = (level: object, item: object, rules: object[]) => ({
      type: 'object',
      properties: {
        spec: {
          type: 'object',
          properties: {
            level: { type: 'string', ...level },
            note: { type: 'string' },
            marks: {
              type: 'array',
              'x-kubernetes-list-type': 'map',
              'x-kubernetes-list-map-keys': ['name'],
              items: {
                type: 'object',
                required: ['name'],
                properties: { name: { type: 'string' }, at: { type: 'integer', ...item } },
              },
            },
            plain: { type: 'array', items: { type: 'integer', ...item } },
            ruled: { type: 'string', 'x-kubernetes-validations': rules },
          },
        },
      },
    });
    const made = await fixture.call('POST', DEFINITIONS, { body: definition('dials', 'Dial', schemaOf({}, {}, [])) });
    assert.equal(made.status, 201, made.text);
    const dial = {
      level: 'high',
      note: 'a',
      marks: [
        { name: 'x', at: 50 },
        { name: 'y', at: 5 },
      ],
      plain: [50],
      ruled: 'short',
    };
    const body = { apiVersion: 'example.com/v1', kind: 'Dial', metadata: { name: 'd' }, spec: dial };
    await until(async () => (await fixture.call('GET', DIALS)).status === 200);
    assert.equal((await fixture.call('POST', DIALS, { body })).status, 201);
    const strict = schemaOf({ enum: ['low'] }, { maximum: 10 }, [
      { rule: 'self.size() > 10', message: 'too short' },
      { rule: 'self != oldSelf || self == "short"', message: 'odd' },
    ]);
    const versions = [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: strict } }];
    const changed = await fixture.call('PATCH', `${DEFINITIONS}/dials.example.com`, {
      headers: MERGE,
      body: { spec: { versions } },
    });
    assert.equal(changed.status, 200, changed.text);
    await until(
      async () =>
        (await fixture.call('POST', `${DIALS}?dryRun=All`, { body: { ...body, metadata: { name: 'e' } } })).status ===
        422,
    );
    const patch = (spec: object) => fixture.call('PATCH', `${DIALS}/d`, { headers: MERGE, body: { spec } });
    assert.equal((await patch({ note: 'b' })).status, 200);
    // One item of a map is told from the others; a list that is none is one thing.
    assert.equal(
      (
        await patch({
          marks: [
            { name: 'x', at: 50 },
            { name: 'y', at: 6 },
          ],
        })
      ).status,
      200,
    );
    const refused = async (spec: object, ...fields: string[]): Promise<void> => {
      const { status, json } = await patch(spec);
      assert.equal(status, 422, JSON.stringify(json));
      const { causes } = json['details'] as { causes: { field: string }[] };
      assert.deepEqual(
        causes.map(({ field }) => field),
        fields,
      );
    };
    await refused({ level: 'highest' }, 'spec.level');
    await refused(
      {
        marks: [
          { name: 'x', at: 51 },
          { name: 'y', at: 6 },
        ],
      },
      'spec.marks[0].at',
    );
    await refused({ plain: [50, 1] }, 'spec.plain[0]');
    await refused({ ruled: 'shorter' }, 'spec.ruled');
    assert.equal((await patch({ level: 'low', marks: [{ name: 'x', at: 1 }], plain: [2], ruled: null })).status, 200);
    await refused({ level: 'high' }, 'spec.level');
  });

  test('rules that cannot be right, or cannot be afforded, are refused with their definition', async () => {
    const list = (items: object, more: object = {}) => ({ type: 'array', items, ...more });
    const refusal = async (rule: string, properties: object): Promise<string> => {
      const inner = { type: 'object', 'x-kubernetes-validations': [{ rule }], properties };
      const schema = { type: 'object', properties: { spec: inner } };
      const { status, json } = await fixture.call('POST', `${DEFINITIONS}?dryRun=All`, {
        body: definition('ruleds', 'Ruled', schema),
      });
      return status === 201 ? '' : json.message;
    };
    const text = { type: 'string' };
    const item = { type: 'object', properties: { name: text, 'a-b': text, namespace: text } };
    const fields = {
      name: { ...text, maxLength: 63 },
      items: list(item),
      map: { type: 'object', additionalProperties: item },
    };
    for (const rule of [
      'self.nam == ""',
      'self.items.all(i, i.nme != "")',
      'has(self.x)',
      'self.map["k"].nme == ""',
      'self.map.k.nme == ""',
    ])
      assert.match(
        await refusal(rule, fields),
        /compilation failed: ERROR: <input>:1:\d+: undefined field '(nam|nme|x)'/,
        rule,
      );
    for (const rule of [
      'self.items.all(i, i.a__dash__b != "" || i.__namespace__ == self.name)',
      'self.map.all(k, self.map[k].name != k)',
      'cel.bind(x, self.name, x + x != "") && dyn(self).whatever',
      'self.?name.orValue("x") != ""',
    ])
      assert.equal(await refusal(rule, fields), '', rule);
    const deep = { a: list(list(list(text))) };
    const costly = 'self.a.all(x, x.all(y, y.all(z, z.contains("a"))))';
    assert.match(
      await refusal(costly, deep),
      /spec\].*Forbidden: estimated rule cost exceeds budget by factor of more than 100x/,
    );
    const bounded = { maxItems: 10 };
    assert.equal(
      await refusal(costly, { a: list(list(list({ type: 'string', maxLength: 20 }, bounded), bounded), bounded) }),
      '',
    );
    // However many lists are around it, no more of it than a request holds.
    const validations = [{ rule: 'has(self.key) || self.key != ""' }];
    const leaf = { type: 'object', properties: { key: text }, 'x-kubernetes-validations': validations };
    assert.equal(await refusal('true', { nested: list(list(list(leaf))) }), '');
    const free = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
    assert.equal(await refusal('self.free.anything == 1', { free }), '');
  });
});
