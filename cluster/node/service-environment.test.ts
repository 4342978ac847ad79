import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serviceEntries } from './service-environment.ts';

test('both forms, for each port, under the name in capitals', () => {
  const spec = {
    clusterIP: '10.0.0.11',
    ports: [
      { name: 'http-alt', port: 80, protocol: 'TCP' },
      { name: 'dns', port: 53, protocol: 'UDP' },
    ],
  };
  assert.deepEqual(serviceEntries([{ metadata: { name: 'redis-primary' }, spec }]), [
    ['REDIS_PRIMARY_SERVICE_HOST', '10.0.0.11'],
    ['REDIS_PRIMARY_SERVICE_PORT', '80'],
    ['REDIS_PRIMARY_SERVICE_PORT_HTTP_ALT', '80'],
    ['REDIS_PRIMARY_SERVICE_PORT_DNS', '53'],
    ['REDIS_PRIMARY_PORT', 'tcp://10.0.0.11:80'],
    ['REDIS_PRIMARY_PORT_80_TCP', 'tcp://10.0.0.11:80'],
    ['REDIS_PRIMARY_PORT_80_TCP_PROTO', 'tcp'],
    ['REDIS_PRIMARY_PORT_80_TCP_PORT', '80'],
    ['REDIS_PRIMARY_PORT_80_TCP_ADDR', '10.0.0.11'],
    ['REDIS_PRIMARY_PORT_53_UDP', 'udp://10.0.0.11:53'],
    ['REDIS_PRIMARY_PORT_53_UDP_PROTO', 'udp'],
    ['REDIS_PRIMARY_PORT_53_UDP_PORT', '53'],
    ['REDIS_PRIMARY_PORT_53_UDP_ADDR', '10.0.0.11'],
  ]);
});

test('what has no address has no variables', () => {
  const ports = [{ port: 80 }];
  const none = [
    { clusterIP: 'None', ports },
    { type: 'ExternalName', externalName: 'x' },
    { clusterIP: '', ports },
  ];
  assert.deepEqual(serviceEntries(none.map((spec) => ({ metadata: { name: 'a' }, spec }))), []);
});
