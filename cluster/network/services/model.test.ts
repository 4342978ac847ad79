import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stored } from '../../kinds/kind.ts';
import type { Service, ServiceSpec, ServiceStatus } from '../../kinds/types/core.ts';
import { servicePortsOf } from './model.ts';

const service = (spec: ServiceSpec, status: ServiceStatus = {}): Stored<Service> => ({
  metadata: { name: 'web', namespace: 'default', uid: 'u', resourceVersion: '1', creationTimestamp: '' },
  spec: { ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }], ...spec },
  status,
});
const portsOf = (spec: ServiceSpec, status?: ServiceStatus) => servicePortsOf(service(spec, status), [], { name: 'n' });

test('what has no address of its own has no rules', () => {
  assert.deepEqual(portsOf({ clusterIP: 'None' }), []);
  assert.deepEqual(portsOf({ type: 'ExternalName', externalName: 'example.com' }), []);
  assert.deepEqual(portsOf({ clusterIP: 'fd00::1', clusterIPs: ['fd00::1'] }), []);
  assert.deepEqual(portsOf({ clusterIP: '' }), []);
  const { metadata, ...rest } = service({ clusterIP: '10.0.0.1' });
  const labels = { 'service.kubernetes.io/service-proxy-name': 'another' };
  assert.deepEqual(servicePortsOf({ metadata: { ...metadata, labels }, ...rest }, [], { name: 'n' }), []);
});

test('the family that rules are made for is found wherever it stands', () => {
  assert.equal(portsOf({ clusterIP: 'fd00::1', clusterIPs: ['fd00::1', '10.0.0.1'] })[0]?.clusterIp, '10.0.0.1');
});

test('of two families each has its own, and the health check is one', () => {
  const spec: ServiceSpec = {
    type: 'LoadBalancer',
    clusterIP: '10.0.0.1',
    clusterIPs: ['10.0.0.1', 'fd00:0::1'],
    externalTrafficPolicy: 'Local',
    healthCheckNodePort: 31_000,
    externalIPs: ['198.51.100.1', '2001:db8::1'],
    loadBalancerSourceRanges: ['203.0.113.0/24'],
  };
  const ports = servicePortsOf(service(spec), [], { name: 'n', families: [4, 6] });
  assert.deepEqual(
    ports.map(({ clusterIp, externalIps, healthCheckNodePort }) => [clusterIp, externalIps, healthCheckNodePort]),
    [
      ['10.0.0.1', ['198.51.100.1'], 31_000],
      ['fd00::1', ['2001:db8::1'], undefined],
    ],
  );
  assert.deepEqual(ports[1]?.sourceRanges, ['::/128'], 'ranges of one family are not everybody of the other');
});

test('a load balancer: addresses of its status but those of proxies, ranges in their first address', () => {
  const [port] = portsOf(
    {
      type: 'LoadBalancer',
      clusterIP: '10.0.0.1',
      sessionAffinity: 'ClientIP',
      externalTrafficPolicy: 'Local',
      loadBalancerSourceRanges: [' 203.0.113.77/24', 'fd00::/8', '300.0.0.0/8', '10.0.0.0/33'],
      externalIPs: ['198.51.100.1', 'fd00::2', '127.0.0.1'],
    },
    {
      loadBalancer: {
        ingress: [
          { ip: '192.0.2.1' },
          { ip: '192.0.2.2', ipMode: 'Proxy' },
          { ip: 'fd00::3' },
          { hostname: 'x' },
          { ip: '127.0.0.2' },
        ],
      },
    },
  );
  assert.deepEqual(port?.loadBalancerIps, ['192.0.2.1']);
  assert.deepEqual(port?.sourceRanges, ['203.0.113.0/24']);
  assert.deepEqual(port?.externalIps, ['198.51.100.1']);
  assert.deepEqual([port?.nodePort, port?.affinitySeconds, port?.externalPolicy], [30_080, 10_800, 'Local']);
});

test('a client stays with its backend for as long as is said', () => {
  const sticky = (sessionAffinityConfig?: { clientIP: { timeoutSeconds: number } }) =>
    portsOf({
      clusterIP: '10.0.0.1',
      sessionAffinity: 'ClientIP',
      ...(sessionAffinityConfig && { sessionAffinityConfig }),
    })[0]?.affinitySeconds;
  assert.deepEqual([sticky(), sticky({ clientIP: { timeoutSeconds: 60 } })], [10_800, 60]);
});

test('a node port that a former type left is none', () => {
  assert.equal(portsOf({ type: 'ClusterIP', clusterIP: '10.0.0.1' })[0]?.nodePort, undefined);
});
