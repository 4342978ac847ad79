import assert from 'node:assert/strict';
import test from 'node:test';
import {
  formatLabelSelector,
  matchesFields,
  matchesLabels,
  parseFieldSelector,
  parseLabelSelector,
  SelectorError,
} from './selector.ts';

const labels = { app: 'web', tier: '2', 'example.com/x': '' };

test('label selectors: every operator', () => {
  const cases: [string, boolean][] = [
    ['', true],
    ['app=web', true],
    ['app==web,tier!=3', true],
    ['app in (web, api)', true],
    ['app notin (web)', false],
    ['missing notin (x)', true],
    ['missing!=x', true],
    ['missing', false],
    ['!missing', true],
    ['example.com/x=', true],
    ['tier>1', true],
    ['tier<2', false],
  ];
  for (const [text, expected] of cases) assert.equal(matchesLabels(parseLabelSelector(text), labels), expected, text);
});

test('label selectors: what is malformed is refused', () => {
  for (const text of ['a b', 'a in x', '=x', 'a=b,,c', 'a=b c', '-a', 'tier>x', `a=${'x'.repeat(64)}`])
    assert.throws(() => parseLabelSelector(text), SelectorError, text);
});

test('field selectors', () => {
  const fields = { 'metadata.name': 'a,b', 'status.phase': 'Running' };
  assert.equal(matchesFields(parseFieldSelector('metadata.name=a\\,b,status.phase!=Failed'), fields), true);
  assert.equal(matchesFields(parseFieldSelector('spec.nodeName='), fields), true);
  assert.equal(matchesFields(parseFieldSelector('status.phase==Pending'), fields), false);
  assert.throws(() => parseFieldSelector('nonsense'), SelectorError);
});

test('a selector as an object, in its string form', () => {
  const selector = {
    matchLabels: { b: '1', a: '2' },
    matchExpressions: [
      { key: 'c', operator: 'In', values: ['y', 'x'] },
      { key: 'd', operator: 'DoesNotExist' },
    ],
  };
  assert.equal(formatLabelSelector(selector), 'a=2,b=1,c in (x,y),!d');
  assert.equal(formatLabelSelector({}), '<none>');
});
