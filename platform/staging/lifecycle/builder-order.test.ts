import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { builderOrder } from './builder-order.ts';

const root = mkdtempSync(join(tmpdir(), 'builder-order-'));
after(() => rmSync(root, { recursive: true }));

/** Groups as words: `a@1 b@2?`, one a line. */
const orderOf = (lines: string): string =>
  lines
    .split('\n')
    .map((line) => {
      const entries = line.split(' ').map((word) => {
        const [, id = '', version = '', optional = ''] = /^([^@?]+)@?([^?]*)(\??)$/.exec(word) ?? [];
        const lines = [`id = "${id}"`, ...(version === '' ? [] : [`version = "${version}"`])];
        return `[[order.group]]\n${[...lines, ...(optional === '' ? [] : ['optional = true'])].join('\n')}\n`;
      });
      return `[[order]]\n${entries.join('')}`;
    })
    .join('');

function write(id: string, version: string, order?: string): void {
  const place = join(root, id.replace('/', '_'), version);
  mkdirSync(join(place, 'bin'), { recursive: true });
  const rest = order === undefined ? '' : orderOf(order);
  writeFileSync(
    join(place, 'buildpack.toml'),
    `api = "0.10"\n[buildpack]\nid = "${id}"\nversion = "${version}"\n${rest}`,
  );
  if (order !== undefined) return;
  for (const name of ['detect', 'build']) writeFileSync(join(place, 'bin', name), '', { mode: 0o755 });
}

function groups(order: string): string[] {
  const file = join(root, 'order.toml');
  writeFileSync(file, orderOf(order));
  return builderOrder(root, file).groups.map((group) =>
    group.map(({ id, optional }) => `${id}${optional === true ? '?' : ''}`).join(' '),
  );
}

for (const id of ['x/a', 'x/b', 'x/c']) write(id, '1');
write('x/b', '2');
write('x/two', '1', 'x/a@1\nx/b@1 x/c@1?');
write('x/deep', '1', 'x/two@1 x/c@1');
write('x/loop', '1', 'x/a@1 x/loop@1');

test('those that are made of others are taken apart, in their places and in their order', () => {
  assert.deepEqual(groups('x/a@1 x/b\nx/c@1?'), ['x/a@1 x/b@2', 'x/c@1?']);
  assert.deepEqual(groups('x/two@1 x/c@1'), ['x/a@1 x/c@1', 'x/b@1 x/c@1?']);
  assert.deepEqual(groups('x/deep@1'), ['x/a@1 x/c@1', 'x/b@1 x/c@1?']);
  assert.deepEqual(groups('x/a@1 x/two@1?'), ['x/a@1', 'x/a@1 x/b@1 x/c@1?', 'x/a@1']);
  assert.deepEqual(groups('x/a@1 x/b@1 x/b@2'), ['x/a@1 x/b@1'], 'each once, the first');
});

test('an order that cannot be is told', () => {
  assert.throws(() => groups('x/none@1'), /names x\/none@1, which it lacks/);
  assert.throws(() => groups('x/a@9'), /names x\/a@9, which it lacks/);
  assert.throws(() => groups('x/loop@1'), /x\/loop@1 of the builder is made of itself/);
  write('x/many', '1', Array.from({ length: 50 }, () => 'x/a@1').join('\n'));
  assert.throws(() => groups('x/many@1 x/many@1 x/many@1'), /more than 2000 groups/);
});
