import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { sourceAddress, sourceAddress6 } from './source-address.ts';

test('the address is that of the way to the target', async () => {
  assert.equal(await sourceAddress('127.0.0.1'), '127.0.0.1');
  assert.equal(await sourceAddress6('::1'), '::1');
});

test('without any way it is the loopback’s', () => {
  const module = new URL('source-address.ts', import.meta.url).href;
  const program = `import { sourceAddress } from '${module}'; console.log(await sourceAddress());`;
  const args = ['--net', '--', process.execPath, '--input-type=module', '-e', program];
  assert.equal(spawnSync('unshare', args, { encoding: 'utf8' }).stdout.trim(), '127.0.0.1');
});
