/**
 * The keys that sign service account tokens: P-256 private keys as PEM, one file each, mode 0600. The file with the greatest
 * name signs; all of them verify, so that a new key may come before the old one's tokens have ended.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { syncDirectory, writeFileAtomic } from '#lib/atomic-file.ts';
import { type JWK, SignJWT } from 'jose';

export const TOKEN_ALGORITHM = 'ES256';

export interface ServiceAccountKeys {
  sign(claims: Record<string, unknown>): Promise<string>;
  /** Every key that verifies, newest first (RFC 7517). Another object when they have changed. */
  readonly jwks: { keys: JWK[] };
  /** Reads the directory anew: keys came or went. */
  reload(): Promise<void>;
}

export class KeyError extends Error {
  readonly code = 'service-account-key-invalid';
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KeyError';
  }
}

/** Makes the first key where the directory has none. */
export async function openServiceAccountKeys(directory: string): Promise<ServiceAccountKeys> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
  let newest: ReadKey;
  let jwks: { keys: JWK[] };
  const reload = async (): Promise<void> => {
    if (keyFiles(directory).length === 0) await addServiceAccountKey(directory);
    const keys = keyFiles(directory).map((name) => readKey(join(directory, name)));
    newest = keys[0] as ReadKey;
    jwks = { keys: keys.map(({ jwk }) => jwk) };
  };
  await reload();
  return {
    sign: (claims) =>
      new SignJWT(claims).setProtectedHeader({ alg: TOKEN_ALGORITHM, kid: newest.jwk.kid ?? '' }).sign(newest.key),
    get jwks() {
      return jwks;
    },
    reload,
  };
}

/** From the next reading on it signs, and the others verify. */
export async function addServiceAccountKey(directory: string): Promise<void> {
  const last = keyFiles(directory)[0];
  const number = last === undefined ? 1 : Number.parseInt(last, 10) + 1;
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  await writeFileAtomic(join(directory, `${String(number).padStart(6, '0')}.pem`), pem, { mode: 0o600 });
}

/** All but the newest: what they signed is refused from the next reading on. Returns how many. */
export async function retireServiceAccountKeys(directory: string): Promise<number> {
  const older = keyFiles(directory).slice(1);
  for (const name of older) rmSync(join(directory, name));
  await syncDirectory(directory);
  return older.length;
}

/** Newest first. */
function keyFiles(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => /^\d+\.pem$/.test(name))
    .sort()
    .reverse();
}

interface ReadKey {
  key: KeyObject;
  jwk: JWK;
}

function readKey(path: string): ReadKey {
  if ((statSync(path).mode & 0o077) !== 0)
    throw new KeyError(`Cannot use the key "${path}": others may read it; chmod 600 it`);
  let key: KeyObject;
  try {
    key = createPrivateKey(readFileSync(path));
  } catch (cause) {
    throw new KeyError(`Cannot read the key "${path}": it must be a P-256 private key in PEM`, { cause });
  }
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const jwk = createPublicKey(key).export({ format: 'jwk' }) as JWK;
  return {
    key,
    jwk: { ...jwk, use: 'sig', alg: TOKEN_ALGORITHM, kid: createHash('sha256').update(spki).digest('base64url') },
  };
}
