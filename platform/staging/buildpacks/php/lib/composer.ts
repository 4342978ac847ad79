/** composer.json and what Composer installed, as far as a build needs them. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Component } from '../../../lifecycle/protocol.ts';
import { AppError } from '../../../lifecycle/words.ts';

export interface ComposerFile {
  require?: Record<string, unknown>;
  config?: { 'vendor-dir'?: unknown };
}

/** Undefined where there is none. What is no JSON is told by Composer. */
export function readComposer(): ComposerFile | undefined {
  return existsSync('composer.json') ? readJson('composer.json') : undefined;
}

/** Where packages go. @throws AppError where that is no place of the source's */
export function vendorDirectory({ config }: ComposerFile, environment: NodeJS.ProcessEnv): string {
  const named = String(environment['COMPOSER_VENDOR_DIR'] || config?.['vendor-dir'] || 'vendor');
  const plain = named.replace(/^(\.\/)+|\/+$/g, '');
  if (/^[\w@+.-]+(\/[\w@+.-]+)*$/.test(plain) && !plain.split('/').includes('..')) return plain;
  throw new AppError(`composer.json: config.vendor-dir: ${JSON.stringify(named)} is no directory of the source`);
}

/** What Composer notes beside the packages. */
export function installedPackages(vendor: string): Component[] {
  const { packages = [] } = readJson(join(vendor, 'composer', 'installed.json')) as {
    packages?: { name?: string; version?: string }[];
  };
  return packages.flatMap(({ name, version }) => {
    if (name === undefined || version === undefined) return [];
    const path = name.split('/').map(encodeURIComponent).join('/');
    return [{ type: 'library', name, version, purl: `pkg:composer/${path}@${encodeURIComponent(version)}` }];
  });
}

function readJson(path: string): object {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
