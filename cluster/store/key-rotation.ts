import { type EncryptionOptions, reencrypt } from './encrypted.ts';
import { openEncryptionKeys, retireEncryptionKeys } from './encryption-keys.ts';
import type { Store } from './store.ts';

/**
 * Takes up the keys of the file, makes the file where there is none, and brings a rotation to its end: what older keys wrote is written anew, history
 * that they wrote is forgotten, and then they are removed. Killed at any moment it is done again. `options.keys` has them
 * still, for what this process has read already. Returns how many values were written.
 * @param disk  below the encryption
 */
export async function finishKeyRotation(disk: Store, options: EncryptionOptions, path: string): Promise<number> {
  options.keys = await openEncryptionKeys(path);
  // They may be encrypted with an older key, and not be there yet to be found.
  await Promise.allSettled(options.underway ?? []);
  const count = await reencrypt(disk, options);
  const [writing, ...older] = options.keys;
  if (writing === undefined || older.length === 0) return count;
  await disk.compact(await disk.revision());
  await retireEncryptionKeys(path, writing.name);
  return count;
}
