/** Networks of users, over the real kernel: what it has of them is what the engine says, whenever the engine was killed. */
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { on, once } from 'node:events';
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { questionOf } from '#testing/dns-fuzz.ts';
import { engineOptionsForTest, openEngineHost, removeAll } from '#testing/engine-host.ts';
import type { Sandbox } from '../engine.ts';
import { type Cidr, overlap, parseCidr } from '../network/addresses.ts';
import { bridgeName, linkName, linkPrefix, tableName } from '../network/names.ts';
import { localPool } from '../network/subnets.ts';
import type { Network } from '../networks.ts';
import { type OpenedEngine, openEngine, stopContainers } from '../open.ts';
import type { EngineOptions } from '../options.ts';
import { attachmentsOf } from './attachments.ts';

const chaos = fileURLToPath(new URL('../../testing/network-chaos.ts', import.meta.url));
const ROUNDS = Number(process.env['SAMPAN_KILL_ROUNDS'] ?? 10);
const said = (program: string, ...words: string[]): string => execFileSync(program, words, { encoding: 'utf8' });
const sorted = (list: Iterable<string>): string[] => [...list].sort();

/** Of IPv4 and, where there are such networks, of IPv6: routes, gateways, sets, and the addresses within each sandbox. */
function agree(engine: OpenedEngine, { instance, network }: EngineOptions): void {
  const { bridge } = engine.info();
  const networks = engine.networks.list();
  const pool = parseCidr(network.networkPool ?? '');
  agreeOn({ engine, instance, family: 4, pool, gateways: [bridge.gateway], networks });
  const six = networks.flatMap(({ ipv6, ...rest }) => (ipv6 === undefined ? [] : [{ ...rest, ...ipv6 }]));
  agreeOn({ engine, instance, family: 6, pool: localPool(instance), gateways: [], networks: six });
}

interface Agreement {
  engine: OpenedEngine;
  instance: string;
  family: 4 | 6;
  pool: Cidr;
  gateways: string[];
  networks: Pick<Network, 'subnet' | 'gateway' | 'internal'>[];
}

function agreeOn({ engine, instance, family, pool, gateways, networks }: Agreement): void {
  const version = `-${family}`;
  const suffix = family === 6 ? '6' : '';
  const routes = said('ip', version, '-o', 'route');
  const unreachable = [...routes.matchAll(/^unreachable (\S+\/\d+)/gm)].map(([, subnet = '']) => subnet);
  assert.deepEqual(
    sorted(unreachable.filter((subnet) => overlap(parseCidr(subnet), pool))),
    sorted(networks.map(({ subnet }) => subnet)),
  );
  const shown = said('ip', version, '-o', 'address', 'show', 'dev', bridgeName(instance), 'scope', 'global');
  assert.deepEqual(
    sorted([...shown.matchAll(/inet6? ([^/]+)\/(?:32|128)/g)].map(([, ip = '']) => ip)),
    sorted([...gateways, ...networks.map(({ gateway }) => gateway)]),
  );
  const elements = (set: string): string[] => {
    const text = said('nft', 'list', 'set', 'inet', tableName(instance), `${set}${suffix}`);
    return (/elements = \{([^}]*)\}/.exec(text)?.[1] ?? '')
      .split(',')
      .map((one) => one.trim())
      .filter(Boolean);
  };
  assert.deepEqual(sorted(elements('networks')), sorted(networks.map(({ subnet }) => subnet)));
  assert.deepEqual(
    sorted(elements('internal')),
    sorted(networks.filter(({ internal }) => internal).map(({ subnet }) => subnet)),
  );
  assert.deepEqual(sorted(elements('peers')), sorted(networks.map(({ subnet }) => `${subnet} . ${subnet}`)));
  for (const sandbox of engine.sandboxes())
    assert.deepEqual(addressesOf(sandbox, version), sorted(ipsOf(sandbox, family)));
  const wanted = engine
    .sandboxes()
    .flatMap((one) => ipsOf(one, family).map((ip) => `${ip} ${linkName(instance, one.id)}`));
  const known = new Set(engine.sandboxes().map(({ id }) => linkName(instance, id)));
  const routed = [...routes.matchAll(new RegExp(`^(\\S+) dev (${linkPrefix(instance)}\\S+)`, 'gm'))];
  assert.deepEqual(
    sorted(routed.flatMap(([, ip = '', link = '']) => (known.has(link) && !ip.includes('/') ? [`${ip} ${link}`] : []))),
    sorted(wanted),
  );
}

const ipsOf = (sandbox: Sandbox, family: 4 | 6): string[] =>
  attachmentsOf(sandbox).flatMap(({ ip, ip6 }) => (family === 4 ? [ip] : ip6 === undefined ? [] : [ip6]));

function addressesOf({ networkNamespacePath }: Sandbox, version: string): string[] {
  const words = ['ip', version, '-o', 'address', 'show', 'dev', 'eth0', 'scope', 'global'];
  const text = said('nsenter', `--net=${networkNamespacePath}`, ...words);
  return sorted([...text.matchAll(/inet6? ([^/]+)\/(?:32|128)/g)].map(([, ip = '']) => ip));
}

test('an engine that is killed while it changes networks leaves nothing in between', { timeout: 900_000 }, async () => {
  const options = { ...engineOptionsForTest(), sandboxPool: 1 };
  const { log: _log, ...plain } = options;
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      const child = spawn(process.execPath, ['--experimental-ffi', chaos, JSON.stringify(plain)], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const steps = on(createInterface({ input: child.stdout }), 'line');
      for (let wanted = randomInt(1, 24); wanted > 0; wanted -= 1) await steps.next();
      // Somewhere within the step: the moment is the random part of the test; nothing is waited for.
      await delay(randomInt(20));
      child.kill('SIGKILL');
      await once(child, 'close');
      const engine = await openEngine(options);
      try {
        agree(engine, options);
        for (const { id } of engine.sandboxes()) await engine.removeSandbox(id);
        for (const { id } of engine.networks.list()) await engine.networks.remove(id);
        agree(engine, options);
      } finally {
        await engine.close();
      }
    }
  } finally {
    await removeAll(options);
  }
});

test('networks outlive the engine and a boot of the machine; who is in them, the engine', {
  timeout: 300_000,
}, async () => {
  await using host = await openEngineHost();
  const made = await host.engine.networks.create({ name: 'kept', labels: { a: 'b' } });
  const closed = await host.engine.networks.create({ name: 'closed', internal: true });
  const { id } = await host.engine.createSandbox({
    name: 'in',
    hostname: 'in',
    mac: '02:42:00:00:00:09',
    networks: [{ network: closed.id }, { network: made.id, aliases: ['one', 'two'], links: { friend: 'one' } }],
  });
  const before = host.engine.sandbox(id);
  assert.equal(before?.ip, before?.networks?.[1]?.ip, 'the first that is not internal');
  await host.reopen();
  agree(host.engine, host.options);
  assert.deepEqual(host.engine.sandbox(id), before);
  assert.deepEqual(host.engine.networks.list(), [made, closed]);
  await assert.rejects(host.engine.networks.remove(made.id), { code: 'conflict' });
  await host.engine.close();
  await stopContainers(host.options, { graceSeconds: 0 });
  assert.doesNotMatch(said('ip', '-o', 'route'), new RegExp(`unreachable ${made.subnet}`));
  rmSync(`${host.options.runDirectory}/engine`, { recursive: true, force: true });
  await host.reopen();
  agree(host.engine, host.options);
  assert.deepEqual(host.engine.networks.list(), [made, closed]);
  const again = await host.engine.createSandbox({
    name: 'again',
    hostname: 'again',
    networks: [{ network: made.id, preferredIp: before?.ip ?? '' }],
  });
  assert.equal(again.ip, before?.ip);
  agree(host.engine, host.options);
});

test('addresses are given once, and taken back', { timeout: 300_000 }, async () => {
  await using host = await openEngineHost({ sandboxPool: 0 });
  const { networks } = host.engine;
  const [first = ''] = (host.options.network.networkPool ?? '').split('/');
  const small = await networks.create({ name: 'small', subnet: `${first}/29`, reserved: [first.replace(/0$/, '2')] });
  const sandbox = async (ip?: string): Promise<Sandbox> =>
    await host.engine.createSandbox({
      name: `${Math.random()}`,
      hostname: 'h',
      networks: [{ network: small.id, ...(ip === undefined ? {} : { ip }) }],
    });
  const four = await Promise.all([sandbox(), sandbox(), sandbox(), sandbox()]);
  assert.deepEqual(sorted(four.map(({ ip }) => ip.split('.').at(-1) ?? '')), ['3', '4', '5', '6']);
  await assert.rejects(sandbox(), { code: 'exhausted' });
  await assert.rejects(sandbox(four[0]?.ip), { code: 'conflict', message: 'Address already in use' });
  await host.engine.removeSandbox(four[2]?.id ?? '');
  assert.equal((await sandbox(four[2]?.ip)).ip, four[2]?.ip);
  for (const wish of [{ network: 'nothing' }, { network: small.id }, { network: 'bridge', ip: '10.1.1.1' }])
    await assert.rejects(networks.connect(four[0]?.id ?? '', wish), { name: 'EngineError' });
  await assert.rejects(networks.create({ name: 'same', subnet: `${first}/24` }), { code: 'conflict' });
  await assert.rejects(networks.create({ name: 'pods', subnet: host.options.network.podCidr }), { code: 'conflict' });
  agree(host.engine, host.options);
  const begun = performance.now();
  const other = await networks.create({ name: 'other' });
  const created = performance.now();
  for (let round = 0; round < 50; round += 1) {
    await networks.connect(four[0]?.id ?? '', { network: other.id });
    await networks.disconnect(four[0]?.id ?? '', other.id);
  }
  const each = (performance.now() - created) / 100;
  if (process.env['SAMPAN_TIMES'] !== undefined)
    process.stderr.write(`create ${(created - begun).toFixed(1)} ms, connect or disconnect ${each.toFixed(2)} ms\n`);
  agree(host.engine, host.options);
});

test('what an engine that was killed left of an address goes, also of one that was in no other network', {
  timeout: 300_000,
}, async () => {
  await using host = await openEngineHost({ sandboxPool: 0 });
  const { id: network } = await host.engine.networks.create({ name: 'left' });
  const spec = { name: 'alone', hostname: 'alone', networks: [{ network }] };
  const { id, ip, networkNamespacePath } = await host.engine.createSandbox(spec);
  await host.engine.networks.disconnect(id, network);
  // As between the record and the link.
  said('nsenter', `--net=${networkNamespacePath}`, 'ip', 'address', 'add', `${ip}/32`, 'dev', 'eth0');
  await host.reopen();
  agree(host.engine, host.options);
});

test('who asks for names without end is held back, and the others are answered', { timeout: 300_000 }, async () => {
  await using host = await openEngineHost({ sandboxPool: 0 });
  const { id } = await host.engine.networks.create({ name: 'asked' });
  const inside = async (name: string): Promise<Sandbox> =>
    await host.engine.createSandbox({ name, hostname: name, networks: [{ network: id, aliases: [name] }] });
  const [flood, calm] = [await inside('flood'), await inside('calm')];
  const container = await host.engine.createContainer({
    sandbox: calm.id,
    name: 'main',
    image: host.image,
    command: ['sleep', '1000'],
  });
  await host.engine.startContainer(container.id);
  const question = questionOf('calm', 1).toString('base64');
  const script = `
    const socket = require('node:dgram').createSocket('udp4');
    const question = Buffer.from('${question}', 'base64');
    const [asked, patience] = process.argv.slice(1).map(Number);
    let answers = 0;
    const end = () => { console.log(answers); process.exit(); };
    socket.on('message', () => { answers += 1; if (answers === asked) end(); });
    socket.connect(53, '${host.engine.info().bridge.gateway}', () => {
      let left = asked;
      const send = () => left-- > 0 ? socket.send(question, send) : setTimeout(end, patience);
      send();
    });`;
  // The server is in this process: it must not wait for who asks it.
  const answered = async (sandbox: Sandbox, questions: number, patience: number): Promise<number> => {
    const net = `--net=${sandbox.networkNamespacePath}`;
    const words = [net, process.execPath, '-e', script, String(questions), String(patience)];
    return Number((await promisify(execFile)('nsenter', words)).stdout);
  };
  const begun = Date.now();
  const many = await answered(flood, 40_000, 500);
  const seconds = (Date.now() - begun) / 1000;
  assert.ok(many > 0 && many <= 2000 + 2000 * seconds, `${many} answers in ${seconds} s`);
  assert.equal(await answered(calm, 3, 60_000), 3);
  const byTcp = `
    const question = Buffer.from('${question}', 'base64');
    const socket = require('node:net').connect(53, '${host.engine.info().bridge.gateway}');
    socket.write(Buffer.concat([Buffer.from([0, question.length]), question]));
    socket.once('data', (reply) => { console.log([...reply.subarray(-4)].join('.')); socket.destroy(); });`;
  const words = [`--net=${calm.networkNamespacePath}`, process.execPath, '-e', byTcp];
  assert.equal((await promisify(execFile)('nsenter', words)).stdout.trim(), calm.ip);
});

test('a port that one engine published is taken for another engine too', { timeout: 300_000 }, async () => {
  await using one = await openEngineHost({ sandboxPool: 0 });
  await using two = await openEngineHost({ sandboxPool: 0 });
  const make = async (host: typeof one): Promise<string> =>
    (await host.engine.createSandbox({ name: 'a', hostname: 'a' })).id;
  const [first, second] = [await make(one), await make(two)];
  for (const protocol of ['tcp', 'udp'] as const) {
    const [published] = await one.engine.publishPorts(first, [{ hostPort: 0, port: 80, protocol }]);
    assert.ok(published !== undefined);
    const taken = { code: 'conflict', message: /port is already allocated/ };
    await assert.rejects(two.engine.publishPorts(second, [published]), taken);
    await one.reopen();
    await assert.rejects(two.engine.publishPorts(second, [{ ...published, hostIp: '127.0.0.1' }]), taken);
    await one.engine.publishPorts(first, []);
    await two.engine.publishPorts(second, [published]);
    await two.engine.publishPorts(second, []);
  }
});
