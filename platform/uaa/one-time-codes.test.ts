import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OneTimeCodes } from './one-time-codes.ts';
import type { Identity } from './uaa.ts';

const identity = (userId: string): Identity => ({
  userId,
  userName: userId,
  clientId: 'cf',
  origin: 'uaa',
  scopes: [],
  admin: false,
  reads: 'own',
});

test('a code is good once, for five minutes, and is no guess from another', () => {
  let now = 0;
  const codes = new OneTimeCodes(() => now);
  const [one, other] = [codes.issue(identity('ann')), codes.issue(identity('bob'))];
  assert.match(one, /^[0-9a-f]{48}$/);
  assert.notEqual(one, other);
  assert.equal(codes.redeem(one)?.userId, 'ann');
  assert.equal(codes.redeem(one), undefined);
  assert.equal(codes.redeem('nonsense'), undefined);
  now = 5 * 60_000;
  assert.equal(codes.redeem(other), undefined);
});

test('there are never more than so many: the oldest goes first', () => {
  const codes = new OneTimeCodes();
  const first = codes.issue(identity('ann'));
  const second = codes.issue(identity('bob'));
  for (let count = 0; count < 9_999; count++) codes.issue(identity('eve'));
  assert.equal(codes.redeem(first), undefined);
  assert.equal(codes.redeem(second)?.userId, 'bob');
});
