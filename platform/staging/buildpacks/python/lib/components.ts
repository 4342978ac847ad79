/** Packages of Python for the bill of materials, as installers note them beside the modules (PyPA "Recording installed projects"). */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Component } from '../../../lifecycle/protocol.ts';

/** @param environment  a virtual environment */
export function installedPackages(environment: string): Component[] {
  return globSync('lib/python*/site-packages/*.dist-info/METADATA', { cwd: environment })
    .sort()
    .flatMap((path) => packageOf(readFileSync(join(environment, path), 'utf8')) ?? []);
}

/** @param metadata  headers, and a description after the first empty line, which may have anything in it */
export function packageOf(metadata: string): Component | undefined {
  const [headers = ''] = metadata.split(/\r?\n\r?\n/, 1);
  const value = (header: string) => new RegExp(`^${header}: *(\\S+) *\\r?$`, 'im').exec(headers)?.[1];
  const [name, version] = [value('Name'), value('Version')];
  if (name === undefined || version === undefined) return undefined;
  // package-url specification: names of PyPI are the same in either case, and with dashes for underscores and dots.
  const plain = name.toLowerCase().replaceAll(/[-_.]+/g, '-');
  return { type: 'library', name, version, purl: `pkg:pypi/${plain}@${encodeURIComponent(version)}` };
}
