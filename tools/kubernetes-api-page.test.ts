import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { builtinKinds } from '../cluster/kinds/builtin.ts';
import { fieldSchema, resolveSchema, type Schema, schemaOf } from '../cluster/kinds/schema.ts';
import { pageOnDisk, pageText } from './kubernetes-api-page.ts';
import { kindTitle, readSupport, type Support } from './kubernetes-support.ts';

test('the page of the Kubernetes API is what the kinds and the support data say', () => {
  assert.equal(pageOnDisk(), pageText(), 'run tools/kubernetes-api-page.ts');
});

test('what is said of support names a test that is there, or a reason; of a field that is there', () => {
  const { kinds } = readSupport();
  const known = new Map(builtinKinds.map((kind) => [kindTitle(kind), kind]));
  const check = (of: string, { state, test: path, why }: Support) => {
    if (state === 'supported')
      assert.ok(path !== undefined && existsSync(join(import.meta.dirname, '..', path)), `${of}: ${path}`);
    else assert.ok(why, `${of}: why?`);
  };
  for (const [title, support] of Object.entries(kinds)) {
    const kind = known.get(title);
    assert.ok(kind, `${title} is no kind`);
    check(title, support);
    for (const [path, state] of Object.entries(support.fields ?? {})) {
      let schema: Schema | undefined = schemaOf(kind);
      for (const step of path.split('.')) {
        if (schema?.items !== undefined) schema = resolveSchema(schema.items);
        schema = fieldSchema(schema, step);
      }
      assert.ok(schema, `${title} has no field ${path}`);
      check(`${title} ${path}`, state);
    }
  }
});
