/** Ranges of a pool, a /24 each, in an order of the instance's own, so that two instances rarely want the same one. */
import { createHash } from 'node:crypto';
import type { Cidr } from './addresses.ts';

export const defaultNetworkPool = '172.16.0.0/12';
const PREFIX = 24;

export function* freeSubnets(pool: Cidr, instance: string): Generator<Cidr> {
  const size = 2 ** (32 - PREFIX);
  const count = Math.floor(pool.size / size);
  const begin = count === 0 ? 0 : createHash('sha256').update(instance).digest().readUInt32BE() % count;
  for (let step = 0; step < count; step += 1)
    yield { base: pool.base + ((begin + step) % count) * size, prefix: PREFIX, size };
}
