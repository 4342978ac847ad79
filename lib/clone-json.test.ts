import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cloneJson } from './clone-json.ts';

test('a copy is equal, and shares nothing', () => {
  const original = { a: [1, { b: null, c: 'x' }], d: { e: [] as number[], f: undefined }, g: true };
  const copy = cloneJson(original);
  assert.deepEqual(copy, original);
  copy.d.e.push(1);
  (copy.a[1] as { c: string }).c = 'y';
  assert.deepEqual(original, { a: [1, { b: null, c: 'x' }], d: { e: [], f: undefined }, g: true });
});

test('a key that names the prototype stays a key', () => {
  const copy = cloneJson(JSON.parse('{"__proto__":{"admin":true},"constructor":1}') as Record<string, unknown>);
  assert.equal(Object.getPrototypeOf(copy), Object.prototype);
  assert.equal(copy['admin'], undefined);
  assert.equal(JSON.stringify(copy), '{"__proto__":{"admin":true},"constructor":1}');
});
