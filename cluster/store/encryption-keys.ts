/**
 * The keys that values are encrypted with, in one file: `{"keys": [{"name": "1", "secret": "<32 bytes, base64>"}]}`. The first
 * writes; all of them read. Rotation: a new one is put first, and the others go when nothing is left that they wrote, see
 * `finishKeyRotation`.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { writeFileAtomic } from '#lib/atomic-file.ts';

export interface EncryptionKey {
  /** In the prefix of every value that it wrote: letters, digits, `-`, `_`, `.`. */
  name: string;
  secret: Buffer;
}

export class EncryptionKeyError extends Error {
  readonly code = 'encryption-keys-invalid';
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'EncryptionKeyError';
  }
}

const SECRET_BYTES = 32;

/** Makes the file, mode 0600, with a first key where it is missing. */
export async function openEncryptionKeys(path: string): Promise<EncryptionKey[]> {
  if (!existsSync(path)) await writeKeys(path, [newKey('1')]);
  return readKeys(path);
}

/** From the next read of the file on a new key writes. Returns its name. */
export async function addEncryptionKey(path: string): Promise<string> {
  const keys = readKeys(path);
  const numbers = keys.map(({ name }) => Number(name)).filter(Number.isInteger);
  const name = String(Math.max(0, ...numbers) + 1);
  await writeKeys(path, [newKey(name), ...keys]);
  return name;
}

/** All but the one that writes; nothing when that is another by now. */
export async function retireEncryptionKeys(path: string, writing: string): Promise<void> {
  const [first, ...others] = readKeys(path);
  if (first?.name === writing && others.length > 0) await writeKeys(path, [first]);
}

function newKey(name: string): EncryptionKey {
  return { name, secret: randomBytes(SECRET_BYTES) };
}

async function writeKeys(path: string, keys: EncryptionKey[]): Promise<void> {
  const text = { keys: keys.map(({ name, secret }) => ({ name, secret: secret.toString('base64') })) };
  await writeFileAtomic(path, `${JSON.stringify(text, undefined, 2)}\n`, { mode: 0o600 });
}

function readKeys(path: string): EncryptionKey[] {
  if ((statSync(path).mode & 0o077) !== 0)
    throw new EncryptionKeyError(`Cannot use the encryption keys in "${path}": others may read them; chmod 600 it`);
  let found: { keys?: { name?: unknown; secret?: unknown }[] };
  try {
    found = JSON.parse(readFileSync(path, 'utf8')) as typeof found;
  } catch (cause) {
    throw new EncryptionKeyError(`Cannot read the encryption keys in "${path}": it is not JSON`, { cause });
  }
  const keys = (Array.isArray(found.keys) ? found.keys : []).map(({ name, secret }, index) => {
    const bytes = Buffer.from(typeof secret === 'string' ? secret : '', 'base64');
    if (typeof name !== 'string' || !/^[A-Za-z0-9_.-]{1,63}$/.test(name) || bytes.length !== SECRET_BYTES)
      throw new EncryptionKeyError(
        `Cannot use keys[${index}] in "${path}": it needs a name of A-Z, a-z, 0-9, "_", ".", "-" and a secret of ${SECRET_BYTES} bytes in base64`,
      );
    return { name, secret: bytes };
  });
  if (keys.length === 0) throw new EncryptionKeyError(`Cannot encrypt: there is no key in "${path}"`);
  if (new Set(keys.map(({ name }) => name)).size < keys.length)
    throw new EncryptionKeyError(`Cannot use the encryption keys in "${path}": two have the same name`);
  return keys;
}
