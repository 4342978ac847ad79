import assert from 'node:assert/strict';
import { test } from 'node:test';
import { icmpMatches } from './icmp.ts';

const rules = (...list: unknown[]): string[] => icmpMatches(JSON.stringify(list)).map(({ text }) => text);

test('icmp: blocks with exceptions, types and codes', () => {
  const blocks = [{ cidr: '0.0.0.0/0', except: ['10.0.0.0/8', '192.0.2.1/32'] }, { cidr: '10.1.0.0/16' }];
  assert.deepEqual(rules({ blocks, type: 8, code: 0 }), [
    'ip daddr 0.0.0.0/0 ip daddr != 10.0.0.0/8 ip daddr != 192.0.2.1/32 icmp type 8 icmp code 0',
    'ip daddr 10.1.0.0/16 icmp type 8 icmp code 0',
  ]);
  assert.deepEqual(rules({ blocks: [{ cidr: '10.1.0.0/16' }], type: -1, code: -1 }), [
    'ip daddr 10.1.0.0/16 meta l4proto icmp',
  ]);
});

test('icmp: what is not understood allows nothing, and becomes no part of a script', () => {
  const block = { cidr: '10.1.0.0/16' };
  assert.deepEqual(icmpMatches(undefined), []);
  for (const text of ['', 'x', '{}', 'null', '[null]', '[1]', '[[]]']) assert.deepEqual(icmpMatches(text), [], text);
  for (const rule of [
    { blocks: [block], type: 8 },
    { blocks: [block], type: '8 accept', code: 0 },
    { blocks: [block], type: 300, code: 0 },
    { blocks: 'x', type: 8, code: 0 },
    { blocks: [{ cidr: '10.1.0.0/16 accept #' }], type: 8, code: 0 },
    { blocks: [{ cidr: '10.1.0.0/99' }], type: 8, code: 0 },
    { blocks: [{ ...block, except: 'all' }], type: 8, code: 0 },
    { blocks: [{ ...block, except: ['10.1.0.0; drop'] }], type: 8, code: 0 },
    { blocks: [null], type: 8, code: 0 },
  ])
    assert.deepEqual(rules(rule), [], JSON.stringify(rule));
});
