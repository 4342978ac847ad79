import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { AddressRefused, addressGuard } from './guarded-address.ts';

const guard = addressGuard(() => ['10.96.0.0/16', '192.0.2.7', 'fd00::/8'], ['10.96.3.0/24']);

function isRefused(address: string): boolean {
  try {
    guard.check(address);
    return false;
  } catch (error) {
    assert.ok(error instanceof AddressRefused);
    return true;
  }
}

test('addresses of this host, of the link and of what is refused are refused, in every way to write them', () => {
  const refused = ['127.0.0.1', '127.9.9.9', '0.0.0.0', '::1', '::', '[::1]', '::ffff:127.0.0.1', '::FFFF:10.96.1.1'];
  refused.push('169.254.169.254', 'fe80::1', '224.0.0.1', '255.255.255.255', '10.96.0.1', '10.96.255.255', '192.0.2.7');
  refused.push('fd00::1', 'no address', '');
  for (const address of refused) assert.ok(isRefused(address), address);
});

test('others are not, nor what is allowed', () => {
  for (const address of ['10.97.0.1', '192.0.2.8', '8.8.8.8', '2001:db8::1', '10.96.3.9', '::ffff:8.8.8.8']) {
    assert.ok(!isRefused(address), address);
  }
});

test('a name that leads to a refused address is refused when it is dialled, and one that leads elsewhere is not', async () => {
  const server = createServer((socket) => socket.end());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const dial = (lookup: typeof guard.lookup) => {
    const socket = connect({ host: 'localhost', port, family: 4, lookup });
    return once(socket, 'connect').finally(() => socket.destroy());
  };
  try {
    await assert.rejects(dial(guard.lookup), AddressRefused);
    await dial(addressGuard(() => [], ['127.0.0.0/8', '::1/128']).lookup);
  } finally {
    server.close();
  }
});
