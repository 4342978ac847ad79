/** Run by the contract suite as `node killed-writer.fixture.ts DIRECTORY ROUND`, and killed. */
import { join } from 'node:path';
import { writeForever } from '#testing/store-contract.ts';
import { openSqliteStore } from './open.ts';

const [directory = '', round = ''] = process.argv.slice(2);
await writeForever(await openSqliteStore({ path: join(directory, 'store.db') }), round);
