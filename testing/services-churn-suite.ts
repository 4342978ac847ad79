/** Services that come, change and go while what keeps their rules is killed, for a network namespace of its own. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { endpointSlices, services } from '#cluster/kinds/resources.ts';
import { removeServices } from '#cluster/network/services/start.ts';
import { tableName } from '#cluster/network/services/rules.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { KillableProgram } from './killable.ts';
import { tableContents } from './nft-table.ts';
import type { ServicesProcessOptions } from './services-process.fixture.ts';

const rounds = 4;
const namespace = 'churn';
const network = {
  instance: 'churn',
  podCidr: '10.86.3.0/24',
  clusterCidr: '10.86.0.0/16',
  serviceCidr: '10.96.0.0/16',
};
let plane: ControlPlane;
let program: KillableProgram;
let complaints = '';

before(async () => {
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  plane = await startControlPlane();
  await plane.namespace(namespace);
  const options: ServicesProcessOptions = { network, transport: plane.address };
  program = new KillableProgram('services-process.fixture.ts', options, (text) => (complaints += text));
});
after(async () => {
  await program.kill();
  await plane.close();
});

/** Resolves with what is in the kernel when everything of the API is. */
async function settled(): Promise<unknown> {
  const [listed, slices] = await Promise.all([plane.client.list(services), plane.client.list(endpointSlices)]);
  const newest = (items: { metadata: { resourceVersion: string } }[]): string =>
    String(Math.max(0, ...items.map(({ metadata }) => Number(metadata.resourceVersion))));
  await program.ask({ service: newest(listed.items), endpointSlice: newest(slices.items) });
  return tableContents(tableName(network.instance));
}

const pick = (count: number): number => Math.floor(Math.random() * count);
const endpointsOf = (count: number) =>
  Array.from({ length: count }, () => ({
    addresses: [`10.86.${3 + pick(2)}.${2 + pick(250)}`],
    conditions: { ready: pick(4) > 0, serving: true, terminating: pick(4) === 0 },
    nodeName: ['node', 'other'][pick(2)] ?? '',
  }));

/** One of a few services, made, changed or taken away. */
async function change(): Promise<void> {
  const name = `service-${pick(12)}`;
  const { items } = await plane.client.list(services, { namespace });
  const there = items.some(({ metadata }) => metadata.name === name);
  if (there && pick(3) === 0) {
    await plane.client.delete(services, name, { namespace });
    await plane.client.delete(endpointSlices, `${name}-a`, { namespace });
    return;
  }
  if (there) {
    const slice = await plane.client.get(endpointSlices, `${name}-a`, namespace);
    await plane.client.update(endpointSlices, { ...slice, endpoints: endpointsOf(pick(5)) });
    return;
  }
  const sticky = pick(3) === 0;
  await plane.client.create(services, {
    metadata: { name, namespace },
    spec: {
      type: pick(2) === 0 ? 'NodePort' : 'ClusterIP',
      ports: [{ name: 'http', port: 80 }],
      ...(sticky && { sessionAffinity: 'ClientIP' }),
    },
  });
  await plane.client.create(endpointSlices, {
    metadata: { name: `${name}-a`, namespace, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: endpointsOf(1 + pick(4)),
  });
}

test('killed at any moment: what is there in the end is what is made anew', async () => {
  for (let round = 0; round < rounds; round++) {
    await program.start();
    const changes = (async () => {
      for (let count = 0; count < 40; count++) await change();
    })();
    // Not a wait for anything: the moment of the kill is what varies.
    await delay(20 + pick(100));
    await program.kill();
    await changes;
  }
  await program.start();
  const found = await settled();
  await program.kill();
  await removeServices(network.instance);
  await program.start();
  assert.deepEqual(found, await settled());
  // Such as a difference that the kernel did not take.
  assert.equal(complaints, '');
});
