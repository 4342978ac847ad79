import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podObject } from '#testing/agent-pod.ts';
import { misfitOf } from './fit.ts';
import { roomOf } from './node-settings.ts';

const room = roomOf({ milliCpus: 2000, memoryBytes: 2 ** 32, diskBytes: 2 ** 40 }, { maxPods: 3 });
const asks = (name: string, requests: Record<string, string>) =>
  podObject(name, { containers: [{ resources: { requests } }] });
const listens = (name: string, port: object, spec: object = {}) =>
  podObject(name, { ...spec, containers: [{ ports: [{ containerPort: 80, ...port }] }] });

test("a pod that asks for more than is left is told what, in a kubelet's words", () => {
  const others = [asks('a', { cpu: '1500m' }), asks('b', { memory: '1Gi' })];
  assert.equal(misfitOf(asks('c', { cpu: '500m', memory: '2Gi', 'example.com/other': '9' }), room, others), undefined);
  assert.deepEqual(misfitOf(asks('c', { cpu: '600m' }), room, others), {
    reason: 'OutOfcpu',
    message: "Pod was rejected: Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000",
  });
  assert.equal(misfitOf(asks('c', { memory: '4Gi' }), room, others)?.reason, 'OutOfmemory');
  assert.equal(misfitOf(asks('c', { 'ephemeral-storage': '2Ti' }), room, others)?.reason, 'OutOfephemeral-storage');
  assert.equal(misfitOf(asks('d', {}), room, [...others, asks('c', {})])?.reason, 'OutOfpods');
});

test("a port of the host is one pod's, of each protocol and address", () => {
  const others = [listens('a', { hostPort: 8080, hostIP: '192.0.2.1' })];
  const reasonOf = (port: object, spec?: object) => misfitOf(listens('b', port, spec), room, others)?.reason;
  assert.equal(reasonOf({ hostPort: 8080 }), 'NodePorts');
  assert.equal(reasonOf({ hostPort: 8080, hostIP: '192.0.2.1' }), 'NodePorts');
  assert.equal(reasonOf({ containerPort: 8080 }, { hostNetwork: true }), 'NodePorts');
  assert.equal(reasonOf({ hostPort: 8080, hostIP: '192.0.2.2' }), undefined);
  assert.equal(reasonOf({ hostPort: 8080, protocol: 'UDP' }), undefined);
  assert.equal(reasonOf({ hostPort: 8081 }), undefined);
  assert.equal(reasonOf({}), undefined);
});
