/**
 * A host that ends at once, to every app that it served being served by others: one pod for each app, asked by its address from a host that
 * is left. Three hosts of this machine's own (`testing/hosts.ts`); what decides is how soon the silence is taken for a loss.
 */
import { type Host, openHosts } from '#testing/hosts.ts';
import { type HostsServerOptions, startHostsServer } from '#testing/hosts-server.ts';
import { deploy, isOn, isReady, served } from '#testing/hosts-apps.ts';
import { when } from '#testing/when.ts';
import { pods } from '#cluster/kinds/resources.ts';
import { type Row, median } from './row.ts';

const apps = 12;
const rounds = 3;

export async function run(): Promise<Row[]> {
  const goals = 'at most 10 s (stretch 3 s)';
  return [
    await row({ leaseInterval: 1000, leaseGrace: 4000, tolerationSeconds: 0 }, goals),
    await row({ leaseInterval: 500, leaseGrace: 1500, tolerationSeconds: 0 }, goals),
  ];
}

async function row(settings: Omit<HostsServerOptions, 'address'>, goal: string): Promise<Row> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) times.push(await lose(settings));
  const { leaseInterval, leaseGrace } = settings;
  return {
    what: `host killed to all its pods served elsewhere; leases every ${leaseInterval} ms, lost after ${leaseGrace} ms`,
    unit: 's',
    ours: median(times) / 1000,
    peer: { name: 'Nomad, published', value: 20 },
    goal,
  };
}

/** Milliseconds. */
async function lose(settings: Omit<HostsServerOptions, 'address'>): Promise<number> {
  await using hosts = await openHosts(3);
  await using server = await startHostsServer({ address: hosts.address, ...settings });
  const { client } = server;
  await Promise.all(hosts.list.map((host) => host.start(server.node)));
  const names = Array.from({ length: apps }, (_, index) => `app-${index + 1}`);
  await Promise.all(names.map((name) => deploy(client, name, 1)));
  const placed = await when(client, pods, (list) => list.length === apps && list.every(isReady), 120);
  const count = (host: Host): number => placed.filter((pod) => isOn(pod, host)).length;
  const [lost, left] = hosts.list.toSorted((a, b) => count(b) - count(a)) as [Host, Host, Host];
  const begun = performance.now();
  await lost.die();
  const list = await when(
    client,
    pods,
    (all) => all.filter((pod) => isReady(pod) && !isOn(pod, lost)).length === apps,
    120,
  );
  const ready = list.filter((pod) => isReady(pod) && !isOn(pod, lost));
  await Promise.all(ready.map((pod) => served(left, pod.status?.podIP ?? '')));
  return performance.now() - begun;
}
