/** The second half of `trust-for-java.sh`. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { javaTrustStore } from '../lifecycle/java-trust-store.ts';

const root = process.argv[2];
if (root === undefined) throw new Error('usage: trust-for-java ROOT');
const source = join(root, 'usr/share/ca-certificates/mozilla');
const bundle = readdirSync(source)
  .sort()
  .map((name) => readFileSync(join(source, name), 'utf8'));
writeFileSync(join(root, 'etc/ssl/certs/java/cacerts'), javaTrustStore(bundle.join('\n')), { mode: 0o644 });
