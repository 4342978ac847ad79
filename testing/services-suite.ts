/** The table of services in the kernel, for a network namespace of its own: what flushes all rules would harm others elsewhere. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { afterEach, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { KernelTable, removeTable } from '#cluster/network/services/kernel-table.ts';
import { renderService, renderTable, tableName } from '#cluster/network/services/rules.ts';
import type { ServicePort } from '#cluster/network/services/services.ts';
import type { Table } from '#cluster/network/services/table.ts';
import { coalesced } from '#lib/coalesced.ts';
import { tableContents } from './nft-table.ts';
import { until } from './until.ts';

const network = {
  instance: 'kernel-test',
  podCidr: '10.86.3.0/24',
  clusterCidr: '10.86.0.0/16',
  serviceCidr: '10.87.0.0/16',
};
const name = tableName(network.instance);
const nft = (...words: string[]): string => execFileSync('nft', words, { encoding: 'utf8' });
const list = () => tableContents(name);

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

function someService(index: number, chance: () => number): ServicePort {
  const backends = [5, 6, 7, 8]
    .filter(() => chance() < 0.6)
    .map((host) => ({ ip: `10.86.3.${host}`, port: 8000 + Math.floor(chance() * 2) }));
  return {
    name: `default/service-${index}:http`,
    family: 4,
    protocol: chance() < 0.5 ? 'tcp' : 'udp',
    port: 80,
    clusterIp: `10.87.0.${10 + index}`,
    ...(chance() < 0.4 && { nodePort: 30_000 + index }),
    externalIps: chance() < 0.2 ? ['198.51.100.4'] : [],
    loadBalancerIps: chance() < 0.3 ? [`192.0.2.${100 + index}`] : [],
    sourceRanges: chance() < 0.5 ? ['203.0.113.0/24'] : [],
    ...(chance() < 0.4 && { affinitySeconds: chance() < 0.5 ? 60 : 600 }),
    internalPolicy: chance() < 0.3 ? 'Local' : 'Cluster',
    externalPolicy: chance() < 0.5 ? 'Local' : 'Cluster',
    backends: { Cluster: backends, Local: backends.filter(() => chance() < 0.5) },
  };
}

const someTable = (chance: () => number): Table =>
  renderTable(
    network,
    Array.from({ length: 12 }, (_, index) => index)
      .filter(() => chance() < 0.8)
      .map((index) => renderService(network, [someService(index, chance)])),
    chance() < 0.5 ? ['192.0.2.100'] : [],
  );

const refused: unknown[] = [];
const open = (): KernelTable => new KernelTable(name, (error) => refused.push(error));

afterEach(async () => {
  assert.deepEqual(refused.splice(0), []);
  await removeTable(name);
});

test('any state leads to any other by a difference, and to the same as a table made anew', async () => {
  const chance = random(7);
  const table = open();
  for (let round = 0; round < 24; round++) {
    const wanted = someTable(chance);
    await table.write(wanted);
    if (round % 6 !== 0) continue;
    const byDifference = list();
    await removeTable(name);
    await open().write(wanted);
    assert.deepEqual(byDifference, list(), `round ${round}`);
  }
});

test('a table that somebody else wrote is taken over, with who is kept with whom', async () => {
  const chance = random(11);
  for (let round = 0; round < 4; round++) {
    await open().write(someTable(chance));
    const wanted = someTable(chance);
    await open().write(wanted);
    const taken = list();
    await removeTable(name);
    await open().write(wanted);
    assert.deepEqual(taken, list(), `round ${round}`);
  }
  const sticky: ServicePort = {
    ...someService(1, random(3)),
    protocol: 'tcp',
    affinitySeconds: 600,
    internalPolicy: 'Cluster',
    backends: { Cluster: [{ ip: '10.86.3.5', port: 80 }], Local: [] },
  };
  const table = renderTable(network, [renderService(network, [sticky])], []);
  await open().write(table);
  const set = [...table.keys()].find((one) => one.endsWith('-600')) ?? '';
  nft('add', 'element', 'inet', name, set, '{', '10.86.9.9', '}');
  await open().write(table);
  assert.match(nft('list', 'set', 'inet', name, set), /10\.86\.9\.9/);
});

test('what is the same is no transaction', async () => {
  const chance = random(5);
  const wanted = someTable(chance);
  const table = open();
  await table.write(wanted);
  const generation = (): string => nft('-j', 'list', 'table', 'inet', name);
  const handles = generation();
  await table.write(renderTable(network, [], []));
  await table.write(wanted);
  assert.notEqual(generation(), handles);
  const again = generation();
  await table.write(new Map(wanted));
  assert.equal(generation(), again);
});

test('whatever is taken out is written again: all, a rule, an element, a chain', async () => {
  const table = open();
  const chance = random(13);
  const wanted = renderTable(
    network,
    [1, 2, 3].map((index) => renderService(network, [everywhere(index, chance)])),
    [],
  );
  const write = coalesced(() => table.write(wanted));
  let writing = 0;
  table.watch(() => {
    writing++;
    void write().finally(() => writing--);
  });
  await table.write(wanted);
  const before = list();
  // What is taken out in the middle of a write is put back by that very write, or has it rejected.
  const isBack = (): Promise<void> =>
    until(async () => writing === 0 && nft('list', 'tables').includes(name) && isDeepStrictEqual(list(), before));
  // The watch is a process that takes a moment to listen; then it looks for what was lost before that.
  nft('flush', 'chain', 'inet', name, 'frontends');
  await isBack();
  for (const command of [
    () => ['flush', 'ruleset'],
    () => ['delete', 'rule', 'inet', name, 'leaving', 'handle', handleIn('leaving')],
    () => ['flush', 'map', 'inet', name, 'services'],
    () => ['flush', 'chain', 'inet', name, 'output'],
    () => ['delete', 'table', 'inet', name],
  ]) {
    nft(...command());
    assert.ok(!nft('list', 'tables').includes(name) || !isDeepStrictEqual(list(), before));
    await isBack();
  }
  table.close();
});

const everywhere = (index: number, chance: () => number): ServicePort => ({
  ...someService(index, chance),
  backends: { Cluster: [{ ip: '10.86.3.5', port: 80 }], Local: [] },
});

function handleIn(chain: string): string {
  const handle = /# handle (\d+)\n\s*\}/.exec(nft('-a', 'list', 'chain', 'inet', name, chain))?.[1];
  assert.ok(handle);
  return handle;
}
