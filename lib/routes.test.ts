import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostRoutes, overlaps, parseCidr } from './routes.ts';

const table = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
`;

test('routes are read from the kernel table, the default route left out', () => {
  assert.deepEqual(hostRoutes(table), ['192.0.2.0/24']);
});

test('ranges overlap when one holds the other', () => {
  assert.equal(overlaps('10.96.0.0/16', '10.96.3.0/24'), true);
  assert.equal(overlaps('10.0.0.0/8', '10.160.0.0/16'), true);
  assert.equal(overlaps('10.96.0.0/16', '10.97.0.0/16'), false);
  assert.equal(overlaps('192.168.0.0/16', '10.0.0.0/8'), false);
});

test('what is no CIDR is refused', () => {
  assert.deepEqual(parseCidr('10.1.2.0/24'), { address: 0x0a010200, bits: 24 });
  assert.throws(() => parseCidr('10.1.2/24'), TypeError);
  assert.throws(() => parseCidr('fd00::/8'), TypeError);
});
