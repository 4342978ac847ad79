import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { HostError } from './host-error.ts';
import { instanceName, readInstance, requireInstance, runRoot } from './instance.ts';
import { prepareInstance } from './prepare-instance.ts';

const directory = mkdtempSync(join(tmpdir(), 'sampan-instance-'));
const ports = { http: '0', https: '0', kubernetes: '0', registry: '0' };
const flags = (name: string) => ({ name, data: join(directory, name), ...ports });
const names = ['inst-one', 'inst-two', 'inst-taken'];
after(() => {
  rmSync(directory, { recursive: true });
  for (const name of names) rmSync(join(runRoot, name), { recursive: true, force: true });
});

test('what is chosen once stays, and two instances share nothing', async () => {
  const one = await prepareInstance(flags('inst-one'));
  const two = await prepareInstance(flags('inst-two'));
  assert.deepEqual(await prepareInstance(flags('inst-one')), one);
  assert.deepEqual(readInstance(flags('inst-one')), one);
  assert.notEqual(one.slot, two.slot);
  assert.notEqual(one.network.clusterCidr, two.network.clusterCidr);
  assert.ok(
    one.idRange.first + one.idRange.length <= two.idRange.first ||
      two.idRange.first + two.idRange.length <= one.idRange.first,
  );
  const all = [...Object.values(one.ports), ...Object.values(two.ports)];
  assert.equal(new Set(all).size, all.length);
});

test('directories that pods may mount are kept, until they are taken back', async () => {
  const allowHostPath = ['/srv/data'];
  assert.deepEqual((await prepareInstance({ ...flags('inst-one'), allowHostPath })).hostPaths, allowHostPath);
  assert.deepEqual((await prepareInstance(flags('inst-one'))).hostPaths, allowHostPath);
  assert.equal((await prepareInstance({ ...flags('inst-one'), allowHostPath: [''] })).hostPaths, undefined);
});

test('risks and kernel parameters that pods may have are kept, until they are taken back', async () => {
  const given = { allowRisk: ['host-namespaces'], allowSysctl: ['net.core.*'] };
  await prepareInstance({ ...flags('inst-one'), ...given });
  const { risks, sysctls } = await prepareInstance(flags('inst-one'));
  assert.deepEqual({ risks, sysctls }, { risks: ['host-namespaces'], sysctls: ['net.core.*'] });
  assert.equal((await prepareInstance({ ...flags('inst-one'), allowRisk: [''] })).risks, undefined);
  await assert.rejects(prepareInstance({ ...flags('inst-one'), allowRisk: ['everything'] }), /--allow-risk/);
});

test('what was said of the node is kept, and checked before anything is', async () => {
  const given = { maxPods: '30', evictionHard: 'memory.available<200Mi' };
  assert.deepEqual((await prepareInstance({ ...flags('inst-one'), ...given })).node, given);
  assert.deepEqual((await prepareInstance(flags('inst-one'))).node, given);
  await assert.rejects(prepareInstance({ ...flags('inst-one'), maxPods: 'many' }), { code: 'invalid-flag' });
  assert.equal((await prepareInstance({ ...flags('inst-one'), maxPods: '', evictionHard: '' })).node, undefined);
});

test('IPv6 for pods is kept until it is taken back, in ranges of the instance’s own', async () => {
  assert.equal((await prepareInstance(flags('inst-one'))).network.ipv6, undefined);
  const { ipv6 } = (await prepareInstance({ ...flags('inst-one'), dualStack: 'on' })).network;
  assert.match(ipv6?.podCidr ?? '', /^fd[0-9a-f:]+:ff00::\/64$/);
  assert.deepEqual((await prepareInstance(flags('inst-one'))).network.ipv6, ipv6);
  const other = (await prepareInstance({ ...flags('inst-two'), dualStack: 'on' })).network.ipv6;
  assert.notEqual(other?.clusterCidr, ipv6?.clusterCidr);
  assert.equal((await prepareInstance({ ...flags('inst-one'), dualStack: 'off' })).network.ipv6, undefined);
  await assert.rejects(prepareInstance({ ...flags('inst-one'), dualStack: 'yes' }), { code: 'invalid-flag' });
});

test('plugins for links of pods are kept until they are taken back, and must be there', async () => {
  const cniConfig = mkdtempSync(join(directory, 'net.d-'));
  const wrong = prepareInstance({ ...flags('inst-one'), cniConfig });
  await assert.rejects(
    wrong,
    (error: unknown) => error instanceof HostError && /no file that ends in/.test(error.message),
  );
  writeFileSync(join(cniConfig, '1.conflist'), '{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"ptp"}]}');
  const binDirectories = ['/usr/lib/cni', '/opt/cni/bin'];
  const kept = { configDirectory: cniConfig, binDirectories };
  assert.deepEqual((await prepareInstance({ ...flags('inst-one'), cniConfig })).network.cni, kept);
  assert.deepEqual((await prepareInstance(flags('inst-one'))).network.cni, kept);
  await assert.rejects(prepareInstance({ ...flags('inst-one'), cniBin: ['bin'] }), { code: 'invalid-flag' });
  assert.equal((await prepareInstance({ ...flags('inst-one'), cniConfig: '' })).network.cni, undefined);
});

test('a pool for load balancers is kept until another is given, and must be of ranges that nobody else has', async () => {
  const loadBalancerPool = '192.0.2.200/29, 192.0.2.220';
  const pool = ['192.0.2.200/29', '192.0.2.220/32'];
  const one = await prepareInstance({ ...flags('inst-one'), loadBalancerPool });
  assert.deepEqual(one.network.loadBalancerPool, pool);
  assert.deepEqual((await prepareInstance(flags('inst-one'))).network.loadBalancerPool, pool);
  for (const wrong of ['192.0.2.1/29', '10.0.0.0/8', 'x', '192.0.2.0/33', one.network.serviceCidr]) {
    await assert.rejects(prepareInstance({ ...flags('inst-one'), loadBalancerPool: wrong }), { code: 'invalid-flag' });
  }
  const six = { ...flags('inst-one'), loadBalancerPool: '192.0.2.220, 2001:DB8::C8/125, 2001:db8::1:0' };
  await assert.rejects(prepareInstance(six), /no IPv6 \(--dual-stack on\)/);
  const both = await prepareInstance({ ...six, dualStack: 'on' });
  assert.deepEqual(both.network.loadBalancerPool, ['192.0.2.220/32', '2001:db8::c8/125', '2001:db8::1:0/128']);
  for (const wrong of ['2001:db8::c9/125', '2001:db8::/32', both.network.ipv6?.clusterCidr ?? '', 'fe80::1%lo'])
    await assert.rejects(prepareInstance({ ...flags('inst-one'), loadBalancerPool: wrong }), { code: 'invalid-flag' });
  await prepareInstance({ ...flags('inst-one'), dualStack: 'off' });
  const none = await prepareInstance({ ...flags('inst-one'), loadBalancerPool: '' });
  assert.equal(none.network.loadBalancerPool, undefined);
});

test('a port that was asked for and is taken is one clear error', async () => {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '0.0.0.0', done));
  const address = server.address();
  assert.ok(address && typeof address === 'object');
  await assert.rejects(prepareInstance({ ...flags('inst-taken'), http: String(address.port) }), (error) => {
    assert.ok(error instanceof HostError);
    assert.equal(error.code, 'port-taken');
    assert.match(error.message, new RegExp(String(address.port)));
    assert.match(error.remedy, /--http 0/);
    return true;
  });
  server.close();
});

test('names, ports and domains that cannot be are refused', async () => {
  for (const name of ['', 'Upper', '1st', 'with_underscore', '../escape', 'a'.repeat(21), 'end-']) {
    assert.throws(() => instanceName({ name }), HostError, name);
  }
  await assert.rejects(prepareInstance({ ...flags('inst-one'), http: '70000' }), /--http/);
  await assert.rejects(prepareInstance({ ...flags('inst-one'), allowHostPath: ['data'] }), /--allow-host-path/);
  await assert.rejects(prepareInstance({ ...flags('inst-one'), domain: 'no spaces.example' }), /--domain/);
});

test('a data directory belongs to one instance', () => {
  assert.throws(
    () => readInstance({ name: 'another', data: join(directory, 'inst-one') }),
    /belongs to the instance "inst-one"/,
  );
  assert.throws(
    () => requireInstance({ name: 'inst-none', data: join(directory, 'none') }),
    /There is no Sampan instance/,
  );
});

test('a damaged instance file is said, with a remedy', () => {
  writeFileSync(join(directory, 'inst-two', 'instance.json'), '{');
  assert.throws(() => readInstance(flags('inst-two')), /instance\.json is damaged/);
});
