import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChallenges } from './http-challenges.ts';

function read(header: string): [string, Record<string, string>][] {
  return parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
}

test('one challenge, several, and odd spellings', () => {
  assert.deepEqual(read('Basic realm="x"'), [['basic', { realm: 'x' }]]);
  assert.deepEqual(
    read('Bearer realm="https://a/token",service="s, t",scope="repository:a:pull,push", Basic realm="b"'),
    [
      ['bearer', { realm: 'https://a/token', service: 's, t', scope: 'repository:a:pull,push' }],
      ['basic', { realm: 'b' }],
    ],
  );
  assert.deepEqual(read('Negotiate, BEARER Realm = "a\\"b" , service=plain'), [
    ['negotiate', {}],
    ['bearer', { realm: 'a"b', service: 'plain' }],
  ]);
  assert.deepEqual(read('Bearer realm="open'), [['bearer', {}]]);
  assert.deepEqual(read('=,"'), []);
  assert.deepEqual(read(''), []);
});
