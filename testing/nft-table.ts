/** What is in a table of the kernel, to be compared: in an order that does not depend on what came first; rules stay in theirs. */
import { execFileSync } from 'node:child_process';

interface Entry {
  name?: string;
  chain?: string;
  handle?: number;
  elem?: unknown[];
}

export function tableContents(table: string): [string, string[]][] {
  const found = new Map<string, string[]>();
  const listing = execFileSync('nft', ['-j', 'list', 'table', 'inet', table], { encoding: 'utf8' });
  const { nftables } = JSON.parse(listing) as { nftables: Record<string, Entry>[] };
  for (const [kind, entry] of nftables.flatMap((one) => Object.entries(one))) {
    const { handle: _handle, ...rest } = entry;
    if (rest.elem !== undefined) rest.elem = rest.elem.map((one) => JSON.stringify(one)).sort();
    const key = `${kind} ${rest.chain ?? rest.name ?? ''}`;
    found.set(key, [...(found.get(key) ?? []), JSON.stringify(rest)]);
  }
  return [...found].sort(([one], [other]) => (one < other ? -1 : 1));
}
