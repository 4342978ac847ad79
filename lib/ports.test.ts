import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { freePort, portIsFree } from './ports.ts';

test('a free port is none that an outgoing connection may be given', async () => {
  const range = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8');
  const [low = 0, high = 0] = range.trim().split(/\s+/).map(Number);
  const all = new Set<number>();
  for (let round = 0; round < 50; round += 1) {
    const port = await freePort();
    // A machine whose connections may have every port leaves none.
    assert.ok(port < low || port > high || low <= 10_000, `${port} is one of ${range}`);
    all.add(port);
  }
  assert.equal(all.size, 50, 'none is given twice');
});

test('one that somebody listens on is not free, on whichever address', async () => {
  const port = await freePort();
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  assert.equal(await portIsFree(port), false);
  server.close();
  await once(server, 'close');
});
