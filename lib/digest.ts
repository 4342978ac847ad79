/**
 * Content digests as OCI writes them: `algorithm:hex` (image-spec descriptor.md, "Digests").
 */
import { createHash, type Hash } from 'node:crypto';

const LENGTHS: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

export interface Digest {
  algorithm: string;
  hex: string;
}

/** The parts of a well-formed digest in an algorithm that we know; undefined for anything else. */
export function parseDigest(text: string): Digest | undefined {
  const colon = text.indexOf(':');
  const algorithm = text.slice(0, Math.max(colon, 0));
  const hex = text.slice(colon + 1);
  const length = Object.hasOwn(LENGTHS, algorithm) ? LENGTHS[algorithm] : undefined;
  return length === hex.length && /^[0-9a-f]+$/.test(hex) ? { algorithm, hex } : undefined;
}

export function isDigest(text: string): boolean {
  return parseDigest(text) !== undefined;
}

export function isDigestAlgorithm(name: string): boolean {
  return Object.hasOwn(LENGTHS, name);
}

/** Digest of bytes that are at hand. */
export function digestOf(content: string | Uint8Array, algorithm = 'sha256'): string {
  return formatDigest(createHash(algorithm).update(content), algorithm);
}

/** Ends the hash. */
export function formatDigest(hash: Hash, algorithm = 'sha256'): string {
  return `${algorithm}:${hash.digest('hex')}`;
}
