/** Which addresses the API server never asks for anybody; that it asks others is in `testing/agent-streams.test.ts`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isProxyable } from './workload-proxy.ts';

test('its own loopback, link-local addresses and what is no host are refused', () => {
  const refused = [
    '127.0.0.1',
    '127.8.8.8',
    '::1',
    '::',
    '0.0.0.0',
    '169.254.169.254',
    'fe80::1',
    '224.0.0.1',
    'ff02::1',
  ];
  for (const host of [...refused, '::ffff:127.0.0.1', 'localhost', '']) assert.equal(isProxyable(host), false, host);
  for (const host of ['10.97.0.2', '192.168.1.1', 'fd00::2', '2001:db8::1'])
    assert.equal(isProxyable(host), true, host);
});
