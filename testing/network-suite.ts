/** The network's tests, for a network namespace of their own: chains that drop are made here, which would harm others elsewhere. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { bridgeName, linkPrefix, tableName } from '#engine/network/names.ts';
import { Network } from '#engine/network/open.ts';
import { localPool } from '#engine/network/subnets.ts';
import { UserNetworks } from '#engine/network/user-networks.ts';
import type { Network as UserNetwork } from '#engine/networks.ts';
import { until } from './until.ts';

const list = (): string => execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' });

const options = {
  instance: 'network-test',
  podCidr: '10.86.3.0/24',
  clusterCidr: '10.86.0.0/16',
  serviceCidr: '10.87.0.0/16',
  log: () => {},
};

test('is made twice as once, and purged without a rest', async () => {
  const network = new Network(options);
  await network.setEgress('10.86.3.7', 'internet');
  await network.ensure();
  await network.ensure();
  await network.setEgress('10.86.3.8', 'internet');
  assert.match(list(), /elements = \{ 10\.86\.3\.7, 10\.86\.3\.8 \}/);
  await network.setEgress('10.86.3.7', 'cluster');
  assert.match(list(), /elements = \{ 10\.86\.3\.8 \}/);
  assert.match(
    execFileSync('ip', ['-o', 'address'], { encoding: 'utf8' }),
    new RegExp(`${bridgeName(options.instance)}.*10\\.86\\.3\\.1/32`),
  );
  await network.purge();
  await network.purge();
  assert.equal(list(), '');
  assert.doesNotMatch(
    execFileSync('ip', ['-o', 'link'], { encoding: 'utf8' }),
    new RegExp(bridgeName(options.instance)),
  );
  assert.equal(execFileSync('ip', ['route'], { encoding: 'utf8' }), '');
});

test('what is changed while the table is written whole stays changed', async () => {
  const network = new Network(options);
  // So many that the kernel is at it for a while.
  for (let third = 4; third < 16; third += 1)
    for (let last = 0; last < 256; last += 1) await network.setEgress(`10.86.${third}.${last}`, 'internet');
  await network.ensure();
  for (const wait of [0, 5, 10, 20, 40]) {
    const whole = network.ensure();
    await delay(wait);
    await network.setEgress(`10.86.4.${wait}`, 'cluster');
    await whole;
    assert.doesNotMatch(list(), new RegExp(`\\b10\\.86\\.4\\.${wait},`));
  }
  await network.purge();
});

test('passes a FORWARD chain that drops, in others’ tables as in iptables, and leaves them as they were', async () => {
  execFileSync('iptables', ['-P', 'FORWARD', 'DROP']);
  execFileSync('ip6tables', ['-P', 'FORWARD', 'DROP']);
  execFileSync('nft', ['-f', '-'], {
    input: 'table inet theirs { chain theirs_forward { type filter hook forward priority 0; policy drop; }; }',
  });
  const before = list();
  const network = new Network(options);
  await network.ensure();
  await network.ensure();
  for (const program of ['iptables', 'ip6tables']) {
    const rules = execFileSync(program, ['-S', 'FORWARD'], { encoding: 'utf8' });
    assert.equal(
      rules.match(new RegExp(`-i ${linkPrefix(options.instance)}\\+ .*sampan-network-test.* -j ACCEPT`, 'g'))?.length,
      1,
      rules,
    );
    assert.equal(rules.match(/ACCEPT/g)?.length, 4, rules);
  }
  assert.equal(
    execFileSync('nft', ['list', 'table', 'inet', 'theirs'], { encoding: 'utf8' }).match(
      /accept comment "sampan-network-test"/g,
    )?.length,
    4,
  );
  await network.purge();
  assert.equal(
    list().replace(/counter packets \d+ bytes \d+/g, ''),
    before.replace(/counter packets \d+ bytes \d+/g, ''),
  );
});

test('finds its rules in the chains of others where those have rules without number and never leave them alone', {
  timeout: 120_000,
}, async () => {
  const rules = Array.from({ length: 6_000 }, (_, index) => `add rule inet busy many tcp dport ${index + 1} accept\n`);
  const input = `table inet busy { chain many {}; chain busy_forward { type filter hook forward priority 0; policy drop; }; }\n`;
  execFileSync('nft', ['-f', '-'], { input: input + rules.join('') });
  const change = 'nft add rule inet busy changed accept; nft flush chain inet busy changed';
  const changing = spawn('sh', ['-c', `nft add chain inet busy changed; echo begun; while :; do ${change}; done`]);
  try {
    await once(changing.stdout, 'data');
    const network = new Network(options);
    await network.ensure();
    const own = (): number =>
      execFileSync('nft', ['list', 'chain', 'inet', 'busy', 'busy_forward'], { encoding: 'utf8' }).split(
        'accept comment "sampan-network-test"',
      ).length - 1;
    assert.equal(own(), 4);
    await network.purge();
    assert.equal(own(), 0);
  } finally {
    changing.kill('SIGKILL');
    await once(changing, 'close');
    execFileSync('nft', ['delete', 'table', 'inet', 'busy']);
  }
});

const six: UserNetwork = {
  id: 'a'.repeat(64),
  name: 'six',
  driver: 'bridge',
  subnet: '172.20.0.0/24',
  gateway: '172.20.0.1',
  reserved: [],
  chosen: false,
  ipv6: { subnet: 'fd86::/64', gateway: 'fd86::1', reserved: [], chosen: false },
  internal: false,
  isolated: false,
  labels: {},
  options: {},
  createdAt: 0,
};
const addresses = (): string => execFileSync('ip', ['-o', 'address'], { encoding: 'utf8' });
const ipv6 = (name: string, value?: string): string => {
  const path = `/proc/sys/net/ipv6/conf/${name}`;
  if (value !== undefined) writeFileSync(path, value);
  return readFileSync(path, 'utf8').trim();
};

test('where IPv6 is off, networks do without it, and none with it is made', async () => {
  const warnings: string[] = [];
  const network = new Network({ ...options, log: (level, message) => void warnings.push(`${level} ${message}`) });
  ipv6('all/disable_ipv6', '1');
  const directory = mkdtempSync(join(tmpdir(), 'networks-'));
  try {
    network.know([six]);
    await network.ensure();
    assert.match(warnings.join('\n'), /^warn IPv6 was turned off/);
    assert.match(addresses(), /172\.20\.0\.1\/32/);
    const networks = new UserNetworks({
      directory,
      instance: options.instance,
      pool: '172.21.0.0/16',
      ipv6Pool: localPool(options.instance),
      taken: [],
      kernel: network,
    });
    await assert.rejects(networks.create({ name: 'n', ipv6: {} }), {
      code: 'unavailable',
      message: /^cannot create network n with IPv6: .*net\.ipv6\.conf\.all\.disable_ipv6=0/,
    });
    assert.equal((await networks.create({ name: 'n' })).ipv6, undefined);
  } finally {
    ipv6('all/disable_ipv6', '0');
    rmSync(directory, { recursive: true });
    await network.purge();
  }
});

test('a host that begins to forward IPv6 goes on listening to its routers', async () => {
  execFileSync('ip', ['link', 'add', 'outward', 'type', 'veth', 'peer', 'name', 'beyond']);
  ipv6('outward/accept_ra', '1');
  ipv6('default/disable_ipv6', '1');
  const network = new Network(options);
  network.know([six]);
  await network.ensure();
  assert.equal(ipv6('all/forwarding'), '1');
  assert.equal(ipv6('outward/accept_ra'), '2');
  assert.match(addresses(), /fd86::1\/128/);
  await network.purge();
  assert.equal(execFileSync('ip', ['-6', 'route'], { encoding: 'utf8' }).includes('fd86'), false);
  execFileSync('ip', ['link', 'delete', 'outward']);
});

test('what pods had of IPv6 goes with the flag, and stays where a network has it', async () => {
  ipv6('default/disable_ipv6', '0');
  const ranges = { podCidr: 'fd00:86:0:3::/64', clusterCidr: 'fd00:86::/56', serviceCidr: 'fd00:87::/112' };
  const routes = (): string => execFileSync('ip', ['-6', 'route'], { encoding: 'utf8' });
  const dual = new Network({ ...options, ipv6: ranges });
  dual.know([six]);
  await dual.ensure();
  assert.match(addresses(), /fd00:86:0:3::1\/128/);
  assert.match(routes(), /unreachable fd00:86:0:3::\/64/);
  const single = new Network(options);
  single.know([six]);
  await single.ensure();
  assert.doesNotMatch(addresses() + routes(), /fd00:86:0:3/);
  assert.match(addresses(), /fd86::1\/128/);
  await single.purge();
  await dual.ensure();
  const last = new Network(options);
  last.know([six]);
  await last.purge();
  assert.doesNotMatch(addresses() + routes(), /fd00:86:0:3|fd86/);
  const wrong = [{ podCidr: 'fd00:86:0:3::/80' }, { podCidr: 'fd00:99::/64' }, { serviceCidr: 'fd00:86::/112' }];
  for (const one of wrong)
    assert.throws(() => new Network({ ...options, ipv6: { ...ranges, ...one } }), { code: 'invalid' });
});

test('puts its rules back when somebody takes them out: all of them, one rule, an element', async () => {
  const warnings: string[] = [];
  const network = new Network({ ...options, log: (_level, message) => void warnings.push(message) });
  await network.setEgress('10.86.3.7', 'internet');
  await network.ensure();
  const table = tableName(options.instance);
  const own = (): string => spawnSync('nft', ['list', 'table', 'inet', table], { encoding: 'utf8' }).stdout;
  const before = own();
  network.watch();
  // The watch is a process that takes a moment to listen; then it looks for what was lost before that.
  execFileSync('nft', ['flush', 'ruleset']);
  await until(async () => own() === before, 30);
  for (const command of [
    ['flush', 'ruleset'],
    ['flush', 'chain', 'inet', table, 'spoofing'],
    ['delete', 'element', 'inet', table, 'isolated', '{ 10.86.3.7 }'],
  ]) {
    execFileSync('nft', command);
    await until(async () => own() === before, 30);
  }
  assert.match(warnings.join('\n'), /taken out by somebody else/);
  await network.purge();
});

test('neighbours are told at once who has an address now, of either family', async () => {
  const there = spawn('unshare', ['--net', 'sh', '-c', 'ip link set lo up; echo ready; exec sleep infinity']);
  try {
    await once(there.stdout, 'data');
    const inside = ['nsenter', '--target', String(there.pid), '--net', '--', 'ip'];
    const ip = (...words: string[]): string => execFileSync('ip', words, { encoding: 'utf8' });
    const ipThere = (...words: string[]): string =>
      execFileSync(inside[0] ?? '', [...inside.slice(1), ...words], { encoding: 'utf8' });
    ipv6('default/disable_ipv6', '0');
    ip('link', 'add', 'here', 'type', 'veth', 'peer', 'name', 'there', 'netns', String(there.pid));
    ip('address', 'add', '192.0.2.65/26', 'dev', 'here');
    ip('-6', 'address', 'add', '2001:db8::65/64', 'dev', 'here', 'nodad');
    ip('link', 'set', 'here', 'up');
    ipThere('address', 'add', '192.0.2.66/26', 'dev', 'there');
    ipThere('-6', 'address', 'add', '2001:db8::66/64', 'dev', 'there', 'nodad');
    ipThere('link', 'set', 'there', 'up');
    const mac = /link\/ether (\S+)/.exec(ip('link', 'show', 'here'))?.[1] ?? 'none';
    const network = new Network(options);
    for (const [address, family] of [
      ['192.0.2.100', '-4'],
      ['2001:db8::100', '-6'],
    ] as const) {
      // It knew another, and sends there until it is told.
      ipThere('neighbour', 'replace', address, 'lladdr', '02:00:00:00:00:01', 'dev', 'there', 'nud', 'stale');
      await until(async () => {
        network.announce([address, '198.51.100.7']);
        return ipThere(family, 'neighbour', 'show', address).includes(mac);
      }, 30);
    }
    ip('link', 'delete', 'here');
  } finally {
    there.kill('SIGKILL');
  }
});

test('peers are exactly those that were said last, however often whoever said others was killed', async () => {
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  execFileSync('ip', ['address', 'add', '192.0.2.1/32', 'dev', 'lo']);
  const before = list();
  const overlaid = { ...options, overlay: { vni: 4711, port: 8472, address: '192.0.2.1' } };
  const fixture = fileURLToPath(new URL('peers-chaos.fixture.ts', import.meta.url));
  const flags = ['--experimental-ffi', '--disable-warning=ExperimentalWarning'];
  for (let round = 0; round < 5; round += 1) {
    const child = spawn(process.execPath, [...flags, fixture, JSON.stringify(overlaid)]);
    await once(child.stdout, 'data');
    // Not a wait for anything: the moment of the kill is what varies.
    await delay(5 + round * 7);
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  const network = new Network(overlaid);
  await network.ensure();
  const known = network.peers();
  const hosts = /set hosts \{[^}]*elements = \{([^}]*)\}/.exec(list())?.[1] ?? '';
  assert.deepEqual(
    hosts
      .split(',')
      .map((one) => one.trim())
      .filter((one) => one !== '')
      .sort(),
    known.map(({ address }) => address).sort(),
    'the rules are for the peers that the kernel knows',
  );
  const peers = [
    { address: '192.0.2.11', range: '10.86.40.0/24' },
    { address: '192.0.2.12', range: '10.86.41.0/24' },
  ];
  await network.setPeers(peers);
  assert.deepEqual(network.peers(), peers);
  const device = execFileSync('ip', ['-o', 'link', 'show', 'type', 'vxlan'], { encoding: 'utf8' }).split(': ')[1] ?? '';
  const lines = (...args: string[]): string[] =>
    execFileSync(args[0] ?? '', args.slice(1), { encoding: 'utf8' })
      .trim()
      .split('\n')
      .map((line) => line.trim())
      .sort();
  assert.deepEqual(lines('bridge', 'fdb', 'show', 'dev', device), [
    '02:73:0a:56:28:00 dst 192.0.2.11 self permanent',
    '02:73:0a:56:29:00 dst 192.0.2.12 self permanent',
  ]);
  assert.deepEqual(lines('ip', 'neighbour', 'show', 'nud', 'permanent', 'dev', device), [
    '10.86.40.0 lladdr 02:73:0a:56:28:00 PERMANENT',
    '10.86.41.0 lladdr 02:73:0a:56:29:00 PERMANENT',
  ]);
  assert.deepEqual(lines('ip', 'route', 'show', 'dev', device), [
    '10.86.40.0/24 via 10.86.40.0 proto static src 10.86.3.1 onlink',
    '10.86.41.0/24 via 10.86.41.0 proto static src 10.86.3.1 onlink',
  ]);
  await assert.rejects(network.setPeers([{ address: '192.0.2.1', range: '10.86.42.0/24' }]), { code: 'invalid' });
  await assert.rejects(network.setPeers([{ address: '192.0.2.11', range: '10.86.3.0/25' }]), { code: 'invalid' });
  assert.deepEqual(network.peers(), peers);
  await network.purge();
  assert.equal(list(), before);
  assert.equal(execFileSync('ip', ['route'], { encoding: 'utf8' }), '');
});
