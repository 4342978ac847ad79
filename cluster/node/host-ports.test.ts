import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podObject } from '#testing/agent-pod.ts';
import { hostPortsOf, isPublished } from './host-ports.ts';

const port = { containerPort: 80, hostPort: 8080 };
const pod = podObject('a', {
  containers: [{ ports: [{ ...port, hostIP: '0.0.0.0' }, { containerPort: 81 }] }],
  initContainers: [
    { name: 'once', ports: [{ ...port, hostPort: 1 }] },
    { name: 'beside', restartPolicy: 'Always', ports: [{ ...port, protocol: 'UDP', hostIP: '192.0.2.1' }] },
  ],
});

test('ports of what lasts, as the engine publishes them', () => {
  const ports = hostPortsOf(pod, false);
  assert.deepEqual(ports, [
    { hostPort: 8080, port: 80, protocol: 'tcp', hostIp: '0.0.0.0' },
    { hostPort: 8080, port: 80, protocol: 'udp', hostIp: '192.0.2.1' },
  ]);
  assert.deepEqual(hostPortsOf(podObject('b', { hostNetwork: true, containers: [{ ports: [port] }] }), true), []);
  const sandbox = { id: 'x', name: 'x', state: 'ready', ip: '', labels: {}, createdAt: 0 } as never;
  assert.deepEqual(
    hostPortsOf(podObject('c', { containers: [{ ports: [port] }] }), true).map(({ hostIp }) => hostIp),
    ['0.0.0.0', '::'],
  );
  assert.equal(isPublished(pod, sandbox), false);
  assert.equal(isPublished(pod, { ...(sandbox as object), published: ports } as never), true);
});
