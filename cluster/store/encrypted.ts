/**
 * A store whose values below some prefixes are encrypted where they rest: AES-256-GCM, with the key's name before each value and
 * the store's key as associated data, so that no value can be put in another's place. Whoever uses it sees plain values.
 *
 * What was written before there were keys, or with an older one, is read as it is; `reencrypt` writes it anew.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { EncryptionKey } from './encryption-keys.ts';
import { type Entry, type Store, StoreError } from './store.ts';

/** As upstream's, so that its tools see what it is; then the key's name, `:`, nonce, ciphertext, tag. */
const PREFIX = 'k8s:enc:aesgcm:v1:';
const ALGORITHM = 'aes-256-gcm';
const NONCE = 12;
const TAG = 16;
const NAME_LIMIT = 64;

export interface EncryptionOptions {
  /** The first writes. They may be changed while the store is in use. */
  keys: readonly EncryptionKey[];
  /** `/registry/core/secrets/`, … */
  prefixes: readonly string[];
  /** Writes that may have been encrypted with keys from before a change; the store notes them. */
  underway?: Set<Promise<unknown>>;
}

export function encryptedStore(store: Store, options: EncryptionOptions): Store {
  const seal = sealer(options);
  const open = opener(options);
  const plain = (entry: Entry): Entry => {
    const value = open(entry.key, entry.value);
    return value === entry.value ? entry : { ...entry, value };
  };
  options.underway ??= new Set();
  const { underway } = options;
  const writing = async (work: Promise<Entry>): Promise<Entry> => {
    underway.add(work);
    try {
      return plain(await work);
    } catch (error) {
      if (!(error instanceof StoreError) || error.entry === undefined) throw error;
      throw new StoreError(error.code, error.message, { cause: error, entry: plain(error.entry) });
    } finally {
      underway.delete(work);
    }
  };
  return {
    create: (key, value) => writing(store.create(key, seal(key, value))),
    update: (key, value, expected) => writing(store.update(key, seal(key, value), expected)),
    delete: (key, expected) => writing(store.delete(key, expected)),
    get: async (key) => {
      const entry = await store.get(key);
      return entry === undefined ? undefined : plain(entry);
    },
    list: async (prefix, listOptions) => {
      const { entries, ...rest } = await store.list(prefix, listOptions);
      return { entries: entries.map(plain), ...rest };
    },
    async *watch(prefix, watchOptions) {
      for await (const { events, revision } of store.watch(prefix, watchOptions))
        yield {
          events: events.map(({ type, entry, previous }) => ({
            type,
            entry: plain(entry),
            previous: previous === undefined ? undefined : plain(previous),
          })),
          revision,
        };
    },
    revision: () => store.revision(),
    compact: (revision) => store.compact(revision),
    async *snapshot() {
      for await (const { entries, revision } of store.snapshot()) yield { entries: entries.map(plain), revision };
    },
    close: () => store.close(),
  };
}

/**
 * Writes anew what the first key did not write, and returns how many values that were. What others change meanwhile is theirs:
 * they write with the first key too.
 */
export async function reencrypt(store: Store, options: EncryptionOptions): Promise<number> {
  const seal = sealer(options);
  const open = opener(options);
  const current = Buffer.from(`${PREFIX}${options.keys[0]?.name}:`);
  let count = 0;
  for (const prefix of options.prefixes) {
    const { entries } = await store.list(prefix);
    const old = entries.filter(({ value }) => !asBuffer(value).subarray(0, current.length).equals(current));
    await Promise.all(
      old.map(async ({ key, value, revision }) => {
        try {
          await store.update(key, seal(key, open(key, value)), revision);
          count++;
        } catch (error) {
          if (!(error instanceof StoreError && (error.code === 'conflict' || error.code === 'not-found'))) throw error;
        }
      }),
    );
  }
  return count;
}

type Transform = (key: string, value: Uint8Array) => Uint8Array;

function isSecret({ prefixes }: EncryptionOptions, key: string): boolean {
  return prefixes.some((prefix) => key.startsWith(prefix));
}

function sealer(options: EncryptionOptions): Transform {
  writingKey(options);
  return (key, value) => {
    if (!isSecret(options, key)) return value;
    const { name, secret } = writingKey(options);
    const nonce = randomBytes(NONCE);
    const cipher = createCipheriv(ALGORITHM, secret, nonce).setAAD(Buffer.from(key));
    const sealed = cipher.update(value);
    return Buffer.concat([Buffer.from(`${PREFIX}${name}:`), nonce, sealed, cipher.final(), cipher.getAuthTag()]);
  };
}

function writingKey({ keys: [first] }: EncryptionOptions): EncryptionKey {
  if (first === undefined) throw new StoreError('unavailable', 'there is no key to encrypt with');
  return first;
}

function opener(options: EncryptionOptions): Transform {
  return (key, value) => {
    const bytes = asBuffer(value);
    if (!isSecret(options, key) || bytes.toString('latin1', 0, PREFIX.length) !== PREFIX) return value;
    const end = bytes.indexOf(':', PREFIX.length);
    const name = bytes.toString('latin1', PREFIX.length, Math.min(end, PREFIX.length + NAME_LIMIT));
    const secret = options.keys.find((one) => one.name === name)?.secret;
    if (secret === undefined)
      throw new StoreError(
        'corrupt',
        `the value of "${key}" was encrypted with the key "${name}", which is not there: put it back`,
      );
    const start = end + 1 + NONCE;
    try {
      const decipher = createDecipheriv(ALGORITHM, secret, bytes.subarray(end + 1, start)).setAAD(Buffer.from(key));
      decipher.setAuthTag(bytes.subarray(Math.max(start, bytes.length - TAG)));
      const opened = Buffer.concat([decipher.update(bytes.subarray(start, bytes.length - TAG)), decipher.final()]);
      return new Uint8Array(opened.buffer, opened.byteOffset, opened.byteLength);
    } catch (cause) {
      throw new StoreError(
        'corrupt',
        `the value of "${key}" cannot be decrypted with the key "${name}": it was changed on disk`,
        { cause },
      );
    }
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
