import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renewalTime, retryAfter, retryTime } from './schedule.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

test('renewal begins within a twentieth before two thirds of the lifetime, always the same for one name', () => {
  const times = Array.from({ length: 1000 }, (_, index) => renewalTime(`acme-${index}`, 5 * DAY, 95 * DAY));
  for (const time of times)
    assert.ok(time > 5 * DAY + 90 * DAY * (2 / 3 - 1 / 20) - 1 && time <= 65 * DAY, String(time));
  assert.ok(new Set(times).size > 990, 'they do not come back together');
  assert.equal(renewalTime('acme-1', 5 * DAY, 95 * DAY), times[1]);
});

test('what failed is tried again after ten minutes, doubling to a day, and not before the server says', () => {
  assert.deepEqual(
    [1, 2, 3].map((failures) => retryTime(0, failures) / MINUTE),
    [10, 20, 40],
  );
  assert.equal(retryTime(0, 100), DAY);
  assert.equal(retryTime(0, 1, 3 * DAY), 3 * DAY);
  assert.equal(retryTime(5, 1, 3), 5 + 10 * MINUTE);
});

test('Retry-After is seconds or a date', () => {
  assert.equal(retryAfter('120', 1000), 121_000);
  assert.equal(retryAfter('Thu, 01 Jan 1970 00:01:00 GMT', 5), MINUTE);
  for (const header of [undefined, '', 'soon', '-5x']) assert.equal(retryAfter(header, 0), undefined);
});
