import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { applyJsonPatch, JsonPatchError } from './json-patch.ts';

const apply = (document: unknown, ...operations: unknown[]): unknown =>
  applyJsonPatch(structuredClone(document), operations);
const refused = (code: JsonPatchError['code'], document: unknown, ...operations: unknown[]): void =>
  assert.throws(
    () => apply(document, ...operations),
    (error) => error instanceof JsonPatchError && error.code === code,
    JSON.stringify(operations),
  );

describe('JSON patch', () => {
  test('the examples of RFC 6902, appendix A', () => {
    assert.deepEqual(apply({ foo: 'bar' }, { op: 'add', path: '/baz', value: 'qux' }), { foo: 'bar', baz: 'qux' });
    assert.deepEqual(apply({ foo: ['a', 'c'] }, { op: 'add', path: '/foo/1', value: 'b' }), { foo: ['a', 'b', 'c'] });
    assert.deepEqual(apply({ foo: [1, 2, 3] }, { op: 'remove', path: '/foo/1' }), { foo: [1, 3] });
    assert.deepEqual(apply({ a: 1 }, { op: 'replace', path: '/a', value: [2] }), { a: [2] });
    const moved = apply({ foo: { a: 1, b: 2 }, qux: {} }, { op: 'move', from: '/foo/b', path: '/qux/c' });
    assert.deepEqual(moved, { foo: { a: 1 }, qux: { c: 2 } });
    assert.deepEqual(apply({ a: [1, 2, 3] }, { op: 'move', from: '/a/0', path: '/a/2' }), { a: [2, 3, 1] });
    assert.deepEqual(apply({ a: [1, { b: 'c' }] }, { op: 'test', path: '/a/1', value: { b: 'c' } }), {
      a: [1, { b: 'c' }],
    });
    assert.deepEqual(apply({ a: 1 }, { op: 'add', path: '/b', value: {} }, { op: 'add', path: '/b/c', value: null }), {
      a: 1,
      b: { c: null },
    });
    assert.deepEqual(apply({ '/': 9, '~1': 10 }, { op: 'test', path: '/~01', value: 10 }), { '/': 9, '~1': 10 });
    assert.deepEqual(apply({ a: [1] }, { op: 'add', path: '/a/-', value: [2] }), { a: [1, [2]] });
    assert.deepEqual(apply({ a: 1 }, { op: 'copy', from: '', path: '/b' }), { a: 1, b: { a: 1 } });
    assert.deepEqual(apply({ a: 1 }, { op: 'replace', path: '', value: [1] }), [1]);
  });

  test('what does not apply, and what is no patch', () => {
    for (const path of ['/a/b', '/b', '/list/2', '/list/-', '/list/01', '/list/x', '/text/0', '/none/x'])
      refused('failed', { a: 1, list: [1, 2], text: 'ab' }, { op: 'replace', path, value: 1 });
    refused('failed', { a: 1 }, { op: 'test', path: '/a', value: '1' });
    refused('failed', { a: 1 }, { op: 'remove', path: '' });
    refused('failed', { a: { b: 1 } }, { op: 'move', from: '/a', path: '/a/b/c' });
    refused('failed', { list: [1] }, { op: 'add', path: '/list/2', value: 1 });
    for (const one of [null, 5, {}, { op: 'add' }, { op: 'add', path: 5 }, { op: 'add', path: 'a', value: 1 }])
      refused('malformed', {}, one);
    refused('malformed', {}, { op: 'add', path: '/a' });
    refused('malformed', {}, { op: 'fly', path: '/a' });
    refused('malformed', {}, { op: 'copy', path: '/a' });
  });

  test('a pointer leads to nothing that objects inherit', () => {
    for (const path of [
      '/toString/call',
      '/constructor/prototype/x',
      '/__proto__/x',
      '/a/__proto__/x',
      '/hasOwnProperty/call',
    ])
      for (const op of ['add', 'replace', 'remove', 'test']) refused('failed', { a: {} }, { op, path, value: 'evil' });
    refused('failed', { a: 1 }, { op: 'copy', from: '/toString', path: '/b' });
    const named = apply({}, { op: 'add', path: '/__proto__', value: { x: 1 } }) as { x?: number };
    assert.deepEqual([named.x, JSON.stringify(named)], [undefined, '{"__proto__":{"x":1}}']);
    assert.equal(typeof Object.prototype.hasOwnProperty.call, 'function');
  });

  test('copies that double what is there end at a limit', () => {
    const doubling = Array.from({ length: 100 }, (_, index) => ({ op: 'copy', from: '', path: `/${index}` }));
    assert.throws(
      () => apply({ a: 'x'.repeat(1000) }, ...doubling),
      /accumulated size increase of copy is \d+, exceeding/,
    );
  });

  test('what was put in is not shared with the patch', () => {
    const operations = [
      { op: 'add', path: '/a', value: { b: [] } },
      { op: 'add', path: '/a/b/-', value: 1 },
    ];
    assert.deepEqual(applyJsonPatch({}, operations), { a: { b: [1] } });
    assert.deepEqual(applyJsonPatch({}, operations), { a: { b: [1] } });
  });
});
