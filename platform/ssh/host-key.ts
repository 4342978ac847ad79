import { createHash } from 'node:crypto';
import type { Client } from '#cluster/client/client.ts';
import { systemNamespace } from '../resources/types.ts';
import type { HostKey } from './ssh.ts';
import { keptSecret } from '../resources/secrets.ts';

const NAME = 'ssh-host-key';
const KEY = 'ssh-privatekey';

export async function openHostKey(client: Client): Promise<HostKey> {
  const metadata = { name: NAME, namespace: systemNamespace };
  const kept = await keptSecret(client, { metadata }, async () => ({ [KEY]: await newHostKey() }));
  return hostKeyOf(kept[KEY] ?? '');
}

/** ssh2 writes one key in five hundred so that it cannot read it: those are thrown away. */
export async function newHostKey(): Promise<string> {
  const { default: ssh2 } = await import('ssh2');
  for (;;) {
    const made = ssh2.utils.generateKeyPairSync('ed25519').private;
    if (!(ssh2.utils.parseKey(made) instanceof Error)) return made;
  }
}

/** @throws Error where it is no private key of OpenSSH's own form */
export function hostKeyOf(privateKey: string): HostKey {
  const key = publicKey(privateKey);
  if (key === undefined) {
    throw new Error(
      `The Secret ${systemNamespace}/${NAME} holds no private key of OpenSSH's form: delete it, and a new key is made`,
    );
  }
  const digest = createHash('sha256').update(key).digest('base64');
  return { privateKey, fingerprint: digest.replace(/=+$/, '') };
}

const FORM = /^-----BEGIN OPENSSH PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END OPENSSH PRIVATE KEY-----\s*$/;
const MAGIC = Buffer.from('openssh-key-v1\0');

/**
 * The first public key within (openssh-portable, PROTOCOL.key), for the fingerprint: the library that reads all of it is large, and needed by
 * connections alone. After the magic words come three texts on how it is encrypted, the number of keys, and the public keys.
 */
function publicKey(privateKey: string): Buffer | undefined {
  const bytes = Buffer.from(FORM.exec(privateKey)?.[1] ?? '', 'base64');
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  let at = MAGIC.length;
  const next = (): Buffer | undefined => {
    if (at + 4 > bytes.length) return undefined;
    const end = at + 4 + bytes.readUInt32BE(at);
    const text = bytes.subarray(at + 4, end);
    at = end;
    return end > bytes.length ? undefined : text;
  };
  for (let texts = 0; texts < 3; texts++) if (next() === undefined) return undefined;
  at += 4;
  return next();
}
