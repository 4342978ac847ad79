import { createReadStream, mkdtempSync, readFileSync, statSync, mkdirSync, rmSync } from 'node:fs';
import { digestOf } from '#lib/digest.ts';
import { unpackLayer } from './unpack.ts';
const diffId = digestOf(readFileSync('/tmp/perf/l.tar'));
for (const f of ['l.tar', 'l.tar.gz', 'l.tar.zst']) {
  const d = `/tmp/perf/out`; mkdirSync(d);
  const t = performance.now();
  await unpackLayer({ source: createReadStream('/tmp/perf/' + f, { highWaterMark: 512 * 1024 }), sourceBytes: statSync('/tmp/perf/' + f).size, directory: d, diffId });
  console.log(f, Math.round(performance.now() - t), process.cpuUsage(), process.memoryUsage.rss() >> 20);
  rmSync(d, { recursive: true });
}
