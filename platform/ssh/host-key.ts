import { createHash } from 'node:crypto';
import ssh2 from 'ssh2';
import type { Client } from '#cluster/client/client.ts';
import { systemNamespace } from '../resources/types.ts';
import type { HostKey } from './ssh.ts';
import { keptSecret } from '../resources/secrets.ts';

const NAME = 'ssh-host-key';
const KEY = 'ssh-privatekey';

export async function openHostKey(client: Client): Promise<HostKey> {
  const metadata = { name: NAME, namespace: systemNamespace };
  const kept = await keptSecret(client, { metadata }, () => ({ [KEY]: newHostKey() }));
  return hostKey(kept[KEY] ?? '');
}

/** ssh2 writes one key in five hundred so that it cannot read it: those are thrown away. */
export function newHostKey(): string {
  for (;;) {
    const made = ssh2.utils.generateKeyPairSync('ed25519').private;
    if (!(ssh2.utils.parseKey(made) instanceof Error)) return made;
  }
}

function hostKey(privateKey: string): HostKey {
  const parsed = ssh2.utils.parseKey(privateKey);
  if (parsed instanceof Error) {
    throw new Error(
      `The Secret ${systemNamespace}/${NAME} holds no private key of OpenSSH's form: delete it, and a new key is made`,
      { cause: parsed },
    );
  }
  const digest = createHash('sha256').update(parsed.getPublicSSH()).digest('base64');
  return { privateKey, fingerprint: digest.replace(/=+$/, '') };
}
