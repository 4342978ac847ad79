/** Ranges of a pool, in an order of the instance's own, so that two instances rarely want the same one. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { type Cidr, addressAt, parseCidr } from './addresses.ts';

export const defaultNetworkPool = '172.16.0.0/12';
/** Of the ranges that are drawn. */
const PREFIX = { 4: 24, 6: 64 } as const;

export function* freeSubnets(pool: Cidr, instance: string): Generator<Cidr> {
  const prefix = PREFIX[pool.family];
  const size = 1n << BigInt((pool.family === 4 ? 32 : 128) - prefix);
  const count = pool.size / size;
  const begin = count === 0n ? 0n : BigInt(createHash('sha256').update(instance).digest().readUInt32BE()) % count;
  for (let step = 0n; step < count; step += 1n)
    yield parseCidr(`${addressAt(pool, ((begin + step) % count) * size)}/${prefix}`);
}

/**
 * Unique local addresses of this instance on this machine (RFC 4193): a /48 with forty bits that are its own, so that networks of
 * two machines that meet one day have nothing in common.
 */
export function localPool(instance: string, machine = machineId()): Cidr {
  const own = createHash('sha256').update(`${instance} ${machine}`).digest('hex').slice(0, 10);
  return parseCidr(`fd${own.slice(0, 2)}:${own.slice(2, 6)}:${own.slice(6)}::/48`);
}

/** Empty where it has none: then the instance's name alone tells. */
function machineId(path = '/etc/machine-id'): string {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
}
