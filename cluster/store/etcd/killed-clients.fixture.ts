/** Run by the contract suite as `node killed-clients.fixture.ts DIRECTORY ROUND`, and killed. */
import { chaosClients } from '#testing/store-chaos.ts';
import { openEtcdStore } from './open.ts';

const [directory = '', round = ''] = process.argv.slice(2);
const endpoints = (process.env.SAMPAN_TEST_ETCD ?? '').split(',');
// The member that was killed in the round before is still coming up, on a machine that may be busy.
const timeoutMilliseconds = 120_000;
await chaosClients(await openEtcdStore({ endpoints, prefix: directory, timeoutMilliseconds }), round);
