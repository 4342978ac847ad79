/** Run by the contract suite as `node killed-clients.fixture.ts DIRECTORY ROUND`, and killed. */
import { join } from 'node:path';
import { chaosClients } from '#testing/store-chaos.ts';
import { openSqliteStore } from './open.ts';

const [directory = '', round = ''] = process.argv.slice(2);
await chaosClients(await openSqliteStore({ path: join(directory, 'store.db') }), round);
