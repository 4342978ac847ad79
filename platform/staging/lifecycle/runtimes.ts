/**
 * The buildpacks' side of runtimes (`runtimes/runtimes.ts`): what is offered, what is mounted, and two ways to ask.
 *   in `bin/detect`  `planRuntimes` writes a build plan that provides and requires the language
 *   in `bin/build`   `askRuntimes`, for what shows itself as needed only then; a program that ends with an error after it is
 *                    run again with the runtime there
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'smol-toml';
import type { Detected } from './detect.ts';
import { text } from './environment.ts';

export interface RuntimeOffer {
  name: string;
  language: string;
  version: string;
}

export const ASKED_RUNTIMES = 'runtimes.toml';

/** From the oldest to the newest. */
export function offeredRuntimes(language: string): RuntimeOffer[] {
  const file = text(process.env['SAMPAN_RUNTIMES'] ?? '/cnb/runtimes.json');
  const offers = file === '' ? [] : (JSON.parse(file) as RuntimeOffer[]);
  return offers.filter((offer) => offer.language === language);
}

export function isMounted(name: string): boolean {
  return existsSync(join('/cnb/runtimes', name));
}

/** Without a runtime where it needs one, `bin/build` has something to say: what the source asks for cannot be had. */
export function planRuntimes(plan: string, language: string, names: readonly string[]): void {
  const requires = names.map((runtime) => ({ name: language, metadata: { runtime } }));
  writeFileSync(
    plan,
    stringify({ provides: [{ name: language }], requires: requires.length === 0 ? [{ name: language }] : requires }),
  );
}

export function askRuntimes(layers: string, names: readonly string[]): void {
  writeFileSync(join(layers, ASKED_RUNTIMES), stringify({ names }));
}

export function askedRuntimes(layers: string): string[] {
  const path = join(layers, ASKED_RUNTIMES);
  if (!existsSync(path)) return [];
  return (parse(readFileSync(path, 'utf8')) as { names?: string[] }).names ?? [];
}

export function plannedRuntimes(group: readonly Detected[]): string[] {
  const names = group.flatMap(({ plan }) => plan.map(({ metadata }) => metadata?.['runtime']));
  return [...new Set(names.filter((name) => typeof name === 'string'))];
}
