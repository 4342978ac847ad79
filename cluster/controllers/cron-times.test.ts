import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cronTimes, missedTimes } from './cron-times.ts';

const at = (text: string): number => Date.parse(text);

describe('times of a schedule', () => {
  const cases: [schedule: string, zone: string, after: string, next: string | undefined][] = [
    ['* * * * *', 'UTC', '2024-03-01T10:00:00Z', '2024-03-01T10:01:00Z'],
    ['* * * * *', 'UTC', '2024-03-01T10:00:59Z', '2024-03-01T10:01:00Z'],
    ['*/15 * * * *', 'UTC', '2024-03-01T10:46:00Z', '2024-03-01T11:00:00Z'],
    ['5/20 * * * *', 'UTC', '2024-03-01T10:25:00Z', '2024-03-01T10:45:00Z'],
    ['0 9-17/4 * * MON-FRI', 'UTC', '2024-03-01T17:00:00Z', '2024-03-04T09:00:00Z'],
    ['30 4 1,15 * 5', 'UTC', '2024-03-02T00:00:00Z', '2024-03-08T04:30:00Z'],
    ['0 0 */10 * 5', 'UTC', '2024-03-02T00:00:00Z', '2024-03-08T00:00:00Z'],
    ['0 0 29 2 *', 'UTC', '2024-03-01T00:00:00Z', '2028-02-29T00:00:00Z'],
    ['0 0 30 2 *', 'UTC', '2024-03-01T00:00:00Z', undefined],
    ['@monthly', 'UTC', '2024-12-05T00:00:00Z', '2025-01-01T00:00:00Z'],
    ['@every 90m', 'UTC', '2024-03-01T10:00:00.700Z', '2024-03-01T11:30:00Z'],
    ['0 12 * * *', 'Asia/Kathmandu', '2024-03-01T00:00:00Z', '2024-03-01T06:15:00Z'],
    // The hour that the clocks skip does not come that day; the one that they repeat comes twice.
    ['30 2 * * *', 'America/New_York', '2024-03-10T05:00:00Z', '2024-03-11T06:30:00Z'],
    ['30 1 * * *', 'America/New_York', '2024-11-03T04:00:00Z', '2024-11-03T05:30:00Z'],
    ['30 1 * * *', 'America/New_York', '2024-11-03T05:30:00Z', '2024-11-03T06:30:00Z'],
    ['30 1 * * *', 'America/New_York', '2024-11-03T06:30:00Z', '2024-11-04T06:30:00Z'],
  ];
  for (const [schedule, zone, after, next] of cases) {
    it(`${schedule} in ${zone} after ${after}`, () => {
      const found = cronTimes(schedule, zone).next(at(after));
      assert.equal(found === undefined ? undefined : new Date(found).toISOString(), next?.replace('Z', '.000Z'));
    });
  }

  it('finds the newest of what was missed, and says when it was too much', () => {
    const hourly = cronTimes('@hourly', 'UTC');
    const start = at('2024-03-01T00:30:00Z');
    assert.equal(missedTimes(hourly, start, at('2024-03-01T00:59:00Z')), undefined);
    assert.deepEqual(missedTimes(hourly, start, at('2024-03-01T03:00:00Z')), {
      latest: at('2024-03-01T03:00:00Z'),
      tooMany: false,
    });
    assert.deepEqual(missedTimes(hourly, start, at('2034-03-01T03:59:59Z')), {
      latest: at('2034-03-01T03:00:00Z'),
      tooMany: true,
    });
  });
});
