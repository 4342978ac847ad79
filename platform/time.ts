/** Nanoseconds since the epoch as decimal strings: of 19 digits until the year 2286, so they compare as text. */

/** The earliest time that these can say; anything before it is written as this. */
export const EARLIEST = '0'.repeat(19);

let cachedSecond = '';
let cachedEpoch = '';

/** Reads RFC 3339 with up to nine digits of a second, of any zone (nodes write their own); undefined when it is none. */
export function nanoseconds(time: string): string | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(time);
  if (!match) return undefined;
  const [, date = '', fraction = '', zone = ''] = match;
  const second = date + zone;
  // Lines come many a second.
  if (second !== cachedSecond) {
    const milliseconds = Date.parse(second);
    if (!(milliseconds >= 0)) return undefined;
    cachedSecond = second;
    cachedEpoch = String(milliseconds / 1000).padStart(10, '0');
  }
  return cachedEpoch + fraction.padEnd(9, '0');
}

export function fromMilliseconds(milliseconds: number): string {
  return String(BigInt(Math.max(0, Math.round(milliseconds * 1000))) * 1000n).padStart(19, '0');
}

/** RFC 3339 with nanoseconds. */
export function toRfc3339(time: string): string {
  const padded = time.padStart(19, '0');
  const second = new Date(Number(padded.slice(0, -9)) * 1000).toISOString().slice(0, 19);
  return `${second}.${padded.slice(-9)}Z`;
}

export function byTime(one: { timestamp: string }, other: { timestamp: string }): number {
  return one.timestamp < other.timestamp ? -1 : one.timestamp > other.timestamp ? 1 : 0;
}

export function next(time: string): string {
  return String(BigInt(time) + 1n).padStart(19, '0');
}

/** As a query gives it: a 64-bit number, which may be negative; undefined when it is none. */
export function parseQueryTime(text: string): string | undefined {
  if (!/^-?\d{1,19}$/.test(text)) return undefined;
  return text.startsWith('-') ? EARLIEST : text.padStart(19, '0');
}
