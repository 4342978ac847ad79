/** Password hashes: argon2id (RFC 9106) as PHC strings, `$argon2id$v=19$m=…,t=…,p=…$salt$hash`. */
import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';

/** OWASP's second choice of parameters: 19 MiB, two passes. */
const MEMORY = 19_456;
const PASSES = 2;
const PARALLELISM = 1;
const LENGTH = 32;
/** Passwords are cut off by nobody, and a long one must not cost more than its hash. */
export const PASSWORD_MAX_BYTES = 1024;

interface Parameters {
  memory: number;
  passes: number;
  parallelism: number;
}

function derive(password: string, salt: Buffer, length: number, parameters: Parameters): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  argon2(
    'argon2id',
    {
      message: Buffer.from(password, 'utf8'),
      nonce: salt,
      parallelism: parameters.parallelism,
      tagLength: length,
      memory: parameters.memory,
      passes: parameters.passes,
    },
    (error, hash) => {
      if (error) reject(error);
      else resolve(hash);
    },
  );
  return promise;
}

const encode = (bytes: Buffer) => bytes.toString('base64').replaceAll('=', '');

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const hash = await derive(password, salt, LENGTH, { memory: MEMORY, passes: PASSES, parallelism: PARALLELISM });
  return `$argon2id$v=19$m=${MEMORY},t=${PASSES},p=${PARALLELISM}$${encode(salt)}$${encode(hash)}`;
}

/** False for a wrong password and for a hash that cannot be read; takes the same time for both lengths of password. */
export async function verifyPassword(password: string, phc: string): Promise<boolean> {
  const match = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/.exec(phc);
  if (!match || Buffer.byteLength(password) > PASSWORD_MAX_BYTES) return false;
  const expected = Buffer.from(match[5] ?? '', 'base64');
  const actual = await derive(password, Buffer.from(match[4] ?? '', 'base64'), expected.length, {
    memory: Number(match[1]),
    passes: Number(match[2]),
    parallelism: Number(match[3]),
  });
  return timingSafeEqual(actual, expected);
}
