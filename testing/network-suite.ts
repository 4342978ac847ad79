/** The network's tests, for a network namespace of their own: chains that drop are made here, which would harm others elsewhere. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { bridgeName, linkPrefix, tableName } from '#engine/network/names.ts';
import { Network } from '#engine/network/open.ts';

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

test('passes a FORWARD chain that drops, in others’ tables as in iptables, and leaves them as they were', async () => {
  execFileSync('iptables', ['-P', 'FORWARD', 'DROP']);
  execFileSync('nft', ['-f', '-'], {
    input: 'table inet theirs { chain theirs_forward { type filter hook forward priority 0; policy drop; }; }',
  });
  const before = list();
  const network = new Network(options);
  await network.ensure();
  await network.ensure();
  const rules = execFileSync('iptables', ['-S', 'FORWARD'], { encoding: 'utf8' });
  assert.equal(
    rules.match(new RegExp(`-i ${linkPrefix(options.instance)}\\+ .*sampan-network-test.* -j ACCEPT`, 'g'))?.length,
    1,
    rules,
  );
  assert.equal(rules.match(/ACCEPT/g)?.length, 2, rules);
  assert.equal(
    execFileSync('nft', ['list', 'table', 'inet', 'theirs'], { encoding: 'utf8' }).match(
      /accept comment "sampan-network-test"/g,
    )?.length,
    2,
  );
  await network.purge();
  assert.equal(
    list().replace(/counter packets \d+ bytes \d+/g, ''),
    before.replace(/counter packets \d+ bytes \d+/g, ''),
  );
});

test('puts its rules back when somebody flushes them', async () => {
  const network = new Network(options);
  await network.ensure();
  network.watch();
  const hasTable = (): boolean => list().includes(`table inet ${tableName(options.instance)}`);
  // The watch is a process that takes a moment to listen: flush until it was heard.
  for (const end = Date.now() + 15_000; ; ) {
    await network.ensure();
    execFileSync('nft', ['flush', 'ruleset']);
    for (const round = Date.now() + 1000; !hasTable() && Date.now() < round; ) await delay(20);
    if (hasTable()) break;
    assert.ok(Date.now() < end, 'the table was not put back');
  }
  await network.purge();
});
