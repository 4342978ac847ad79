/**
 * Which version of Node.js a range led to, kept for the next build of the app (`store.toml`): within an hour the npm
 * registry is not asked again, so that a push after a push needs no network.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'smol-toml';
import { text } from '../../../lifecycle/environment.ts';

const KEPT_MILLISECONDS = 3_600_000;

/** `range` is empty where the app names none. */
export function recallNode(layers: string, range: string, now = Date.now()): string | undefined {
  const { metadata } = parse(text(join(layers, 'store.toml'))) as {
    metadata?: { node?: { range?: unknown; version?: unknown; at?: unknown } };
  };
  const { range: asked, version, at } = metadata?.node ?? {};
  if (asked !== range || typeof version !== 'string' || typeof at !== 'number') return undefined;
  return at <= now && now < at + KEPT_MILLISECONDS ? version : undefined;
}

export function rememberNode(layers: string, range: string, version: string, now = Date.now()): void {
  writeFileSync(join(layers, 'store.toml'), stringify({ metadata: { node: { range, version, at: now } } }));
}
