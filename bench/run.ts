/**
 * Measures beside real peers: `npm run bench -- start idle …`; without a name it lists them. A peer is installed from Debian
 * (dockerd, HAProxy) and runs only while it is measured. Figures never fail a test.
 */
import { cpus, totalmem } from 'node:os';
import { readFileSync } from 'node:fs';
import { type Row, formatRows } from './row.ts';

const benches: Record<string, () => Promise<{ run: () => Promise<Row[]> }>> = {
  api: () => import('./api.ts'),
  'api-lists': () => import('./api-lists.ts'),
  boot: () => import('./boot.ts'),
  'control-loss': () => import('./control-loss.ts'),
  dns: () => import('./dns.ts'),
  heal: () => import('./heal.ts'),
  idle: () => import('./idle.ts'),
  'image-push': () => import('./image-push.ts'),
  logs: () => import('./logs.ts'),
  'map-route': () => import('./map-route.ts'),
  'node-loss': () => import('./node-loss.ts'),
  'pod-start': () => import('./pod-start.ts'),
  push: () => import('./push.ts'),
  'push-parts': () => import('./push-parts.ts'),
  registry: () => import('./registry.ts'),
  'route-change': () => import('./route-change.ts'),
  router: () => import('./router.ts'),
  scheduler: () => import('./scheduler.ts'),
  services: () => import('./services.ts'),
  start: () => import('./start.ts'),
  'start-many': () => import('./start-many.ts'),
  store: () => import('./store.ts'),
};

const names = process.argv.slice(2);
const unknown = names.filter((name) => !(name in benches));
if (names.length === 0 || unknown.length > 0) {
  if (unknown.length > 0) console.error(`There is no bench ${unknown.join(', ')}.`);
  console.error(`Name one or more of: ${Object.keys(benches).join(', ')}.`);
  process.exit(names.length === 0 ? 0 : 1);
}

console.log(
  `${cpus().length} x ${cpus()[0]?.model.trim()}, ${(totalmem() / 1024 ** 3).toFixed(0)} GiB, Linux ${readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim()}, Node ${process.version}\n`,
);
for (const name of names) {
  const bench = await benches[name]?.();
  if (bench) console.log(`### ${name}\n\n${formatRows(await bench.run())}\n`);
}
process.exit(0);
