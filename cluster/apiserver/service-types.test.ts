/** A Service becomes one of another type, as the conformance tests do it: by a whole update or a patch of what is new. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';

let fixture: ApiFixture;
before(async () => {
  fixture = await apiFixture();
});
after(() => fixture.close());

const LIST = '/api/v1/namespaces/default/services';
type Spec = Record<string, unknown> & { ports?: { nodePort?: number }[] };

async function make(name: string, spec: object): Promise<Spec> {
  const answer = await fixture.call('POST', LIST, { body: { metadata: { name }, spec } });
  assert.equal(answer.status, 201, answer.text);
  return answer.json['spec'] as Spec;
}

/** Reads it, changes some fields, writes all of it. */
async function update(name: string, changes: object): Promise<Spec> {
  const { json } = await fixture.call('GET', `${LIST}/${name}`);
  const body = { ...json, spec: { ...(json['spec'] as object), ...changes } };
  const answer = await fixture.call('PUT', `${LIST}/${name}`, { body });
  assert.equal(answer.status, 200, answer.text);
  return answer.json['spec'] as Spec;
}

test('a name outside gets an address and ports, and gives them back', async () => {
  await make('names', { type: 'ExternalName', externalName: 'example.com' });
  const inside = await update('names', { type: 'NodePort', ports: [{ port: 80, protocol: 'TCP' }] });
  assert.equal(inside['externalName'], undefined);
  assert.match(String(inside['clusterIP']), /^10\.96\.0\.\d+$/);
  assert.ok((inside.ports?.[0]?.nodePort ?? 0) >= 30_000);
  const outside = await update('names', { type: 'ExternalName', externalName: 'example.com' });
  assert.deepEqual(
    ['clusterIP', 'clusterIPs', 'ipFamilies', 'externalTrafficPolicy'].filter((field) => outside[field] !== undefined),
    [],
  );
  assert.equal(outside.ports?.[0]?.nodePort, undefined);
  // Both can be had by others.
  await make('after', { clusterIP: inside['clusterIP'], ports: [{ port: 80 }] });
});

test('affinity is switched off without its timeout being taken out', async () => {
  await make('sticky', { sessionAffinity: 'ClientIP', ports: [{ port: 80 }] });
  const spec = await update('sticky', { sessionAffinity: 'None' });
  assert.equal(spec['sessionAffinityConfig'], undefined);
  const again = await update('sticky', { sessionAffinity: 'ClientIP' });
  assert.deepEqual(again['sessionAffinityConfig'], { clientIP: { timeoutSeconds: 10_800 } });
});

test('one node port serves two protocols of a service, and no other service', async () => {
  const ports = [
    { name: 'tcp', port: 53, protocol: 'TCP', nodePort: 30_053 },
    { name: 'udp', port: 53, protocol: 'UDP', nodePort: 30_053 },
  ];
  await make('both', { type: 'NodePort', ports });
  const chosen = await make('chosen', { type: 'NodePort', ports: ports.map(({ nodePort: _given, ...rest }) => rest) });
  assert.equal(chosen.ports?.[0]?.nodePort, chosen.ports?.[1]?.nodePort);
  const body = { metadata: { name: 'third' }, spec: { type: 'NodePort', ports: [{ port: 80, nodePort: 30_053 }] } };
  const refused = await fixture.call('POST', LIST, { body });
  assert.match(
    refused.json.message,
    /spec\.ports\[0\]\.nodePort: Invalid value: 30053: provided port is already allocated/,
  );
});
