import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type ControlPlane, startControlPlane, until } from '#testing/control-plane.ts';
import { services } from '../kinds/resources.ts';
import { createClusterDns } from './cluster-dns.ts';

let plane: ControlPlane;
before(async () => {
  plane = await startControlPlane();
});
after(() => plane.close());

test('the Service for names is there at its address, and again when it was deleted', async () => {
  await plane.start(createClusterDns('10.96.0.10'));
  const isThere = (uid?: string) =>
    until(plane.client, services, 'kube-system', (all) =>
      all.some(({ metadata, spec }) => spec?.clusterIP === '10.96.0.10' && metadata.uid !== uid),
    );
  const [made] = await isThere();
  assert.deepEqual(
    made?.spec?.ports?.map(({ name, port, protocol }) => `${name} ${port} ${protocol}`),
    ['dns 53 UDP', 'dns-tcp 53 TCP'],
  );
  await plane.client.delete(services, 'kube-dns', { namespace: 'kube-system' });
  await isThere(made?.metadata.uid);
});
