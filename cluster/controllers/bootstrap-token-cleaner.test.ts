import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type ControlPlane, startControlPlane, until } from '#testing/control-plane.ts';
import { secrets } from '../kinds/resources.ts';
import { createBootstrapTokenCleaner } from './bootstrap-token-cleaner.ts';

const namespace = 'kube-system';
let plane: ControlPlane;

before(async () => {
  plane = await startControlPlane();
});
after(() => plane.close());

async function createToken(id: string, seconds: number | undefined): Promise<void> {
  const stringData: Record<string, string> = { 'token-id': id, 'token-secret': '0123456789abcdef' };
  if (seconds !== undefined) stringData['expiration'] = new Date(Date.now() + seconds * 1000).toISOString();
  await plane.client.create(secrets, {
    metadata: { name: `bootstrap-token-${id}`, namespace },
    type: 'bootstrap.kubernetes.io/token',
    stringData,
  });
}

test('tokens go when their time is over, others stay', async () => {
  await createToken('past00', -10);
  await plane.start(createBootstrapTokenCleaner());
  await createToken('soon00', 1);
  await createToken('later0', 3600);
  await createToken('never0', undefined);
  await plane.client.create(secrets, {
    metadata: { name: 'other', namespace },
    stringData: { expiration: '2020-01-01T00:00:00Z' },
  });
  const left = await until(plane.client, secrets, namespace, (list) => list.length === 3);
  assert.deepEqual(left.map(({ metadata }) => metadata.name).toSorted(), [
    'bootstrap-token-later0',
    'bootstrap-token-never0',
    'other',
  ]);
});
