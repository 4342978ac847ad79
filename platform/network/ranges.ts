/** Ranges of IPv4 addresses: from what people write to blocks that a NetworkPolicy can name. Pure. */
import { isIPv4 } from 'node:net';
import { ipv4Number, ipv4Text } from '#lib/ipv4.ts';

/** Both ends are in it. */
export interface Range {
  first: number;
  last: number;
}

export interface Block {
  cidr: string;
  except?: string[];
}

const ALL: Range = { first: 0, last: 2 ** 32 - 1 };

/** `a.b.c.d`, `a.b.c.d/n` or `a.b.c.d-e.f.g.h`; undefined where it is none of them. */
export function parseRange(text: string): Range | undefined {
  const [from = '', to, ...others] = text.split('-');
  if (others.length > 0) return undefined;
  if (to !== undefined) {
    if (!isIPv4(from) || !isIPv4(to)) return undefined;
    const range = { first: ipv4Number(from), last: ipv4Number(to) };
    return range.first <= range.last ? range : undefined;
  }
  const [address = '', bits = '32', ...more] = from.split('/');
  if (more.length > 0 || !isIPv4(address) || !/^(\d|[12]\d|3[0-2])$/.test(bits)) return undefined;
  const size = 2 ** (32 - Number(bits));
  const first = Math.floor(ipv4Number(address) / size) * size;
  return { first, last: first + size - 1 };
}

export function contains(outer: Range, inner: Range): boolean {
  return outer.first <= inner.first && inner.last <= outer.last;
}

/** Sorted, and those that meet are one. */
export function union(ranges: readonly Range[]): Range[] {
  const merged: Range[] = [];
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = merged.at(-1);
    if (before && range.first <= before.last + 1) before.last = Math.max(before.last, range.last);
    else merged.push({ ...range });
  }
  return merged;
}

/** Of ranges as `union` gives them. */
function complement(ranges: readonly Range[]): Range[] {
  const gaps: Range[] = [];
  let next = ALL.first;
  for (const { first, last } of ranges) {
    if (first > next) gaps.push({ first: next, last: first - 1 });
    next = last + 1;
  }
  if (next <= ALL.last) gaps.push({ first: next, last: ALL.last });
  return gaps;
}

export function without(ranges: readonly Range[], taken: readonly Range[]): Range[] {
  return complement(union([...complement(union(ranges)), ...taken]));
}

function cidrsOf({ first, last }: Range): string[] {
  const cidrs: string[] = [];
  for (let at = first; at <= last; ) {
    // The largest block that begins here and does not go beyond the end.
    let bits = 32;
    while (bits > 0 && at % 2 ** (33 - bits) === 0 && at + 2 ** (33 - bits) - 1 <= last) bits--;
    cidrs.push(`${ipv4Text(at)}/${bits}`);
    at += 2 ** (32 - bits);
  }
  return cidrs;
}

/** The fewest comparisons: named one by one, or as everything but what lies between. */
export function blocksOf(ranges: readonly Range[]): Block[] {
  const merged = union(ranges);
  if (merged.length === 0) return [];
  const named = merged.flatMap(cidrsOf);
  const others = complement(merged).flatMap(cidrsOf);
  if (named.length <= others.length + 1) return named.map((cidr) => ({ cidr }));
  return [{ cidr: '0.0.0.0/0', ...(others.length > 0 ? { except: others } : {}) }];
}
