import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatLine } from './logs.ts';
import { size, table } from './output.ts';
import { count, megabytes } from './sizes.ts';

test('sizes are read as cf reads them', () => {
  assert.equal(megabytes('256M', '-m'), 256);
  assert.equal(megabytes('1g', '-m'), 1024);
  assert.equal(megabytes('1.5GB', '-m'), 1536);
  for (const wrong of ['', '256', '0M', '-1G', '1X', 'M']) assert.throws(() => megabytes(wrong, '-m'), /-m/);
});

test('counts are whole numbers', () => {
  assert.equal(count('3', '-i'), 3);
  for (const wrong of ['-1', '1.5', 'many', '1e3', '99999999']) assert.throws(() => count(wrong, '-i'), /-i/);
});

test('sizes are shown shortly', () => {
  assert.deepEqual(
    [0, 1023, 1024, 1.5 * 1024 ** 2, 200 * 1024 ** 2, 3 * 1024 ** 3].map((bytes) => size(bytes)),
    ['0B', '1023B', '1.0K', '1.5M', '200M', '3.0G'],
  );
});

test('tables have even columns and no trailing blanks', () => {
  assert.equal(table([['a', 'bb', '']], ['name', 'x', 'last']), 'name   x    last\na      bb');
});

test('a log line has the form of cf, and moves no cursor', () => {
  const line = formatLine({
    timestamp: '1700000000123456789',
    source: 'APP/PROC/WEB/0',
    type: 'ERR',
    text: 'red \u001b[31m\u0007bell\u0000',
  });
  assert.match(
    line,
    /^ {3}\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d[+-]\d{4} \[APP\/PROC\/WEB\/0\] ERR red \u001b\[31mbell$/,
  );
});
