/**
 * A number for fixtures with addresses, ids and names of their own: nobody else on this machine has it while this process lives,
 * other checkouts neither. A name in the kernel's abstract namespace is the claim (unix(7)), so a killed process keeps none.
 */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { hostRoutes, overlaps } from '#lib/routes.ts';

const COUNT = 250;

/** From 1 to 250; no route of the host leads to `10.97.<octet>.0/24`, or to the range of its Services. */
export async function claimOctet(): Promise<number> {
  const first = randomInt(COUNT);
  for (let step = 0; step < COUNT; step += 1) {
    const octet = 1 + ((first + step) % COUNT);
    if ((await isOurs(octet)) && !isRouted(octet)) return octet;
  }
  throw new Error('every range for fixtures in 10.97.0.0/16 is in use: see `ip route`');
}

async function isOurs(octet: number): Promise<boolean> {
  const holder = createServer().unref();
  holder.listen(`\0sampan-test-octet-${octet}`);
  try {
    await once(holder, 'listening');
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false;
    throw error;
  }
}

function isRouted(octet: number): boolean {
  const own = [`10.97.${octet}.0/24`, `10.240.${octet}.0/24`];
  return hostRoutes().some((route) => own.some((range) => overlaps(route, range)));
}
