import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CloudFoundryError } from './errors.ts';
import { matchesLabels, parseLabelSelector } from './label-selector.ts';

test('label selector: every form', () => {
  const labels = { env: 'prod', tier: 'front' };
  for (const [selector, expected] of [
    ['env=prod', true],
    ['env==prod,tier=front', true],
    ['env!=prod', false],
    ['env in (dev,prod)', true],
    ['env notin (dev, prod)', false],
    ['env,!colour', true],
    ['colour', false],
    ['colour!=red', true],
    ['constructor', false],
  ] as const) {
    assert.equal(matchesLabels(parseLabelSelector(selector), labels), expected, selector);
  }
  for (const rubbish of ['a b', '=x', 'a in b', '!!a']) {
    assert.throws(() => parseLabelSelector(rubbish), CloudFoundryError, rubbish);
  }
});
