import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, test } from 'node:test';
import { until } from '#testing/until.ts';
import { nft } from './nft.ts';
import { RuleWatch } from './rule-watch.ts';
import { TableLines, TableWatch, stamped } from './table-watch.ts';

const table = `sampan-table-watch-${process.pid}`;
const other = `${table}.other`;
const sentinel = `${table}-sentinel`;
const lines: string[] = [];
let begun = false;
const recorder = new RuleWatch({
  isLoss: (line) => {
    lines.push(line);
    return false;
  },
  onLost: () => (begun = true),
});
const watches: { close(): void }[] = [recorder];
after(() => {
  for (const watch of watches) watch.close();
  for (const name of [table, other]) execFileSync('nft', ['delete', 'table', 'inet', name]);
});

const contents = `table inet ${table} {}
delete table inet ${table}
table inet ${table} {
  set kernels { type ipv4_addr; elements = { 192.0.2.1 } }
  set ours { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 } }
  map ways { type ipv4_addr : verdict; elements = { 192.0.2.1 : goto kept } }
  chain kept { counter; }
  chain alone { counter; }
  chain rules { ip saddr 192.0.2.1 accept; ip saddr 192.0.2.2 accept; }
}
`;
const write = (): Promise<string> => nft(stamped(table, contents));

/** What was told of what is done meanwhile. */
async function told(work: () => unknown): Promise<string[]> {
  await until(async () => begun, 30);
  const first = lines.length;
  await work();
  execFileSync('nft', ['add', 'table', 'inet', sentinel]);
  execFileSync('nft', ['delete', 'table', 'inet', sentinel]);
  await until(async () => lines.indexOf(`delete table inet ${sentinel}`, first) >= 0, 30);
  return lines.slice(first);
}

async function losses(work: () => unknown): Promise<(boolean | 'perhaps')[]> {
  const reader = new TableLines(table, (set) => set === 'kernels');
  return (await told(work)).map((line) => reader.isLoss(line)).filter((loss) => loss !== false);
}

test('what its owner does is no loss, whatever goes by it', async () => {
  await write();
  await nft(`table inet ${other} {}\n`);
  const own = await losses(async () => {
    for (let round = 0; round < 3; round++) await write();
    await nft(stamped(table, `flush chain inet ${table} rules\ndelete element inet ${table} ours { 192.0.2.1 }\n`));
    await nft(stamped(other, `table inet ${other} {}\ndelete table inet ${other}\ntable inet ${other} {}\n`));
  });
  assert.deepEqual(
    own.filter((loss) => loss === true),
    [],
  );
});

test('what others take out is, each way of it; what the kernel takes out of its own sets is not', async () => {
  for (const command of [
    ['flush', 'chain', 'inet', table, 'rules'],
    ['delete', 'element', 'inet', table, 'ours', '{ 192.0.2.1 }'],
    ['flush', 'map', 'inet', table, 'ways'],
    ['delete', 'chain', 'inet', table, 'alone'],
    ['delete', 'set', 'inet', table, 'ours'],
    ['delete', 'table', 'inet', table],
  ]) {
    await write();
    assert.notDeepEqual(await losses(() => execFileSync('nft', command)), [], command.join(' '));
  }
  await write();
  const none = await losses(() => {
    execFileSync('nft', ['delete', 'table', 'inet', other]);
    execFileSync('nft', ['add', 'table', 'inet', other]);
  });
  assert.deepEqual(none, [], 'another table, whose name begins alike');
  const reader = new TableLines(table, (set) => set === 'kernels');
  assert.equal(reader.isLoss(`delete element inet ${table} kernels { 192.0.2.1 }`), false);
});

test('an event of a set that nft does not know is a reason to look, wherever it is told', () => {
  const reader = new TableLines('mine', () => false);
  const unknown = 'W: Received event for an unknown set.';
  assert.equal(reader.isLoss(unknown), 'perhaps');
  assert.equal(reader.isLoss('delete chain inet mine own-begin'), false);
  assert.equal(reader.isLoss(unknown), 'perhaps');
  assert.equal(reader.isLoss('delete chain inet mine own-end'), false);
  assert.equal(reader.isLoss('delete rule inet mine chain handle 7'), true);
  reader.forget();
  assert.equal(reader.isLoss(unknown), 'perhaps');
  assert.equal(reader.isLoss('delete chain inet mine own-begin'), false);
  assert.equal(reader.isLoss('delete rule inet mine chain handle 7'), false);
  assert.equal(reader.isLoss('delete chain inet mine own-end'), false);
  assert.equal(reader.isLoss('delete rule inet mine chain handle 8'), true);
});

test('the owner is told', async () => {
  await write();
  let heard = 0;
  const watch = new TableWatch(table, { isKernels: () => false, onLost: (certain) => void (heard += Number(certain)) });
  watches.push(watch);
  execFileSync('nft', ['flush', 'chain', 'inet', table, 'rules']);
  await until(async () => heard > 0, 30);
});
