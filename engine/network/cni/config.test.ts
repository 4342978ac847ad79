import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readNetworkConfig } from './config.ts';

const directory = mkdtempSync(join(tmpdir(), 'cni-config-'));
after(() => rmSync(directory, { recursive: true }));
const write = (file: string, value: unknown): void =>
  writeFileSync(join(directory, file), typeof value === 'string' ? value : JSON.stringify(value));
const refused = (why: RegExp): void =>
  assert.throws(() => readNetworkConfig(directory), { code: 'unavailable', message: why });

test('a directory without a configuration, or none at all, says so', () => {
  refused(/there is no file that ends in \.conflist/);
  assert.throws(() => readNetworkConfig(join(directory, 'none')), { code: 'unavailable', message: /ENOENT/ });
});

test('the first file by name is the network; one plugin by itself is a list of one', () => {
  write('readme.txt', 'no configuration');
  write('20-last.conf', 'is never read');
  write('10-one.conf', { cniVersion: '0.4.0', name: 'one', type: 'bridge', bridge: 'cni0' });
  assert.deepEqual(readNetworkConfig(directory), {
    name: 'one',
    cniVersion: '0.4.0',
    plugins: [{ type: 'bridge', bridge: 'cni0' }],
  });
  write('05-list.conflist', { cniVersion: '1.0.0', name: 'all', disableCheck: true, plugins: [{ type: 'ptp' }] });
  assert.deepEqual(readNetworkConfig(directory), {
    name: 'all',
    cniVersion: '1.0.0',
    disableCheck: true,
    plugins: [{ type: 'ptp' }],
  });
});

test('what is no network is refused, with the file and the field; nothing leads out of the plugins’ directories', () => {
  const good = { cniVersion: '1.0.0', name: 'all', plugins: [{ type: 'ptp' }] };
  for (const [value, why] of [
    ['{', /05-list\.conflist/],
    [[], /no object/],
    [{ ...good, name: '../x' }, /name/],
    [{ ...good, cniVersion: '0.2.0' }, /cniVersion "0\.2\.0" is not one of/],
    [{ ...good, plugins: [] }, /plugins is empty/],
    [{ ...good, plugins: [{ type: '../../bin/sh' }] }, /no program/],
    [{ ...good, plugins: [{}] }, /no program/],
  ] as const) {
    write('05-list.conflist', value);
    refused(why);
  }
});
