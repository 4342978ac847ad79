import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressOfRange, parseIpRange, rangeSize, rangeText, rangesOverlap } from './ip-range.ts';

const range = (text: string) => {
  const found = parseIpRange(text);
  assert.ok(found, text);
  return found;
};

test('ranges of either family are read, and written in one way', () => {
  assert.equal(rangeText(range('10.1.2.3/16')), '10.1.0.0/16');
  assert.equal(rangeText(range('FD00:0:0::A:1/112')), 'fd00::a:0/112');
  assert.equal(rangeText(range('10.1.2.3')), '10.1.2.3/32');
  assert.equal(rangeText(range('2001:db8::1')), '2001:db8::1/128');
  assert.equal(rangeText(range('::/0')), '::/0');
  assert.equal(rangeSize(range('fd00::/112')), 65_536n);
  assert.equal(addressOfRange(range('fd00::/112'), 10n), 'fd00::a');
  assert.equal(addressOfRange(range('10.96.255.0/24'), 256n), '10.97.0.0');
});

test('what is no range is none', () => {
  for (const text of ['', '10.0.0.0/33', '10.0.0/8', 'fd00::/129', 'fe80::1%eth0', 'fd00::/', '10.0.0.0/-1', 'a/8'])
    assert.equal(parseIpRange(text), undefined, text);
});

test('ranges share addresses where one holds the other, of one family', () => {
  assert.equal(rangesOverlap(range('fd00::/48'), range('fd00:0:0:7::/64')), true);
  assert.equal(rangesOverlap(range('fd00:0:0:6::/64'), range('fd00:0:0:7::/64')), false);
  assert.equal(rangesOverlap(range('0.0.0.0/0'), range('::/0')), false);
});
