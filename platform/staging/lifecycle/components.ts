/** What a layer is made of: what its buildpack says (CycloneDX, buildpack specification "SBOM"), and packages of Node.js in it. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { names } from './environment.ts';
import type { Component } from './protocol.ts';
import { warning } from './words.ts';

const LARGEST_DOCUMENT = 16 * 1024 * 1024;
const MOST = 10_000;

/** Of `<layer>.sbom.cdx.json` or `launch.sbom.cdx.json`; undefined where there is none. */
export function componentsOf(path: string): Component[] | undefined {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined) return undefined;
  try {
    if (size > LARGEST_DOCUMENT) throw new Error(`it has more than ${LARGEST_DOCUMENT} bytes`);
    const { components = [] } = JSON.parse(readFileSync(path, 'utf8')) as { components?: unknown[] };
    return components.slice(0, MOST).flatMap((item) => component(item) ?? []);
  } catch (error) {
    warning(`the bill of materials ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

function component(value: unknown): Component | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { type, name, version, purl } = value as Record<string, unknown>;
  if (typeof name !== 'string') return undefined;
  return {
    type: typeof type === 'string' ? type : 'library',
    name,
    ...(typeof version === 'string' ? { version } : {}),
    ...(typeof purl === 'string' ? { purl } : {}),
  };
}

/** Of every `node_modules` below a directory. */
export function nodePackages(directory: string): Component[] {
  const found = new Map<string, Component>();
  const modules = [join(directory, 'node_modules')];
  for (let index = 0; index < modules.length && found.size < MOST; index += 1) {
    const place = modules[index] ?? '';
    for (const name of names(place).flatMap((entry) => (entry.startsWith('@') ? scoped(place, entry) : [entry]))) {
      const own = join(place, name);
      const item = packageAt(own);
      if (item?.purl === undefined) continue;
      found.set(item.purl, item);
      if (names(own).includes('node_modules')) modules.push(join(own, 'node_modules'));
    }
  }
  return [...found.values()].sort((left, right) => ((left.purl ?? '') < (right.purl ?? '') ? -1 : 1));
}

function scoped(place: string, scope: string): string[] {
  return readdirSync(join(place, scope)).map((name) => `${scope}/${name}`);
}

function packageAt(directory: string): Component | undefined {
  try {
    const { name, version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    if (typeof name !== 'string' || typeof version !== 'string') return undefined;
    // package-url specification: the scope is a namespace, and its @ is escaped.
    return { type: 'library', name, version, purl: `pkg:npm/${name.replace('@', '%40')}@${version}` };
  } catch {
    // Directories without a package.json that can be read are no packages: .bin, caches, fixtures.
    return undefined;
  }
}
