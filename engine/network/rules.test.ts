import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Network } from '../networks.ts';
import { renderHosts, renderIsolated, renderTable } from './rules.ts';

const options = {
  instance: 'golden',
  podCidr: '10.86.3.0/24',
  clusterCidr: '10.86.0.0/16',
  serviceCidr: '10.87.0.0/16',
};

const made = { driver: 'bridge' as const, reserved: [], labels: {}, options: {}, createdAt: 0, chosen: false };
const ipv6 = (subnet: string): Network['ipv6'] & object => ({
  subnet: `${subnet}/64`,
  gateway: `${subnet}1`,
  reserved: [],
  chosen: false,
});
const networks: Network[] = [
  {
    ...made,
    id: 'a',
    name: 'a',
    subnet: '172.20.0.0/24',
    gateway: '172.20.0.1',
    internal: false,
    isolated: false,
    ipv6: ipv6('fd86:0:0:a::'),
  },
  {
    ...made,
    id: 'b',
    name: 'b',
    subnet: '172.20.1.0/24',
    gateway: '172.20.1.1',
    internal: true,
    isolated: false,
    ipv6: ipv6('fd86:0:0:b::'),
  },
  { ...made, id: 'c', name: 'c', subnet: '172.20.2.0/24', gateway: '172.20.2.1', internal: false, isolated: true },
];
const port = { sandbox: 's', ip: '172.20.0.5', hostPort: 8080, port: 80, protocol: 'tcp' } as const;
const six = { ...port, ip6: 'fd86:0:0:a::5' };
const published = [
  { ...port, hostIp: '0.0.0.0' },
  { ...port, hostIp: '::' },
  { ...six, hostIp: '::' },
  { ...six, hostPort: 8081, hostIp: '2001:db8::1' },
  { ...six, hostPort: 8082, hostIp: '192.0.2.1' },
];
const state = { isolated: ['10.86.3.9', '10.86.3.4'], published, networks, resolverPort: 4053 };

const overlaid = { ...options, overlay: { vni: 4711, port: 8472, address: '192.0.2.1' } };
const dual = {
  ...overlaid,
  ipv6: { podCidr: 'fd00:86:0:3::/64', clusterCidr: 'fd00:86::/56', serviceCidr: 'fd00:87::/112' },
};
const hosts = ['192.0.2.3', '192.0.2.2'];

test('the table is what the golden file shows', () => {
  for (const [file, table] of [
    ['table.nft', renderTable(options, state)],
    ['overlay.nft', renderTable(overlaid, { ...state, hosts })],
    ['dual-stack.nft', renderTable(dual, { ...state, hosts })],
  ] as const) {
    const golden = fileURLToPath(new URL(`testdata/${file}`, import.meta.url));
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(golden, table);
    assert.equal(table, readFileSync(golden, 'utf8'));
  }
});

test('nft accepts the table', () => {
  for (const input of [
    renderTable(options, { isolated: [] }),
    renderTable(options, state),
    renderTable(overlaid, { isolated: [] }),
    renderTable(overlaid, { ...state, hosts }) + renderHosts('golden', hosts) + renderHosts('golden', []),
    renderTable(dual, { ...state, hosts }) + renderIsolated(dual, 'delete', '10.86.3.9'),
  ]) {
    const check = spawnSync('nft', ['--check', '-f', '-'], { input, encoding: 'utf8' });
    assert.equal(check.stderr, '');
    assert.equal(check.status, 0);
  }
});
