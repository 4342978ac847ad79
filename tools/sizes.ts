/** How long our files are: nine in ten under 350 lines, none over 600 (STYLE of CONTRIBUTING.md). Types made from a schema do not count. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Module } from './imports.ts';

export function sizeComplaints(root: string, modules: Module[]): string[] {
  const sizes = modules
    .filter((module) => !module.path.startsWith('cluster/kinds/types/'))
    .map((module) => ({ path: module.path, lines: readFileSync(join(root, module.path), 'utf8').split('\n').length }));
  const long = sizes.filter((file) => file.lines > 350);
  return [
    ...sizes.filter((file) => file.lines > 600).map((file) => `${file.path} has ${file.lines} lines: split it`),
    ...(long.length > sizes.length / 10
      ? [
          `${long.length} of ${sizes.length} files have more than 350 lines: ${long.map((file) => file.path).join(', ')}`,
        ]
      : []),
  ];
}
