/**
 * Modification times in layers. One fixed time for all files would be deterministic, but web servers make ETag and
 * Last-Modified of size and time: a changed file of the same size would then be taken for the old one. So a file's time
 * is derived from its content: the same bytes have the same time, in every layer, on every machine.
 */
import { createHash } from 'node:crypto';
import { CREATED_SECONDS } from './oci.ts';

/** How much of a file's beginning takes part; more would have to be held in memory, as the time stands before the data. */
export const TIMED_PREFIX = 1024 * 1024;

/** About 35 years from 1980 on: never in the future. */
const SPAN = 1_100_000_000;

export function fileTime(prefix: Uint8Array, sizeBytes: number): number {
  const hash = createHash('sha1').update(prefix.subarray(0, TIMED_PREFIX)).update(String(sizeBytes)).digest();
  return CREATED_SECONDS + (hash.readUInt32BE(0) % SPAN);
}
