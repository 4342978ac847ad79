import {
  addServiceAccountKey,
  retireServiceAccountKeys,
} from '#cluster/apiserver/authenticators/service-account-keys.ts';
import { addEncryptionKey } from '#cluster/store/encryption-keys.ts';
import { finishKeyRotation } from '#cluster/store/key-rotation.ts';
import { Progress } from '#lib/progress.ts';
import { finishRestore } from '../backup/finish.ts';
import { encryptionFor, encryptionKeysFile, serviceAccountKeysDirectory } from '../cluster-keys.ts';
import { HostError } from '../host-error.ts';
import { type Instance, type InstanceFlags, instanceDirectories, requireInstance } from '../instance.ts';
import { lockInstance } from '../instance-lock.ts';
import { requireRoot } from '../preflight.ts';
import { requestReload } from '../reload.ts';
import { openInstanceStore } from '../store/open.ts';

const KINDS = ['encryption', 'service-accounts'] as const;

/** Works on an instance that is up, without a restart, and on one that is down. Killed, it is given again. */
export async function rotateKeys(flags: InstanceFlags, kind: string, options: { retire?: boolean }): Promise<void> {
  requireRoot('Rotating keys');
  if (!KINDS.some((one) => one === kind) || (options.retire === true && kind !== 'service-accounts'))
    throw new HostError(
      'invalid-flag',
      `Cannot rotate ${JSON.stringify(kind)}${options.retire === true ? ' with --retire' : ''}.`,
      'Give encryption, service-accounts, or service-accounts --retire.',
    );
  const release = await lockInstance(flags);
  try {
    finishRestore(instanceDirectories(flags).dataDirectory);
    const instance = requireInstance(flags);
    const progress = new Progress();
    if (kind === 'encryption') await rotateEncryption(instance, progress);
    else await rotateServiceAccounts(instance, progress, options.retire === true);
  } finally {
    release();
  }
}

async function rotateEncryption(instance: Instance, progress: Progress): Promise<void> {
  const path = encryptionKeysFile(instance);
  const name = await addEncryptionKey(path);
  await progress.step(`writing everything anew with key ${name}`, async (say) => {
    const said = await requestReload(instance);
    if (said !== undefined) return say(said);
    const disk = await openInstanceStore(instance);
    try {
      await finishKeyRotation(disk, encryptionFor([]), path);
    } finally {
      await disk.close();
    }
  });
}

async function rotateServiceAccounts(instance: Instance, progress: Progress, retire: boolean): Promise<void> {
  const directory = serviceAccountKeysDirectory(instance);
  await progress.step(retire ? 'refusing what older keys signed' : 'signing with a new key', async (say) => {
    if (retire) say(`${await retireServiceAccountKeys(directory)} keys removed`);
    else await addServiceAccountKey(directory);
    await requestReload(instance);
  });
}
