import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { after, test } from 'node:test';
import { until } from '#testing/until.ts';
import { RuleWatch } from './rule-watch.ts';

const table = `sampan-rule-watch-${process.pid}`;
let losses = 0;
let others = 0;
const heard: boolean[] = [];
const watch = new RuleWatch({
  isLoss: (line) => line === `delete table inet ${table}`,
  onLost: (was) => {
    losses++;
    heard.push(was);
  },
});
const other = new RuleWatch({ isLoss: () => false, onLost: () => others++ });
after(() => watch.close());

/** Process ids of the monitors that this process has. */
function monitors(): number[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const parent = /^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      return Number(parent) === process.pid && command.includes('monitor') ? [Number(pid)] : [];
    } catch {
      return []; // it ended meanwhile
    }
  });
}

const lose = (): void => {
  execFileSync('nft', ['add', 'table', 'inet', table]);
  execFileSync('nft', ['delete', 'table', 'inet', table]);
};

test('what was before the watch is told of once, then each loss; a watch that ends is started again', async () => {
  await until(async () => losses === 1);
  lose();
  await until(async () => losses === 2);
  const [first] = monitors();
  assert.ok(first);
  process.kill(first, 'SIGKILL');
  await until(async () => losses === 3);
  assert.notDeepEqual(monitors(), [first]);
  lose();
  await until(async () => losses === 4);
  assert.equal(others, 2);
  assert.deepEqual(heard, [false, true, false, true]);
});

test('one monitor is for all, and ends with the last', async () => {
  assert.equal(monitors().length, 1);
  other.close();
  lose();
  await until(async () => losses === 5);
  watch.close();
  await until(async () => monitors().length === 0);
});
