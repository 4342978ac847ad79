/** The key of our account at an ACME server: a Secret, made once. */
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { ApiError, type Client } from '#cluster/client/client.ts';
import { secrets } from '../../resources/kubernetes.ts';
import { systemNamespace } from '../../resources/types.ts';

const KEY = 'tls.key';

/** Of two that make it at once one wins, and both use it. */
export async function accountKey(client: Client, directory: string): Promise<KeyObject> {
  const name = `acme-account-${createHash('sha256').update(directory).digest('hex').slice(0, 16)}`;
  const made = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' });
  try {
    const { data } = await client.get(secrets, name, systemNamespace);
    return createPrivateKey(Buffer.from(data?.[KEY] ?? '', 'base64'));
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 404) throw error;
  }
  try {
    await client.create(secrets, {
      metadata: { name, namespace: systemNamespace, annotations: { 'platform.sampan.dev/acme-directory': directory } },
      type: 'Opaque',
      data: { [KEY]: Buffer.from(made).toString('base64') },
    });
    return createPrivateKey(made);
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
  }
  return accountKey(client, directory);
}
