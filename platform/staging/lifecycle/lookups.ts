/**
 * Which version a question led to, kept for the next build of the app (`store.toml`): within an hour no registry is asked
 * again, so that a push after a push needs no network.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'smol-toml';
import { text } from './environment.ts';

const KEPT_MILLISECONDS = 3_600_000;

interface Answer {
  question?: unknown;
  version?: unknown;
  at?: unknown;
}

function answers(layers: string): Record<string, Answer> {
  const store = parse(text(join(layers, 'store.toml'))) as { metadata?: Record<string, Answer> };
  return store.metadata ?? {};
}

/** @param question  what the source asks for; empty where it names nothing */
export function recallVersion(layers: string, what: string, question: string, now = Date.now()): string | undefined {
  const { question: asked, version, at } = answers(layers)[what] ?? {};
  if (asked !== question || typeof version !== 'string' || typeof at !== 'number') return undefined;
  return at <= now && now < at + KEPT_MILLISECONDS ? version : undefined;
}

export function rememberVersion(
  layers: string,
  what: string,
  { question, version }: { question: string; version: string },
  now = Date.now(),
): void {
  const metadata = { ...answers(layers), [what]: { question, version, at: now } };
  writeFileSync(join(layers, 'store.toml'), stringify({ metadata }));
}
