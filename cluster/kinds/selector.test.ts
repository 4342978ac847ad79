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

test('label selectors: Gt and Lt compare numbers of 64 bits, and nothing else', () => {
  const matches = (text: string, value: string): boolean => matchesLabels(parseLabelSelector(text), { n: value });
  // Two that a double cannot tell apart.
  assert.equal(matches('n>9007199254740992', '9007199254740993'), true);
  assert.equal(matches('n<9007199254740993', '9007199254740993'), false);
  assert.equal(matches('n<9223372036854775807', '9223372036854775806'), true);
  assert.equal(matches('n>010', '11'), true);
  for (const value of ['9223372036854775808', '1e3', '0x10', '1.5', 'x', ''])
    for (const text of ['n>1', 'n<1']) assert.equal(matches(text, value), false, `${text} of ${value}`);
  assert.equal(matchesLabels(parseLabelSelector('n>1'), {}), false);
});

test('label selectors: a limit that is no number of 64 bits, or no label value, is refused', () => {
  const message = (text: string): string => {
    try {
      parseLabelSelector(text);
    } catch (error) {
      return (error as Error).message;
    }
    return 'nothing is wrong';
  };
  const prefix = 'unable to parse requirement: ';
  const notInteger = (value: string): string =>
    `${prefix}values[0]: Invalid value: "${value}": for 'Gt', 'Lt' operators, the value must be an integer`;
  assert.equal(message('n>1.5'), notInteger('1.5'));
  assert.equal(message('n<9223372036854775808'), notInteger('9223372036854775808'));
  assert.match(message('n>-1'), /values\[0\]\[n\]: Invalid value: "-1": a valid label must be/);
  assert.match(message('a in (b,_)'), /values\[1\]\[a\]: Invalid value: "_"/);
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
      { key: 'a', operator: 'In', values: ['2'] },
    ],
  };
  assert.equal(formatLabelSelector(selector), 'a=2,a in (2),b=1,c in (x,y),!d');
  assert.equal(formatLabelSelector({}), '<none>');
});
