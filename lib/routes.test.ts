import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { hostIpv6Routes, hostRoutes, overlaps, parseCidr } from './routes.ts';

const table = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
`;

test('routes are read from the kernel table, the default route left out', () => {
  assert.deepEqual(hostRoutes(table), ['192.0.2.0/24']);
});

test('routes of IPv6 are read, without the default one and those of one link', (context) => {
  const path = join(mkdtempSync(join(tmpdir(), 'routes-')), 'ipv6_route');
  context.after(() => rmSync(dirname(path), { recursive: true }));
  const zero = '0'.repeat(32);
  const line = (to: string, length: string): string =>
    `${to.padEnd(32, '0')} ${length} ${zero} 00 ${zero} 00000100 00000001 00000000 00000001     eth0\n`;
  writeFileSync(
    path,
    line('fd00', '40') + line('fe80', '40') + line('ff', '08') + line('', '00') + line('20010db80001', '30'),
  );
  assert.deepEqual(hostIpv6Routes(path), [
    'fd00:0000:0000:0000:0000:0000:0000:0000/64',
    '2001:0db8:0001:0000:0000:0000:0000:0000/48',
  ]);
  assert.deepEqual(hostIpv6Routes(`${path}.none`), []);
});

test('ranges overlap when one holds the other', () => {
  assert.equal(overlaps('10.96.0.0/16', '10.96.3.0/24'), true);
  assert.equal(overlaps('10.0.0.0/8', '10.160.0.0/16'), true);
  assert.equal(overlaps('10.96.0.0/16', '10.97.0.0/16'), false);
  assert.equal(overlaps('192.168.0.0/16', '10.0.0.0/8'), false);
  assert.equal(overlaps('fd00:1::/32', 'fd00:0001:0000:0005::/64'), true);
  assert.equal(overlaps('fd00:1::/64', 'fd00:1:0:1::/64'), false);
  assert.equal(overlaps('::/0', '10.0.0.0/8'), false);
});

test('what is no CIDR is refused', () => {
  assert.deepEqual(parseCidr('10.1.2.0/24'), { address: 0x0a010200, bits: 24 });
  assert.throws(() => parseCidr('10.1.2/24'), TypeError);
  assert.throws(() => parseCidr('fd00::/8'), TypeError);
});
