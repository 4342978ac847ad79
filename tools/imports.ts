/**
 * Reads who imports whom: every module of ours, and the specifiers that it names (static, re-export, type-only, dynamic).
 *
 * Works on text, which is enough because the formatter gives every import one shape; strings that only look like an
 * import are not told apart, and none of ours does.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

export interface Module {
  /** Relative to the root. */
  path: string;
  imports: ImportEdge[];
}

export interface ImportEdge {
  specifier: string;
  /** Relative to the root, for modules of ours; undefined for packages. */
  target: string | undefined;
  typeOnly: boolean;
}

export const folders = [
  'bin',
  'platform',
  'cluster',
  'engine',
  'cli',
  'console',
  'lib',
  'testing',
  'test',
  'bench',
  'tools',
  'examples',
];

const pattern =
  /(?:^|\n)\s*(?:import|export)\s+(type\s)?(?:[\w*{}\s,$]+?\sfrom\s+)?'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/g;

export function readModules(root: string): Module[] {
  return folders.flatMap((folder) => sourceFiles(root, folder)).map((path) => readModule(root, path));
}

function readModule(root: string, path: string): Module {
  const imports: ImportEdge[] = [];
  for (const match of readFileSync(join(root, path), 'utf8').matchAll(pattern)) {
    const specifier = match[2] ?? match[3] ?? '';
    imports.push({ specifier, target: resolveSpecifier(root, path, specifier), typeOnly: match[1] !== undefined });
  }
  return { path, imports };
}

function resolveSpecifier(root: string, from: string, specifier: string): string | undefined {
  if (specifier.startsWith('#')) return specifier.slice(1);
  if (specifier.startsWith('.')) return relative(root, normalize(join(root, dirname(from), specifier)));
  return undefined;
}

function sourceFiles(root: string, folder: string): string[] {
  let entries: string[];
  try {
    entries = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return entries
    .filter((name) => name.endsWith('.ts') && !name.includes('node_modules/') && !name.endsWith('.d.ts'))
    .map((name) => join(folder, name))
    .sort();
}
