/**
 * Backends that choose by a header. HAProxy reads which header, and how much an endpoint may have, from its configuration alone, so
 * each such backend has a slot of its own, whose name says both, and is declared by a reload.
 *
 * Endpoints stand on a ring at places that their numbers decide (`id`). A new one gets the lowest that is free, as HAProxy itself would
 * give it, and the configuration repeats them: a reload moves nobody, and a new instance takes over what a leaving one had.
 */
import type { Backend, HashBalance } from '../model.ts';
import { isHashSlot, type ProxyState, type Server } from './state.ts';

const SLOT = /^h:([a-z0-9_-]+):(\d+):/;

/** Undefined of a backend that does not choose by a header. */
export function hashSlot({ name, balance }: Pick<Backend, 'name' | 'balance'>): string | undefined {
  if (typeof balance !== 'object') return undefined;
  const { header, factor = 0 }: HashBalance = balance;
  return `h:${header}:${factor}:${name}`;
}

export function hashRules(slot: string): string[] {
  const [, header = '', factor = '0'] = SLOT.exec(slot) ?? [];
  return [
    `  balance hdr(${header})`,
    '  hash-type consistent',
    ...(factor === '0' ? [] : [`  hash-balance-factor ${factor}`]),
  ];
}

/** What is wanted, with the places that servers have, and for new ones those that they get. */
export function withPlaces(actual: ProxyState, desired: ProxyState): ProxyState {
  const servers = new Map(desired.servers);
  for (const [slot, wanted] of desired.servers) {
    if (isHashSlot(slot)) servers.set(slot, placed(actual.servers.get(slot) ?? new Map(), wanted));
  }
  return { ...desired, servers };
}

function placed(actual: ReadonlyMap<string, Server>, wanted: ReadonlyMap<string, Server>): Map<string, Server> {
  const taken = new Set([...actual.values()].map(({ place }) => place));
  let next = 1;
  const placeOf = (name: string): number => {
    const known = actual.get(name)?.place;
    if (known !== undefined) return known;
    while (taken.has(next)) next++;
    return next++;
  };
  return new Map([...wanted].map(([name, server]) => [name, { ...server, place: placeOf(name) }]));
}
