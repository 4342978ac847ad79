import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IdRanges } from '../containers/id-ranges.ts';
import { AddressPool, gatewayOf, parseCidr } from './addresses.ts';
import { parseResolver, renderResolver } from './resolver.ts';

test('ranges are read strictly', () => {
  assert.deepEqual(parseCidr('10.86.0.0/16'), { base: 10 * 2 ** 24 + 86 * 2 ** 16, prefix: 16, size: 65_536 });
  for (const text of ['10.86.0.1/16', '10.86.0.0', '10.86.0.0/33', '010.0.0.0/8', '10.0.0/24', '10.0.0.256/32', 'x']) {
    assert.throws(() => parseCidr(text), { code: 'invalid' }, text);
  }
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
