import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseResolver, renderResolver } from '#lib/dns/resolv-conf.ts';
import { IdRanges } from '../containers/id-ranges.ts';
import { addressBytes, addressOfBytes, formatAddress, parseAddress } from './address-text.ts';
import { AddressPool, formatCidr, gatewayOf, overlap, parseCidr } from './addresses.ts';
import { freeSubnets, localPool } from './subnets.ts';

test('ranges are read strictly', () => {
  assert.deepEqual(parseCidr('10.86.0.0/16'), {
    family: 4,
    base: 0x0a560000n,
    prefix: 16,
    size: 65_536n,
  });
  for (const text of ['10.86.0.1/16', '10.86.0.0', '10.86.0.0/33', '010.0.0.0/8', '10.0.0/24', '10.0.0.256/32', 'x']) {
    assert.throws(() => parseCidr(text), { code: 'invalid' }, text);
  }
});

test('an IPv6 address has one text, and a range is of one family', () => {
  const texts: [string, string][] = [
    ['fd00:0:0::1', 'fd00::1'],
    ['FD00:0001:0:0:2:0:0:3', 'fd00:1::2:0:0:3'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['1:0:2:0:3:0:4:0', '1:0:2:0:3:0:4:0'],
    ['2001:db8:0:0:1:0:0:0', '2001:db8:0:0:1::'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
  ];
  for (const [text, written] of texts) assert.equal(formatAddress(parseAddress(text)), written, text);
  assert.equal(addressBytes('fd00::102').toString('hex'), 'fd000000000000000000000000000102');
  assert.equal(addressOfBytes(addressBytes('fd00::102')), 'fd00::102');
  for (const text of ['fe80::1%eth0', 'fd00', '1::2::3', '12345::']) assert.throws(() => parseAddress(text), text);
  assert.equal(parseCidr('fd00:1::/64', 6).size, 2n ** 64n);
  for (const text of ['fd00::1/64', 'fd00::/129', 'fd00::', '10.0.0.0/8'])
    assert.throws(() => parseCidr(text, 6), { code: 'invalid' }, text);
  assert.throws(() => parseCidr('fd00::/64', 4), { code: 'invalid' });
  assert.equal(overlap(parseCidr('fd00::/16'), parseCidr('fd00:7::/64')), true);
  assert.equal(overlap(parseCidr('0.0.0.0/0'), parseCidr('::/0')), false);
});

test('of a large range addresses are handed out from the beginning, and others by wish', () => {
  const subnet = parseCidr('fd00:9::/64');
  const pool = new AddressPool(subnet, { used: ['fd00:9::1'] });
  assert.deepEqual([pool.take(), pool.take()], ['fd00:9::2', 'fd00:9::3']);
  assert.deepEqual(
    ['fd00:9::ffff:ffff:ffff:ffff', 'fd00:9::ffff:ffff:ffff:ffff', 'fd00:9::', 'fd00:9::1'].map((one) =>
      pool.claim(one),
    ),
    [true, false, false, false],
  );
  const part = new AddressPool(subnet, { range: parseCidr('fd00:9::a00/120') });
  assert.equal(part.take(), 'fd00:9::a00');
});

test('ranges of an instance are its own, and drawn in an order of its own', () => {
  const pool = localPool('blue', 'machine');
  assert.match(formatCidr(pool), /^fd[0-9a-f:]+::\/48$/);
  assert.notEqual(formatCidr(pool), formatCidr(localPool('green', 'machine')));
  assert.notEqual(formatCidr(pool), formatCidr(localPool('blue', 'other')));
  const { value } = freeSubnets(pool, 'blue').next();
  assert.ok(value?.prefix === 64 && overlap(pool, value));
});

test('the address that was freed longest ago is used first', () => {
  const pool = new AddressPool(parseCidr('10.0.0.0/29'), { used: ['10.0.0.3'] });
  assert.equal(gatewayOf(parseCidr('10.0.0.0/29')), '10.0.0.1');
  assert.deepEqual([pool.take(), pool.take()], ['10.0.0.2', '10.0.0.4']);
  pool.free('10.0.0.2');
  assert.deepEqual([pool.take(), pool.take(), pool.take()], ['10.0.0.5', '10.0.0.6', '10.0.0.2']);
  assert.throws(() => pool.take(), { code: 'exhausted' });
  const resumed = new AddressPool(parseCidr('10.0.0.0/29'), { cursor: 3 });
  assert.equal(resumed.take(), '10.0.0.5');
});

test('id ranges do not overlap, and run out clearly', () => {
  const ranges = new IdRanges({ first: 655_360, length: 3 * 65_536 }, [720_896]);
  assert.deepEqual([ranges.take(), ranges.take()], [655_360, 786_432]);
  assert.throws(() => ranges.take(), { code: 'exhausted' });
  ranges.free(720_896);
  assert.equal(ranges.take(), 720_896);
  assert.throws(() => new IdRanges({ first: 1000, length: 65_536 }), { code: 'invalid' });
});

test('name servers on the loopback are not for sandboxes', () => {
  const settings = parseResolver(
    '# made by hand\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\nsearch a.test b.test\noptions edns0\n',
  );
  assert.deepEqual(settings, { servers: ['10.0.0.2'], searches: ['a.test', 'b.test'], options: ['edns0'] });
  assert.equal(renderResolver(settings), 'nameserver 10.0.0.2\nsearch a.test b.test\noptions edns0\n');
});
