/** A registry as a process of its own, for tests that kill it: DIRECTORY PORT CERTIFICATE KEY. Says `ready` when it is. */
import { readFileSync } from 'node:fs';
import { openContentStore } from '../../images/content.ts';
import { startRegistry } from '../server.ts';

const [directory = '', port = '', certificate = '', key = ''] = process.argv.slice(2);
const content = openContentStore(directory);
await startRegistry({
  content,
  listen: { host: '127.0.0.1', port: Number(port) },
  tls: { cert: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') },
  authorize: () => true,
});
process.stdout.write('ready\n');
