/** Run by the contract suite as `node killed-clients.fixture.ts DIRECTORY ROUND`, and killed. */
import { chaosClients } from '#testing/store-chaos.ts';
import { openEtcdStore } from './open.ts';

const [directory = '', round = ''] = process.argv.slice(2);
const endpoints = (process.env.SAMPAN_TEST_ETCD ?? '').split(',');
await chaosClients(await openEtcdStore({ endpoints, prefix: directory }), round);
