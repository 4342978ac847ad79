import assert from 'node:assert/strict';
import test from 'node:test';
import { RouteWindows } from './route-window.ts';

test('a route is shown with its rate, errors and percentiles of the last minute, and not of longer', () => {
  let now = 1_000_000_000;
  const windows = new RouteWindows(() => now);
  now += 600_000;
  for (let milliseconds = 1; milliseconds <= 1000; milliseconds++) windows.add('a', { status: 200, milliseconds });
  windows.add('a', { status: 503, milliseconds: 2 });
  windows.add('a', { status: -1, milliseconds: undefined });
  windows.add('a', { status: 101, milliseconds: undefined });
  const near = (value: number | undefined, wanted: number): void =>
    assert.ok(value !== undefined && Math.abs(value - wanted) < wanted * 0.12, `${value}, wanted ${wanted}`);
  const use = windows.of('a');
  assert.deepEqual([use.requests, use.errors], [1003, 2]);
  near(use.seconds, 55);
  near(use.p50, 500);
  near(use.p95, 950);
  near(use.p99, 990);
  now += 70_000;
  const { requests, p50 } = windows.of('a');
  assert.deepEqual([requests, p50, windows.of('nobody').requests], [0, undefined, 0]);
  windows.add('a', { status: 200, milliseconds: 0 });
  assert.equal(windows.of('a').p99, 0);
});
