import { openEngine, purgeEngine } from '#engine/open.ts';
import { addBusyboxImage } from '#testing/busybox-image.ts';
const o = {
  instance: 't3',
  dataDirectory: '/var/tmp/t3',
  runDirectory: '/run/t3',
  network: { podCidr: '10.99.3.0/24', clusterCidr: '10.99.0.0/16', serviceCidr: '10.98.0.0/16' },
  idRange: { first: 65536 * 100, length: 65536 * 50 },
  sandboxPool: 2,
};
await purgeEngine(o);
const e = await openEngine(o);
const image = await addBusyboxImage(e.images);
const s = await e.createSandbox({ name: 'x', hostname: 'h' });
const c = await e.createContainer({ sandbox: s.id, name: 'c', image, command: ['sh', '-c', 'sleep 5; exit 3'] });
await e.startContainer(c.id);
console.log(
  'started',
  (await import('node:fs')).readFileSync(`/run/t3/engine/containers/${c.id}/conmon.pid`, 'utf8'),
  process.pid,
);
await e.waitContainer(c.id, { signal: AbortSignal.timeout(10000) }).catch(console.log);
await e.close();
