import { mmdebstrap } from '#platform/staging/stack/mmdebstrap.ts';
import { stackEntries } from '#platform/staging/stack/normalise.ts';
import { writeTar } from '#lib/tar/write.ts';
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { hostSuite } from '#platform/staging/stack/apt-sources.ts';
const notes = { status: '', webServer: new Map<string, Buffer>() };
const t=Date.now();
const h = createHash('sha256'); const out = createWriteStream(process.argv[2]!);
for await (const c of writeTar(stackEntries(mmdebstrap({suite: await hostSuite(), temporaryDirectory:'/tmp/stg'}), notes), {encoding:'latin1'})) { h.update(c); out.write(c); }
out.end();
console.log(h.digest('hex'), Date.now()-t, [...notes.webServer].map(([k,v])=>[k,v.length]), notes.status.length);
