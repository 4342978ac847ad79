import { join } from 'node:path';
import { killRounds } from '#testing/store-contract.ts';
import { openSqliteStore } from '#cluster/store/sqlite/open.ts';
const t = performance.now();
await killRounds({ name: 'sqlite', open: (d) => openSqliteStore({ path: join(d, 'store.db') }), killedWriter: new URL('../cluster/store/sqlite/killed-writer.fixture.ts', import.meta.url) }, 60);
console.log('60 rounds ok', (performance.now() - t) / 1000);
