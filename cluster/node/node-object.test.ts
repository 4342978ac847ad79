import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineDouble } from '#testing/agent-engine-double.ts';
import { nodeLabels, nodeStatus } from './node-object.ts';
import { roomOf } from './node-settings.ts';

const facts = {
  nodeName: 'n',
  address: '192.0.2.1',
  addresses: ['192.0.2.1'],
  port: 10_250,
  info: new EngineDouble().info(),
  room: roomOf({ milliCpus: 1500, memoryBytes: 2 ** 33, diskBytes: 2 ** 40 }, {}),
  settings: { labels: { disk: 'ssd', 'kubernetes.io/hostname': 'another' } },
  images: () => [],
  pressures: () => [],
};

test('a node says what it is', async () => {
  const { addresses, nodeInfo, daemonEndpoints, conditions } = await nodeStatus(facts, undefined, Date.now());
  assert.deepEqual(addresses, [
    { type: 'InternalIP', address: '192.0.2.1' },
    { type: 'Hostname', address: 'n' },
  ]);
  assert.equal(daemonEndpoints?.kubeletEndpoint?.Port, 10_250);
  const { bootID, machineID, kernelVersion, osImage, containerRuntimeVersion, systemUUID, ...rest } = nodeInfo ?? {
    bootID: '',
  };
  for (const [field, value] of Object.entries({ bootID, machineID, kernelVersion, osImage, containerRuntimeVersion }))
    assert.ok(value, field);
  // Some machines have none.
  assert.equal(typeof systemUUID, 'string');
  const { architecture, operatingSystem, kubeletVersion, kubeProxyVersion } = rest as Record<string, string>;
  assert.match(architecture ?? '', /^(amd64|arm64)$/);
  assert.deepEqual([operatingSystem, kubeletVersion], ['linux', kubeProxyVersion]);
  for (const { type, lastHeartbeatTime, lastTransitionTime } of conditions ?? [])
    assert.ok(lastHeartbeatTime && lastTransitionTime, type);
});

test('what an administrator says of a node is on it, but for what it is called', () => {
  const labels = nodeLabels(facts);
  assert.deepEqual([labels['disk'], labels['kubernetes.io/hostname']], ['ssd', 'n']);
});
