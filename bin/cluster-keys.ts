/** The keys of the cluster below the data directory. */
import { join } from 'node:path';
import type { EncryptionOptions } from '#cluster/store/encrypted.ts';
import type { EncryptionKey } from '#cluster/store/encryption-keys.ts';
import type { Instance } from './instance.ts';

/** What rests encrypted. */
export const encryptionFor = (keys: readonly EncryptionKey[]): EncryptionOptions => ({
  keys,
  prefixes: ['/registry/core/secrets/'],
});

export const encryptionKeysFile = ({ dataDirectory }: Instance): string =>
  join(dataDirectory, 'cluster', 'encryption-keys.json');

export const serviceAccountKeysDirectory = ({ dataDirectory }: Instance): string =>
  join(dataDirectory, 'cluster', 'service-account-keys');
