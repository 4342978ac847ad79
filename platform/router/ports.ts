/** Lists of TCP ports as ranges, which a configuration of HAProxy, the router group's page and people read. */
import { portIsFree } from '#lib/ports.ts';

/** `1024-1030,1032`, of ports in growing order. */
export function portRanges(ports: readonly number[]): string[] {
  const ranges: { first: number; last: number }[] = [];
  for (const port of ports) {
    const range = ranges.at(-1);
    if (range?.last === port - 1) range.last = port;
    else ranges.push({ first: port, last: port });
  }
  return ranges.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`));
}

/** Reads what `portRanges` wrote, with commas between. */
export function parsePorts(text: string): number[] {
  return [...text.matchAll(/(\d+)(?:-(\d+))?/g)].flatMap(([, first, last = first]) =>
    Array.from({ length: Math.max(0, Number(last) - Number(first) + 1) }, (_, index) => Number(first) + index),
  );
}

/** Those that nobody listens on, and those that are `held` by ourselves. */
export async function freePorts(ports: readonly number[], held: ReadonlySet<number>): Promise<number[]> {
  const free: number[] = [];
  for (const port of ports) if (held.has(port) || (await portIsFree(port))) free.push(port);
  return free;
}
