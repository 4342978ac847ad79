/** The route table against the API's schema, and the reference page against the table. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { renderReference, stateOf } from './reference.ts';
import { ROUTES } from './routes.ts';

const root = join(import.meta.dirname, '../..');

test('every endpoint of the schema is in the table, once, and no other', () => {
  const { endpoints } = JSON.parse(readFileSync(join(import.meta.dirname, 'testdata/schema-1.45.json'), 'utf8')) as {
    endpoints: string[];
  };
  const plain = (text: string): string => text.replaceAll(/\{\w+\}/g, '{}');
  // BuildKit's is in no schema: without it a client of BuildKit would be told of a page that is not found.
  const ours = ROUTES.filter(({ path }) => path !== '/grpc')
    .map(({ method, path }) => plain(`${method} ${path}`))
    .sort();
  assert.equal(endpoints.length, 107);
  assert.deepEqual(ours, endpoints.map(plain).sort());
});

test('what is supported has a test that is there; what is not says why', () => {
  for (const route of ROUTES) {
    const name = `${route.method} ${route.path}`;
    assert.ok(route.note !== undefined || stateOf(route) === 'supported', `${name}: a note says what is missing`);
    if (route.test !== undefined) assert.ok(existsSync(join(root, route.test)), `${name}: ${route.test}`);
    else assert.equal(route.handle, undefined, `${name} names no test`);
    assert.doesNotMatch(`${route.summary}${route.note}`, /[|\n]/);
  }
});

test('the reference page is what the table says', () => {
  const page = readFileSync(join(root, 'docs/reference/docker-api.md'), 'utf8');
  assert.equal(page, renderReference(ROUTES), 'run ./sampan node tools/docker-api-page.ts, or node itself');
});
