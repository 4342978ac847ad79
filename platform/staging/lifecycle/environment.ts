/** Environment of buildpacks and launched processes (buildpack specification, "Environment"). */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { EnvironmentChange } from './protocol.ts';

type Variables = Record<string, string | undefined>;

/** Directories of a layer that are put in front of search paths, by phase. */
const SEARCH_PATHS = {
  launch: [
    ['bin', 'PATH'],
    ['lib', 'LD_LIBRARY_PATH'],
  ],
  build: [
    ['bin', 'PATH'],
    ['lib', 'LD_LIBRARY_PATH'],
    ['lib', 'LIBRARY_PATH'],
    ['include', 'CPATH'],
    ['pkgconfig', 'PKG_CONFIG_PATH'],
  ],
} as const;

/** What a layer changes, in the order of the specification: search paths, `env`, then `env.build` or `env.launch`. */
export function layerEnvironment(layer: string, phase: 'build' | 'launch'): EnvironmentChange[] {
  const changes: EnvironmentChange[] = [];
  for (const [directory, name] of SEARCH_PATHS[phase]) {
    const value = join(layer, directory);
    if (isDirectory(value)) changes.push({ name, action: 'prepend', value, delimiter: ':' });
  }
  changes.push(...environmentDirectory(join(layer, 'env')), ...environmentDirectory(join(layer, `env.${phase}`)));
  if (phase === 'launch') {
    for (const process of names(join(layer, 'env.launch'))) {
      const directory = join(layer, 'env.launch', process);
      if (!isDirectory(directory)) continue;
      changes.push(...environmentDirectory(directory).map((change) => ({ ...change, process })));
    }
  }
  return changes;
}

function environmentDirectory(directory: string): EnvironmentChange[] {
  const changes: EnvironmentChange[] = [];
  for (const file of names(directory)) {
    const path = join(directory, file);
    if (!statSync(path).isFile()) continue;
    const dot = file.lastIndexOf('.');
    const suffix = dot < 0 ? 'override' : file.slice(dot + 1);
    const name = dot < 0 ? file : file.slice(0, dot);
    if (suffix !== 'override' && suffix !== 'default' && suffix !== 'append' && suffix !== 'prepend') continue;
    changes.push({
      name,
      action: suffix,
      value: readFileSync(path, 'utf8'),
      delimiter: suffix === 'append' || suffix === 'prepend' ? text(join(directory, `${name}.delim`)) : '',
    });
  }
  return changes;
}

export function applyEnvironment(variables: Variables, changes: readonly EnvironmentChange[]): void {
  for (const { name, action, value, delimiter } of changes) {
    const old = variables[name];
    if (action === 'override') variables[name] = value;
    else if (action === 'default') variables[name] = old ?? value;
    else if (old === undefined || old === '') variables[name] = value;
    else variables[name] = action === 'append' ? `${old}${delimiter}${value}` : `${value}${delimiter}${old}`;
  }
}

/** The user's variables, one file each, as the platform gives them. */
export function platformVariables(platform: string): Record<string, string> {
  const directory = join(platform, 'env');
  const variables: Record<string, string> = {};
  for (const name of names(directory)) {
    const path = join(directory, name);
    // Kubernetes mounts have `..data` and the like beside the files.
    if (!name.startsWith('..') && statSync(path).isFile()) variables[name] = readFileSync(path, 'utf8');
  }
  return variables;
}

export function names(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

export function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

export function text(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return '';
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
