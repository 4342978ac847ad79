/**
 * How many requests one user may make in a while, or one address without a valid token, as Cloud Foundry counts them: in windows
 * that begin with a first request. Who is an administrator or reads everything is not limited unless it is said. An
 * administrator's own numbers are in the ConfigMap `api-rate-limits` of the system namespace, whole ones by these names
 * (-1: no limit), and `enabled`; they count as soon as they are written. Counts are held in memory, bounded.
 */
import { isIPv6 } from 'node:net';
import type { Client, Informer } from '#cluster/client/client.ts';
import { createInformer } from '#cluster/client/informer.ts';
import type { ConfigMap } from '#cluster/kinds/types/core.ts';
import { BoundedMap } from '#lib/bounded-map.ts';
import { parseIpRange, rangeText } from '#lib/ip-range.ts';
import { configMaps } from '../resources/kubernetes.ts';
import { systemNamespace } from '../resources/types.ts';
import type { Identity } from '../uaa/uaa.ts';
import type { CloudFoundryErrorTitle } from './errors.ts';

const NAME = 'api-rate-limits';

export interface RateLimits {
  enabled: boolean;
  /** Of one user. */
  general: number;
  /** Of one address. */
  unauthenticated: number;
  /** Of one administrator. */
  admin: number;
  resetIntervalInMinutes: number;
}

/** Enough for any person and any pipeline, and not for a flood. */
const DEFAULTS: RateLimits = {
  enabled: true,
  general: 20_000,
  unauthenticated: 1_000,
  admin: -1,
  resetIntervalInMinutes: 60,
};

const MOST_COUNTED = 50_000;

export interface Counted {
  headers: Record<string, string>;
  /** The request is one too many. */
  exceeded?: Extract<CloudFoundryErrorTitle, 'RateLimitExceeded' | 'IPBasedRateLimitExceeded'>;
}

export class RateLimiter {
  readonly #counts = new BoundedMap<string, { requests: number; until: number }>(MOST_COUNTED);
  readonly #informer: Informer<ConfigMap>;
  readonly #now: () => number;

  constructor(client: Client, options: { now?: () => number; onError?: (error: unknown) => void } = {}) {
    this.#now = options.now ?? Date.now;
    this.#informer = createInformer(client, configMaps, {
      namespace: systemNamespace,
      fieldSelector: `metadata.name=${NAME}`,
      ...(options.onError ? { onError: options.onError } : {}),
    });
  }

  limits(): RateLimits {
    const data = this.#informer.get(NAME, systemNamespace)?.data ?? {};
    const whole = (name: Exclude<keyof RateLimits, 'enabled'>, least: number): number => {
      const text = data[name]?.trim() ?? '';
      return /^-?\d{1,9}$/.test(text) ? Math.max(least, Number(text)) : DEFAULTS[name];
    };
    return {
      enabled: data['enabled'] === undefined ? DEFAULTS.enabled : data['enabled'].trim() === 'true',
      general: whole('general', -1),
      unauthenticated: whole('unauthenticated', -1),
      admin: whole('admin', -1),
      resetIntervalInMinutes: whole('resetIntervalInMinutes', 1),
    };
  }

  /** Counts a request. Undefined where it is not limited. @param identity  of a valid token */
  count(identity: Identity | undefined, address: string): Counted | undefined {
    const limits = this.limits();
    const limit = identity ? (identity.reads === 'all' ? limits.admin : limits.general) : limits.unauthenticated;
    if (!limits.enabled || limit < 0) return undefined;
    const key = identity ? `user ${identity.userId}` : `address ${networkOf(address)}`;
    const entry = this.#entry(key, limits.resetIntervalInMinutes * 60_000);
    entry.requests += 1;
    const over = entry.requests > limit;
    return {
      headers: {
        'x-ratelimit-limit': String(limit),
        'x-ratelimit-remaining': String(Math.max(0, limit - entry.requests)),
        'x-ratelimit-reset': String(Math.ceil(entry.until / 1000)),
        ...(over ? { 'retry-after': String(Math.max(1, Math.ceil((entry.until - this.#now()) / 1000))) } : {}),
      },
      ...(over ? { exceeded: identity ? 'RateLimitExceeded' : 'IPBasedRateLimitExceeded' } : {}),
    };
  }

  close(): void {
    this.#informer.close();
  }

  #entry(key: string, milliseconds: number): { requests: number; until: number } {
    const now = this.#now();
    const known = this.#counts.get(key);
    // A shorter interval counts for windows that have begun, too.
    if (known && known.until > now && known.until <= now + milliseconds) return known;
    const entry = { requests: 0, until: now + milliseconds };
    this.#counts.set(key, entry);
    return entry;
  }
}

/** Whoever has one address of IPv6 has all of its /64. */
function networkOf(address: string): string {
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address;
  const network = parseIpRange(`${address.replace(/%.*/, '')}/64`);
  return network === undefined ? address : rangeText(network);
}

/** The router in front is on this machine, and adds the address that it saw at the end of what the client said. */
export function clientAddress(peer: string | undefined, forwarded: string | string[] | undefined): string {
  const own = peer === undefined || /^(::1$|(::ffff:)?127\.)/.test(peer);
  const last = [forwarded].flat().join(',').split(',').at(-1)?.trim() ?? '';
  return own && last !== '' ? last : (peer ?? '');
}
