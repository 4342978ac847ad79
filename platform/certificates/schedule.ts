/** When certificates are made anew, and when what failed is tried again. Times are milliseconds since the epoch. */
import { createHash } from 'node:crypto';

const FIRST_RETRY = 10 * 60_000;
const LAST_RETRY = 24 * 60 * 60_000;
const RENEW_AT = 2 / 3;
const JITTER = 1 / 20;

/** The share is the name's own: another process comes to the same time. */
export function renewalTime(name: string, notBefore: number, notAfter: number): number {
  const share = createHash('sha256').update(name).digest().readUInt32BE(0) / 2 ** 32;
  return Math.round(notBefore + (notAfter - notBefore) * (RENEW_AT - JITTER * share));
}

/**
 * @param failures  in a row, this one too
 * @param asked  by the server: not before
 */
export function retryTime(now: number, failures: number, asked = 0): number {
  return Math.max(asked, now + Math.min(LAST_RETRY, FIRST_RETRY * 2 ** Math.min(20, failures - 1)));
}

/** `Retry-After` (RFC 9110, 10.2.3): seconds, or a date. Undefined where it is neither. */
export function retryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header)) return now + Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : date;
}
