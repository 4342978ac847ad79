/**
 * The keys that sign tokens: one signs, those before it still verify what they signed. They are in the Secret `uaa-keys` of the
 * system namespace, so that tokens outlive a restart; a key signs for 90 days, and goes when nothing that it signed can be
 * valid any more.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import { secrets } from '../resources/kubernetes.ts';
import { systemNamespace } from '../resources/types.ts';

export interface SigningKey {
  id: string;
  privateKey: KeyObject;
  publicKey: KeyObject;
  publicPem: string;
  /** Milliseconds since the epoch. */
  madeAt: number;
}

const NAME = 'uaa-keys';
/** Of an instance from before keys had a date. */
const FIRST = 'signing-key';
const DAY = 24 * 3600 * 1000;
const SIGNS_FOR = 90 * DAY;
/** Longer than any token that it signed: clients may ask for a year. */
const VERIFIES_FOR = SIGNS_FOR + 366 * DAY;
const LOOKS_EVERY = 6 * 3600 * 1000;
const MAX_ATTEMPTS = 5;

export class KeyRing {
  /** Newest first; the first signs. */
  #keys: SigningKey[];

  constructor(keys: SigningKey[]) {
    this.#keys = newestFirst(keys);
  }

  get current(): SigningKey {
    const [key] = this.#keys;
    if (!key) throw new Error(`The Secret ${systemNamespace}/${NAME} has no key`);
    return key;
  }

  get all(): readonly SigningKey[] {
    return this.#keys;
  }

  /** Throws where it is not here. */
  find(id: string | undefined): SigningKey {
    const key = this.#keys.find((candidate) => candidate.id === id);
    if (!key) throw new Error('no key of that name');
    return key;
  }

  replace(keys: SigningKey[]): void {
    this.#keys = newestFirst(keys);
  }
}

function newestFirst(keys: SigningKey[]): SigningKey[] {
  return keys.toSorted((a, b) => b.madeAt - a.madeAt || (a.id < b.id ? -1 : 1));
}

/** Of two that make the first at once, one wins and both use it. */
export async function openKeyRing(client: Client, now: () => number): Promise<KeyRing> {
  return new KeyRing(await ensureKeys(client, now, { fresh: false }));
}

/** A new key signs from now on. */
export async function rotateKeys(client: Client, ring: KeyRing, now: () => number): Promise<void> {
  ring.replace(await ensureKeys(client, now, { fresh: true }));
}

/** Rotates when it is time. Call what it returns to end it. */
export function keepRotating(
  client: Client,
  ring: KeyRing,
  options: { now: () => number; onError: (error: unknown) => void },
): () => void {
  const look = (): void => {
    ensureKeys(client, options.now, { fresh: false }).then((keys) => ring.replace(keys), options.onError);
  };
  const timer = setInterval(look, LOOKS_EVERY).unref();
  return () => clearInterval(timer);
}

async function ensureKeys(client: Client, now: () => number, options: { fresh: boolean }): Promise<SigningKey[]> {
  for (let attempt = 1; ; attempt++) {
    const secret = await readSecret(client);
    const keys = keysOf(secret);
    const live = keys.filter(({ madeAt }) => now() - madeAt < VERIFIES_FOR);
    const newest = Math.max(...live.map(({ madeAt }) => madeAt));
    if (live.length > 0 && live.length === keys.length && !options.fresh && now() - newest < SIGNS_FOR) return keys;
    if (live.length === 0 || options.fresh || now() - newest >= SIGNS_FOR) live.push(await makeKey(now()));
    try {
      return keysOf(await writeKeys(client, secret, live));
    } catch (error) {
      const lost = error instanceof ApiError && (error.reason === 'AlreadyExists' || error.reason === 'Conflict');
      if (!lost || attempt >= MAX_ATTEMPTS) throw error;
    }
  }
}

async function readSecret(client: Client): Promise<Stored<Secret> | undefined> {
  return await orUndefined(client.get(secrets, NAME, systemNamespace));
}

async function writeKeys(client: Client, old: Stored<Secret> | undefined, keys: SigningKey[]): Promise<Stored<Secret>> {
  const data = Object.fromEntries(
    keys.map(({ privateKey, madeAt }) => [
      `key-${madeAt}`,
      Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' })).toString('base64'),
    ]),
  );
  if (old) return client.update(secrets, { ...old, data });
  return client.create(secrets, { metadata: { name: NAME, namespace: systemNamespace }, type: 'Opaque', data });
}

function keysOf(secret: Stored<Secret> | undefined): SigningKey[] {
  return Object.entries(secret?.data ?? {}).flatMap(([name, value]) => {
    const dated = /^key-(\d{1,15})$/.exec(name);
    if (!dated && name !== FIRST) return [];
    const made = dated ? Number(dated[1]) : Date.parse(secret?.metadata.creationTimestamp ?? '');
    return [keyOf(createPrivateKey(Buffer.from(value, 'base64')), made)];
  });
}

async function makeKey(madeAt: number): Promise<SigningKey> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
  return keyOf(privateKey, madeAt);
}

function keyOf(privateKey: KeyObject, madeAt: number): SigningKey {
  const publicKey = createPublicKey(privateKey);
  const publicPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const id = createHash('sha256').update(publicPem).digest('hex').slice(0, 16);
  return { id, privateKey, publicKey, publicPem, madeAt };
}
