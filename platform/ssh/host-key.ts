import { createHash } from 'node:crypto';
import ssh2 from 'ssh2';
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError, type Client } from '#cluster/client/client.ts';
import { secrets } from '../resources/kubernetes.ts';
import { systemNamespace } from '../resources/types.ts';
import type { HostKey } from './ssh.ts';

const NAME = 'ssh-host-key';
const KEY = 'ssh-privatekey';

/** Of two that make it at once one wins, and both use it. */
export async function openHostKey(client: Client): Promise<HostKey> {
  const kept = await read(client);
  if (kept !== undefined) return hostKey(kept);
  const made = newHostKey();
  try {
    await client.create(secrets, {
      metadata: { name: NAME, namespace: systemNamespace },
      type: 'Opaque',
      data: { [KEY]: Buffer.from(made).toString('base64') },
    });
    return hostKey(made);
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
  }
  return openHostKey(client);
}

/** ssh2 writes one key in five hundred so that it cannot read it: those are thrown away. */
export function newHostKey(): string {
  for (;;) {
    const made = ssh2.utils.generateKeyPairSync('ed25519').private;
    if (!(ssh2.utils.parseKey(made) instanceof Error)) return made;
  }
}

async function read(client: Client): Promise<string | undefined> {
  const secret = await orUndefined(client.get(secrets, NAME, systemNamespace));
  return secret && Buffer.from(secret.data?.[KEY] ?? '', 'base64').toString();
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
