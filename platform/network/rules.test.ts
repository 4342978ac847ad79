import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SecurityRule } from '../resources/types.ts';
import { DEFAULT_GROUPS } from './network.ts';
import { type Block, blocksOf, parseRange, type Range, union, without } from './ranges.ts';
import { egressOf, ruleProblems } from './rules.ts';

const range = (text: string): Range => {
  const parsed = parseRange(text);
  assert.ok(parsed, text);
  return parsed;
};
const OWN = ['10.96.0.0/16', '10.160.0.0/16', '192.0.2.7'].map(range);

/** Which of these addresses a list of blocks lets through, as a NetworkPolicy means it. */
function allowed(blocks: Block[], addresses: string[]): string[] {
  const has = (cidr: string, address: string) => {
    const { first, last } = range(cidr);
    return first <= range(address).first && range(address).first <= last;
  };
  return addresses.filter((address) =>
    blocks.some(({ cidr, except = [] }) => has(cidr, address) && !except.some((inner) => has(inner, address))),
  );
}

test('ranges: what people write, and nothing else', () => {
  assert.deepEqual(parseRange('10.0.0.9/8'), { first: 10 * 2 ** 24, last: 11 * 2 ** 24 - 1 });
  assert.deepEqual(parseRange('0.0.0.0/0'), { first: 0, last: 2 ** 32 - 1 });
  assert.deepEqual(parseRange('1.2.3.4'), parseRange('1.2.3.4-1.2.3.4'));
  for (const bad of [
    '',
    '1.2.3',
    '1.2.3.4/33',
    '1.2.3.4/',
    '1.2.3.4-',
    '2.0.0.0-1.0.0.0',
    '1.2.3.4/8-1.2.3.5',
    '::1',
  ]) {
    assert.equal(parseRange(bad), undefined, bad);
  }
});

test('ranges: blocks mean what the ranges mean, at every edge', () => {
  const texts = [
    '0.0.0.0-9.255.255.255',
    '11.0.0.0-169.253.255.255',
    '192.169.0.0-255.255.255.255',
    '10.1.2.3-10.1.2.9',
  ];
  const ranges = texts.map(range);
  const edges = ['0.0.0.0', '9.255.255.255', '10.0.0.0', '10.1.2.2', '10.1.2.3', '10.1.2.9', '10.1.2.10', '11.0.0.0'];
  edges.push('169.253.255.255', '169.254.0.0', '192.168.255.255', '192.169.0.0', '255.255.255.255');
  const inside = (list: Range[]) =>
    edges.filter((edge) => list.some(({ first, last }) => first <= range(edge).first && range(edge).first <= last));
  assert.deepEqual(allowed(blocksOf(ranges), edges), inside(ranges));
  const less = without(ranges, [range('0.0.0.0/8'), range('10.1.2.5')]);
  assert.deepEqual(allowed(blocksOf(less), edges), inside(less));
  assert.deepEqual(blocksOf([range('0.0.0.0/0')]), [{ cidr: '0.0.0.0/0' }]);
  assert.deepEqual(blocksOf([]), []);
  assert.deepEqual(union([range('1.0.0.0/9'), range('1.128.0.0/9')]), [range('1.0.0.0/8')]);
});

test('the default groups open the internet and names, and nothing of the platform or of private networks', () => {
  const { rules, icmp } = egressOf(
    DEFAULT_GROUPS.flatMap((group) => group.rules),
    OWN,
  );
  assert.deepEqual(icmp, []);
  const [everything, ...dns] = rules;
  const blocks = (everything?.to ?? []).flatMap(({ ipBlock }) => ipBlock ?? []);
  assert.equal(everything?.ports, undefined);
  assert.ok(blocks.length <= 2, `few comparisons for each packet: ${JSON.stringify(blocks)}`);
  const addresses = ['8.8.8.8', '10.0.0.1', '10.96.0.5', '10.160.0.1', '127.0.0.1', '169.254.169.254', '172.16.0.1'];
  addresses.push('192.168.1.1', '192.0.2.7', '192.0.2.8', '255.255.255.255');
  assert.deepEqual(allowed(blocks, addresses), ['8.8.8.8', '127.0.0.1', '192.0.2.8', '255.255.255.255']);
  assert.deepEqual(
    dns.map(({ ports }) => ports),
    [[{ protocol: 'TCP', port: 53 }], [{ protocol: 'UDP', port: 53 }]],
  );
});

test("the platform's own addresses are reached by a rule that names them, and by no wide one", () => {
  const to = (destination: string) =>
    egressOf([{ protocol: 'tcp', destination, ports: '80,8000-9000' }], OWN).rules.flatMap((rule) =>
      (rule.to ?? []).flatMap(({ ipBlock }) => ipBlock ?? []),
    );
  const some = ['10.96.0.5', '10.95.255.255', '192.0.2.7'];
  assert.deepEqual(allowed(to('10.0.0.0/8'), some), ['10.95.255.255']);
  assert.deepEqual(allowed(to('10.96.0.0/24'), some), ['10.96.0.5']);
  assert.deepEqual(allowed(to('192.0.2.7'), some), ['192.0.2.7']);
  assert.deepEqual(allowed(to('192.0.2.7,10.95.0.0/16'), some), ['10.95.255.255', '192.0.2.7']);
  assert.deepEqual(to('192.0.2.0/31'), [{ cidr: '192.0.2.0/31' }]);
  const [rule] = egressOf([{ protocol: 'tcp', destination: '1.2.3.4', ports: '80,8000-9000' }], OWN).rules;
  assert.deepEqual(rule?.ports, [
    { protocol: 'TCP', port: 80 },
    { protocol: 'TCP', port: 8000, endPort: 9000 },
  ]);
  const icmp: SecurityRule[] = [{ protocol: 'icmp', destination: '1.2.3.4', type: 8, code: -1 }];
  assert.deepEqual(egressOf(icmp, OWN), {
    rules: [],
    logged: [],
    icmp: [{ blocks: [{ cidr: '1.2.3.4/32' }], type: 8, code: -1 }],
  });
  const six: SecurityRule[] = [{ protocol: 'all', destination: '2001:db8::/32' }];
  assert.deepEqual(egressOf(six, OWN).rules, [], 'a rule that opens nothing must not become one that opens everything');
  const logged = egressOf(
    [
      { protocol: 'tcp', destination: '1.2.3.4', ports: '80' },
      { protocol: 'tcp', destination: '1.2.3.5', ports: '80', log: true },
      { protocol: 'icmp', destination: '1.2.3.5', type: 8, code: 0, log: true },
    ],
    OWN,
  );
  assert.deepEqual(
    [logged.rules.length, logged.logged, logged.icmp[0]?.log],
    [2, [1], true],
    'what is logged is apart',
  );
});

test('rules are checked, and each problem says where', () => {
  const right: SecurityRule[] = [
    { protocol: 'tcp', destination: '10.0.11.0/24', ports: '80,443', log: true, description: 'web' },
    { protocol: 'udp', destination: '0.0.0.0-9.255.255.255', ports: '53' },
    { protocol: 'icmp', destination: '10.0.11.0/24', type: 0, code: 0 },
    { protocol: 'icmpv6', destination: '2001:db8::1', type: -1, code: -1 },
    { protocol: 'all', destination: '1.1.1.1,2.2.2.0/24,3.3.3.3-3.3.3.9,2001:db8::1-2001:db8::5' },
  ];
  assert.deepEqual(ruleProblems(right), []);
  const wrong: [unknown, RegExp][] = [
    ['x', /must be an array/],
    [[1], /Rules\[0\]: must be an object/],
    [[{ protocol: 'gre', destination: '1.1.1.1' }], /protocol must be/],
    [[{ protocol: 'all', destination: '1.1.1.1', port: '1' }], /unknown field/],
    [[{ protocol: 'all', destination: '1.1.1.300' }], /destination must contain valid/],
    [[{ protocol: 'all', destination: '1.1.1.1, 2.2.2.2' }], /must not contain whitespace/],
    [[{ protocol: 'all' }], /destination must be a string/],
    [[{ protocol: 'all', destination: '1.1.1.1', ports: '80' }], /ports are not allowed/],
    [[{ protocol: 'tcp', destination: '1.1.1.1' }], /ports are required/],
    [[{ protocol: 'tcp', destination: '1.1.1.1', ports: '0' }], /ports must be a valid/],
    [[{ protocol: 'tcp', destination: '1.1.1.1', ports: '90-80' }], /ports must be a valid/],
    [[{ protocol: 'tcp', destination: '1.1.1.1', ports: '80;drop' }], /ports must be a valid/],
    [[{ protocol: 'icmp', destination: '1.1.1.1', code: 0 }], /type is required/],
    [[{ protocol: 'icmp', destination: '1.1.1.1', code: 256, type: 0 }], /between -1 and 255/],
    [[{ protocol: 'all', destination: '1.1.1.1', log: 'yes' }], /log must be a boolean/],
  ];
  for (const [rules, words] of wrong) assert.match(ruleProblems(rules).join('\n'), words, JSON.stringify(rules));
});
