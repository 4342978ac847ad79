/** Gems for the bill of materials, by the names of the specifications that were installed. */
import { globSync } from 'node:fs';
import { basename } from 'node:path';
import type { Component } from '../../../lifecycle/protocol.ts';

/** @param gems  BUNDLE_PATH */
export function installedGems(gems: string): Component[] {
  return globSync('*/*/specifications/*.gemspec', { cwd: gems })
    .sort()
    .flatMap((path) => gemOf(basename(path)) ?? []);
}

/** `nokogiri-1.18.2-x86_64-linux-gnu.gemspec` is of version 1.18.2. */
export function gemOf(file: string): Component | undefined {
  const [, name, version] = /^(.+?)-(\d[\w.]*?)(?:-[\w-]+)?\.gemspec$/.exec(file) ?? [];
  if (name === undefined || version === undefined) return undefined;
  return { type: 'library', name, version, purl: `pkg:gem/${encodeURIComponent(name)}@${encodeURIComponent(version)}` };
}
