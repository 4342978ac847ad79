/** Hosts that are lost and come back, servers that are away when hosts start, and links of another size. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deployments, nodes, pods } from '#cluster/kinds/resources.ts';
import { type Host, type Hosts, openHosts } from './hosts.ts';
import { deploy, isOn, isReady, namespace, served } from './hosts-apps.ts';
import { type HostsServer, startHostsServer } from './hosts-server.ts';
import { until } from './until.ts';
import { when } from './when.ts';

/** Sooner than by default, and later than a busy machine takes to answer. */
const quick = { leaseInterval: 500, leaseGrace: 30_000, tolerationSeconds: 1 };

test('a host that is lost: its pods are made anew on the other; when it is back it takes away its own', async () => {
  await using hosts = await openHosts(2);
  await using server = await startHostsServer({ address: hosts.address, ...quick });
  const { client } = server;
  const [one, two] = hosts.list as [Host, Host];
  await Promise.all(hosts.list.map((host) => host.start(server.node)));
  await deploy(client, 'web', 4);
  const spread = await when(client, pods, (list) => list.length === 4 && list.every(isReady));
  const lost = spread.filter((pod) => isOn(pod, two));
  assert.ok(lost.length > 0 && lost.length < 4, `${lost.length} of 4 pods on one host`);
  const running = async (): Promise<number> => Number(await two.run('sh', '-c', 'pidof httpd | wc -w'));
  assert.equal(await running(), lost.length);

  two.link('down');
  await when(client, nodes, (list) => list.some((node) => node.metadata.name === two.name && !isReady(node)), 180);
  await when(client, pods, (list) => list.filter((pod) => isReady(pod) && isOn(pod, one)).length === 4, 180);
  // Nobody told them: what runs on the lost host runs on.
  assert.equal(await running(), lost.length);
  // The other host keeps the way to it.
  assert.match(await one.run('ip', 'route'), / dev so/);

  two.link('up');
  await when(client, nodes, (list) => list.length === 2 && list.every(isReady), 180);
  await when(client, nodes, (list) => list.every(({ spec }) => (spec?.taints ?? []).length === 0));
  await until(async () => (await running()) === 0, 180);
  // And it takes new ones.
  await client.patch(deployments, 'web', { type: 'merge', body: { spec: { replicas: 6 } } }, { namespace });
  await when(client, pods, (list) => list.filter(isReady).length === 6 && list.some((pod) => isOn(pod, two)));
});

test('hosts that start while the server is away take up their pods, and their ways to each other', async () => {
  await using hosts = await openHosts(2);
  const [one, two] = hosts.list as [Host, Host];
  const { node, ips } = await deployed(hosts);
  await two.kill();
  // Its certificates and its range are on its disk: the engine opens, and the agent waits for the server.
  const started = two.start(node);
  started.catch(() => undefined);
  const isOpen = 'kill -0 "$(cut -d " " -f 1 /run/*/engine/engine.pid)" 2>&- && echo open || echo closed';
  await until(async () => (await two.run('sh', '-c', isOpen)).trim() === 'open');
  for (const ip of ips) assert.match(await served(one, ip), /^web-/);
});

/** Four pods on two hosts, and the server gone. */
async function deployed(hosts: Hosts): Promise<{ node: HostsServer['node']; ips: string[] }> {
  await using server = await startHostsServer({ address: hosts.address, ...quick });
  await Promise.all(hosts.list.map((host) => host.start(server.node)));
  await deploy(server.client, 'web', 4);
  const list = await when(server.client, pods, (all) => all.length === 4 && all.every(isReady));
  const there = list.filter(({ spec }) => spec?.nodeName === hosts.list[1]?.name);
  return { node: server.node, ips: there.map(({ status }) => status?.podIP ?? '') };
}

test('links that carry large frames give pods large packets', async () => {
  await using hosts = await openHosts(2, { mtu: 9000 });
  await using server = await startHostsServer({ address: hosts.address, ...quick });
  await Promise.all(hosts.list.map((host) => host.start(server.node)));
  const [one, two] = hosts.list as [Host, Host];
  await deploy(server.client, 'web', 2);
  const list = await when(server.client, pods, (all) => all.length === 2 && all.every(isReady));
  const pod = (await two.run('pidof', 'httpd')).trim();
  const link = await two.run('nsenter', '--target', pod, '--net', 'ip', '-o', 'link', 'show', 'eth0');
  assert.match(link, /mtu 8950 /);
  assert.match(await two.run('ip', '-o', 'link', 'show', 'type', 'vxlan'), /mtu 8950 /);
  const ip = list.find((one) => isOn(one, two))?.status?.podIP ?? '';
  await served(one, ip);
});
