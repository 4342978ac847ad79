import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { startTestRegistry } from '#testing/staging-registry.ts';
import { createBits } from './bits.ts';
test('x', async () => {
  await using r = await startTestRegistry();
  execFileSync('python3', ['-c', 'import zipfile,sys\nz=zipfile.ZipFile(sys.argv[1],"w",8)\nfor i in range(100000): z.writestr("sub/f%d"%i,"file %d"%i)\nz.close()', join(r.directory,'a.zip')]);
  const bits = createBits(r.client);
  let t = Date.now();
  const a = await bits.store({ app: 'app1', zip: join(r.directory, 'a.zip'), resources: [] });
  console.log(Date.now() - t, a, process.memoryUsage().rss/1e6, process.cpuUsage());
  t = Date.now();
  const b = await bits.store({ app: 'app2', zip: join(r.directory, 'a.zip'), resources: [] });
  console.log(Date.now() - t);
  assert.equal(a.checksum, b.checksum);
});
