import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { httpsTransport } from './https.ts';

test('however many watches there are, other requests are not kept waiting', async () => {
  const server = createServer((request, response) => {
    if (request.url?.includes('watch=true') === true) response.write('{}\n');
    else response.end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const transport = httpsTransport({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
  try {
    const watch = { method: 'GET', path: '/api/v1/pods?resourceVersion=1&watch=true', headers: {} };
    const watches = await Promise.all(Array.from({ length: 300 }, () => transport.request(watch)));
    const signal = AbortSignal.timeout(60_000);
    const { status, body } = await transport.request({ method: 'GET', path: '/api/v1/pods', headers: {}, signal });
    assert.equal(status, 200);
    for (const one of [body, ...watches.map((answer) => answer.body)]) one.destroy();
  } finally {
    transport.close();
    server.closeAllConnections();
    server.close();
  }
});
