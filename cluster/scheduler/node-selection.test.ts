import assert from 'node:assert/strict';
import test from 'node:test';
import { matchesLabels, parseLabelSelector } from '../kinds/selector.ts';
import { matchesTerm } from './node-selection.ts';

const chooses = (operator: string, values: string[], labels: Record<string, string>): boolean =>
  matchesTerm({ matchExpressions: [{ key: 'n', operator, values }] }, { name: 'a', labels });

test('node affinity: every operator', () => {
  assert.equal(chooses('In', ['1', '2'], { n: '2' }), true);
  assert.equal(chooses('NotIn', ['1', '2'], { n: '2' }), false);
  assert.equal(chooses('NotIn', ['1'], {}), true);
  assert.equal(chooses('Exists', [], { n: '' }), true);
  assert.equal(chooses('DoesNotExist', [], { n: '' }), false);
  assert.equal(chooses('Gt', ['10'], { n: '9' }), false);
  assert.equal(chooses('Gt', ['10'], { n: '11' }), true);
  assert.equal(chooses('Lt', ['10'], { n: '9' }), true);
  assert.equal(chooses('Lt', ['10'], {}), false);
  assert.equal(chooses('Gt', ['1', '2'], { n: '3' }), false);
  assert.equal(chooses('constructor', ['1'], { n: '1' }), false);
});

test('node affinity: Gt and Lt read numbers as a label selector does', () => {
  const numbers = ['0', '7', '007', '9007199254740992', '9007199254740993', '9223372036854775807'];
  for (const limit of numbers)
    for (const value of [...numbers, '9223372036854775808', '1e3', '0x10', '1.5', 'x'])
      for (const [operator, sign] of [
        ['Gt', '>'],
        ['Lt', '<'],
      ] as const)
        assert.equal(
          chooses(operator, [limit], { n: value }),
          matchesLabels(parseLabelSelector(`n${sign}${limit}`), { n: value }),
          `${value} ${operator} ${limit}`,
        );
  assert.equal(chooses('Gt', ['9007199254740992'], { n: '9007199254740993' }), true);
});

test('node affinity: what is no label value of 64 bits matches no node', () => {
  for (const limit of ['-1', '+1', '9223372036854775808', '1.5', ''])
    for (const operator of ['Gt', 'Lt']) assert.equal(chooses(operator, [limit], { n: '2' }), false, limit);
});
