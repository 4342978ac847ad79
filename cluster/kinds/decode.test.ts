import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeObject } from './decode.ts';
import { definitions } from './schema.ts';

const decoded = (kind: string, value: Record<string, unknown>, dropsEmpty = true) => {
  const { wrongTypes } = decodeObject(value, definitions()[`io.k8s.api.${kind}`] ?? {}, { dropsEmpty });
  return wrongTypes.length > 0 ? wrongTypes : value;
};

test('what says nothing is absent, what means something by being empty is not', () => {
  const container = { name: 'c', imagePullPolicy: '', stdin: false, env: [], resources: { limits: {} } };
  const spec = {
    restartPolicy: '',
    hostNetwork: false,
    priority: 0,
    nodeSelector: {},
    securityContext: { runAsNonRoot: false, runAsUser: 0 },
    volumes: [{ name: 'v', emptyDir: { medium: '' } }],
    containers: [container],
  };
  const whole = structuredClone(spec);
  assert.deepEqual(decoded('core.v1.Pod', { metadata: { labels: {}, finalizers: [], name: 'p' }, spec }), {
    metadata: { name: 'p' },
    spec: {
      // Upstream tells an absent one from 0, and from `false`.
      priority: 0,
      securityContext: { runAsNonRoot: false, runAsUser: 0 },
      volumes: [{ name: 'v', emptyDir: {} }],
      containers: [{ name: 'c', resources: {} }],
    },
  });
  assert.deepEqual(decoded('core.v1.Pod', { spec: whole }, false), { spec: whole }, 'where it is not asked for');
  const claim = { spec: { storageClassName: '', volumeName: '', accessModes: [] } };
  assert.deepEqual(decoded('core.v1.PersistentVolumeClaim', claim), { spec: { storageClassName: '' } });
  const map = { data: { a: '' }, binaryData: {} };
  assert.deepEqual(decoded('core.v1.ConfigMap', map), { data: { a: '' } });
  const policy = { spec: { podSelector: {}, ingress: [{ from: [] }], egress: [] } };
  assert.deepEqual(decoded('networking.v1.NetworkPolicy', policy), { spec: { podSelector: {}, ingress: [{}] } });
  const status = { status: { replicas: 0, availableReplicas: 0, conditions: [] } };
  assert.deepEqual(decoded('apps.v1.StatefulSet', structuredClone(status)), status, 'programs mean what they say');
});

test('times are of RFC 3339, in UTC, and as exact as their field', () => {
  const spec = { acquireTime: '2024-01-01T01:00:00.5+01:00', renewTime: '2024-01-01T00:00:00.123456Z' };
  assert.deepEqual(decoded('coordination.v1.Lease', { spec }), {
    spec: { acquireTime: '2024-01-01T00:00:00.500000Z', renewTime: '2024-01-01T00:00:00.123456Z' },
  });
  const metadata = { creationTimestamp: '2024-01-01T00:00:00.987Z' };
  assert.deepEqual(decoded('core.v1.Pod', { metadata }), { metadata: { creationTimestamp: '2024-01-01T00:00:00Z' } });
  for (const time of ['0', '-1', '2024', '2024-01-01', 'yesterday', '2024-13-01T00:00:00Z', '2024-01-01 00:00:00Z'])
    assert.deepEqual(decoded('core.v1.Event', { firstTimestamp: time }), [
      `firstTimestamp: expected a time as 2006-01-02T15:04:05Z, got the string "${time}"`,
    ]);
});

test('bytes are base64, and nothing else', () => {
  assert.deepEqual(decoded('core.v1.Secret', { data: { a: 'AA==', b: 'AAEC\nAwQF', c: '' } }), {
    data: { a: 'AA==', b: 'AAECAwQF', c: '' },
  });
  for (const [text, place] of [
    ['not base64!', 3],
    ['UPPER', 4],
    ['A', 0],
    ['AA-_', 2],
  ] as const)
    assert.deepEqual(decoded('core.v1.ConfigMap', { binaryData: { a: text } }), [
      `binaryData.a: illegal base64 data at input byte ${place}`,
    ]);
});
