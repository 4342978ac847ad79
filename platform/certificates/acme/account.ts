/** The key of our account at an ACME server: a Secret, made once. */
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { Client } from '#cluster/client/client.ts';
import { systemNamespace } from '../../resources/types.ts';
import { keptSecret } from '../../resources/secrets.ts';

const KEY = 'tls.key';

export async function accountKey(client: Client, directory: string): Promise<KeyObject> {
  const name = `acme-account-${createHash('sha256').update(directory).digest('hex').slice(0, 16)}`;
  const metadata = {
    name,
    namespace: systemNamespace,
    annotations: { 'platform.sampan.dev/acme-directory': directory },
  };
  const kept = await keptSecret(client, { metadata }, () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return { [KEY]: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
  });
  return createPrivateKey(kept[KEY] ?? '');
}
