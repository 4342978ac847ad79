import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stored } from '../kinds/kind.ts';
import type { Pod, Service } from '../kinds/types/core.ts';
import type { EndpointSlice } from '../kinds/types/discovery.ts';
import { type SliceInput, type Wanted, wantedSlices } from './endpoint-slice-plan.ts';

const metadata = { namespace: 'default', uid: 'u', resourceVersion: '1', creationTimestamp: '' };
const service: Stored<Service> = {
  metadata: { ...metadata, name: 'web' },
  spec: { selector: { app: 'web' }, ports: [{ port: 80, protocol: 'TCP' }] },
};
const pod = (index: number): Stored<Pod> => ({
  metadata: { ...metadata, name: `pod-${String(index).padStart(3, '0')}`, uid: `pod-${index}` },
  spec: { containers: [], nodeName: `node-${index % 2}` },
  status: { podIP: `10.0.${index >> 8}.${index & 255}`, conditions: [{ type: 'Ready', status: 'True' }] },
});
const podsOf = (count: number): Stored<Pod>[] => Array.from({ length: count }, (_, index) => pod(index));
const plan = (pods: Stored<Pod>[], there: Wanted[] = [], more: Partial<SliceInput> = {}): Wanted[] =>
  wantedSlices({ service, pods, there: there.map(stored), zoneOf: () => undefined, ...more });
const stored = ({ name, ...content }: Wanted): Stored<EndpointSlice> => ({
  metadata: { ...metadata, name },
  ...content,
});
const sizes = (slices: Wanted[]): number[] => slices.map(({ endpoints }) => endpoints.length);

test('a hundred endpoints fill a slice; a change rewrites one', () => {
  const pods = podsOf(250);
  const first = plan(pods);
  assert.deepEqual(sizes(first), [100, 100, 50]);
  assert.equal(new Set(first.map(({ name }) => name)).size, 3);
  assert.deepEqual(plan(pods, first), first);

  const without = plan(
    pods.filter(({ metadata: { name } }) => name !== 'pod-003'),
    first,
  );
  assert.deepEqual(sizes(without).toSorted(), [100, 50, 99]);
  const changed = without.filter(({ name, endpoints }) => {
    return JSON.stringify(first.find((slice) => slice.name === name)?.endpoints) !== JSON.stringify(endpoints);
  });
  assert.equal(changed.length, 1);

  // New ones go where there is room, the fullest first.
  const more = plan([...pods.filter(({ metadata: { name } }) => name !== 'pod-003'), pod(600), pod(601)], without);
  assert.deepEqual(sizes(more).toSorted(), [100, 100, 51]);
});

test('slices that became empty go, but one', () => {
  const first = plan(podsOf(150));
  assert.deepEqual(sizes(plan(podsOf(10), first)), [10]);
  const none = plan([]);
  assert.deepEqual(sizes(none), [0]);
});

test('zones of nodes, and hints for those who want to stay near', () => {
  const zoneOf = (node: string): string | undefined => (node === 'node-0' ? 'a' : undefined);
  const near = { ...service, spec: { ...service.spec, trafficDistribution: 'PreferClose' } };
  const [slice] = plan(podsOf(2), [], { service: near, zoneOf });
  assert.deepEqual(
    slice?.endpoints.map(({ zone, hints, nodeName }) => [nodeName, zone, hints?.forZones]),
    [
      ['node-0', 'a', [{ name: 'a' }]],
      ['node-1', undefined, undefined],
    ],
  );
  assert.equal(plan(podsOf(1), [], { zoneOf })[0]?.endpoints[0]?.hints, undefined);
});

test('each family of the service has slices of its own, empty where pods have no such address', () => {
  const dual = { ...service, spec: { ...service.spec, ipFamilies: ['IPv6', 'IPv4'] } };
  const both = pod(1);
  both.status = { ...both.status, podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] };
  const addresses = (pods: Stored<Pod>[]) =>
    plan(pods, [], { service: dual })
      .map(({ addressType, endpoints }) => [addressType, endpoints.flatMap((endpoint) => endpoint.addresses)])
      .toSorted();
  assert.deepEqual(addresses([both]), [
    ['IPv4', ['10.0.0.1']],
    ['IPv6', ['fd00::1']],
  ]);
  assert.deepEqual(addresses([pod(2)]), [
    ['IPv4', ['10.0.0.2']],
    ['IPv6', []],
  ]);
  assert.deepEqual(
    plan([both]).map(({ addressType }) => addressType),
    ['IPv4'],
  );
});
