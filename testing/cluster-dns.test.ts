/** Names as pods find them: a real agent and engine, the name server in a process of its own, busybox's and our own resolver. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import { endpointSlices, services } from '#cluster/kinds/resources.ts';
import type { Pod, ServiceSpec } from '#cluster/kinds/types/core.ts';
import { RecordType, ResponseCode } from '#lib/dns/message.ts';
import { answersOf, readReply } from '#lib/dns/received.ts';
import { hostResolver, renderResolver } from '#lib/dns/resolv-conf.ts';
import { claimOctet } from './claim-octet.ts';
import { type DnsBed, openDnsBed } from './dns-bed.ts';
import { questionOf } from './dns-fuzz.ts';
import { connects, refusal } from './pod-sockets.ts';
import { until } from './until.ts';

const namespace = 'default';
const domain = 'cluster.local';
let bed: DnsBed;
let pod: Stored<Pod>;

before(async () => {
  bed = await openDnsBed(await claimOctet(), { 'www.example.com': '192.0.2.53' });
  await bed.startServer();
  pod = await bed.run('asker');
});
after(() => bed[Symbol.asyncDispose]());

async function inPod(name: string, script: string): Promise<string> {
  const session = await bed.node.client.exec({ name, namespace }, { command: ['sh', '-c', `${script} 2>&1`] });
  return await text(session.stdout);
}

async function serve(name: string, spec: ServiceSpec): Promise<void> {
  await bed.node.client.create(services, { metadata: { name, namespace }, spec });
}

/** Codes and answers, as one that asks by itself sees them. */
async function ask(name: string, type: number): Promise<{ code: number; answers: string[] }> {
  const received = readReply(await bed.ask('asker', questionOf(name, type, { size: 1232 })));
  assert.ok(received !== undefined);
  const shown = (answersOf(received) ?? []).map(({ data }) =>
    data.map((part) => (typeof part === 'string' ? part : [...part].join('.'))).filter((part) => part !== ''),
  );
  return { code: received.code, answers: shown.map((parts) => parts.join(' ')) };
}

const whole = (name: string): string => `${name}.${namespace}.svc.${domain}`;

test('a service is found by its short name, as soon as it is there', async () => {
  assert.equal(
    await inPod('asker', 'cat /etc/resolv.conf'),
    renderResolver({
      servers: [bed.dns.clusterIp],
      searches: [`${namespace}.svc.${domain}`, `svc.${domain}`, domain, ...hostResolver().searches],
      options: ['ndots:5'],
    }),
  );
  await serve('shop', { ports: [{ name: 'http', port: 80 }] });
  const { spec } = await bed.node.client.get(services, 'shop', namespace);
  await until(async () => (await ask(whole('shop'), RecordType.a)).answers.length > 0);
  for (const name of ['shop', whole('shop'), `${whole('shop')}.`])
    assert.match(await inPod('asker', `nslookup ${name}`), new RegExp(`Address(:| 1:) ${spec?.clusterIP}`), name);
  // What the C library makes of the search path.
  const said = await inPod('asker', `timeout -s INT 1 ping -c 1 SHOP.${namespace}`);
  assert.ok(said.startsWith(`PING SHOP.${namespace} (${spec?.clusterIP})`), said);
  assert.deepEqual(await ask(`_http._tcp.${whole('shop')}`, RecordType.srv), {
    code: ResponseCode.ok,
    answers: [`0.0.0.100.0.80 ${whole('shop')}`],
  });
  assert.match(await inPod('asker', `nslookup ${spec?.clusterIP}`), new RegExp(whole('shop')));
  const { clusterIp: ip } = bed.dns;
  await connects(bed.networkOf('asker'), { ip, port: 53, signal: AbortSignal.timeout(30_000) });
  assert.equal((await ask(whole('shop'), RecordType.aaaa)).code, ResponseCode.ok);
  assert.equal((await ask(whole('nobody'), RecordType.a)).code, ResponseCode.noSuchName);
});

test('pods of a headless service, by their host names and addresses; a name of elsewhere; the router', async () => {
  await serve('cache', { clusterIP: 'None', selector: { app: 'asker' }, ports: [{ name: 'tcp', port: 6379 }] });
  await serve('far', { type: 'ExternalName', externalName: 'www.example.com' });
  const ip = pod.status?.podIP ?? '';
  await bed.node.client.create(endpointSlices, {
    metadata: { name: 'cache-1', namespace, labels: { 'kubernetes.io/service-name': 'cache' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [ip], hostname: 'one', conditions: { ready: true } }],
    ports: [{ name: 'tcp', port: 6379, protocol: 'TCP' }],
  });
  await until(async () => (await ask(whole('cache'), RecordType.a)).answers.length > 0);
  assert.deepEqual((await ask(whole('one.cache'), RecordType.a)).answers, [ip]);
  const dashed = ip.replaceAll('.', '-');
  assert.deepEqual((await ask(`${dashed}.${namespace}.pod.${domain}`, RecordType.a)).answers, [ip]);
  assert.match(await inPod('asker', `nslookup ${ip}`), new RegExp(whole('one.cache')));
  assert.match(await inPod('asker', 'nslookup far'), /192\.0\.2\.53/);
  assert.match(await inPod('asker', 'nslookup www.example.com'), /192\.0\.2\.53/);
  assert.deepEqual((await ask('hello.apps.test', RecordType.a)).answers, [bed.dns.gateway]);
});

test('a pod of a headless service knows its whole name; a build keeps the servers of the host', async () => {
  await bed.run('named', { hostname: 'two', subdomain: 'cache', setHostnameAsFQDN: true });
  const name = whole('two.cache');
  assert.match(await inPod('named', 'cat /etc/hosts'), new RegExp(`^[\\d.]+\t${name}$`, 'm'));
  assert.equal(await inPod('named', 'hostname'), `${name}\n`);
  await bed.run('build', {}, { 'node.sampan.dev/egress': 'internet' });
  assert.equal(await inPod('build', 'cat /etc/resolv.conf'), renderResolver(hostResolver()));
});

test('killed, it refuses at once, and answers again where it was', async () => {
  const port = await startedPort();
  await bed.killServer();
  const at = { ip: bed.dns.clusterIp, port: 53, signal: AbortSignal.timeout(30_000) };
  assert.equal(await refusal(bed.networkOf('asker'), at), 'ECONNREFUSED', 'a resolver goes on to its other server');
  assert.match(await inPod('asker', `nslookup ${whole('shop')}`), /refused|no servers could be reached|can't resolve/);
  assert.equal(await bed.startServer(), port);
  assert.equal((await ask(whole('shop'), RecordType.a)).answers.length, 1);
});

async function startedPort(): Promise<number> {
  const chain = execFileSync('nft', ['list', 'chain', 'inet', `sampan-${bed.dns.instance}.dns`, 'local'], {
    encoding: 'utf8',
  });
  return Number(/udp dport 53 dnat ip to [\d.]+:(\d+)/.exec(chain)?.[1]);
}

test('a table that somebody removed is put back', async () => {
  execFileSync('nft', ['delete', 'table', 'inet', `sampan-${bed.dns.instance}.dns`]);
  await until(async () => {
    const tables = execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' });
    return tables.includes(`sampan-${bed.dns.instance}.dns`);
  });
  await until(async () => (await ask(whole('shop'), RecordType.a)).answers.length === 1);
});
