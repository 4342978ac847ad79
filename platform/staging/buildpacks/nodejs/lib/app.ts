/** What the source says about itself: package.json, lockfile, versions. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { AppError } from '../../../lifecycle/words.ts';

export interface PackageJson {
  engines?: Record<string, string>;
  packageManager?: string;
  scripts?: Record<string, string>;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
  overrides?: unknown;
  resolutions?: unknown;
  workspaces?: unknown;
  pnpm?: unknown;
}

export type ManagerName = 'npm' | 'yarn' | 'yarn-berry' | 'pnpm';

export interface App {
  /** Undefined where there is only a server.js. */
  package: PackageJson | undefined;
  manager: ManagerName;
  lockfile: string | undefined;
}

const RECORDS = ['engines', 'scripts', 'dependencies', 'devDependencies', 'optionalDependencies'] as const;

export function readApp(environment: Record<string, string | undefined>): App {
  if (!existsSync('package.json')) return { package: undefined, manager: 'npm', lockfile: undefined };
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync('package.json', 'utf8').replace(/^\uFEFF/, ''));
  } catch (error) {
    throw new AppError(`package.json is not valid JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new AppError('package.json must hold one JSON object');
  }
  const file = parsed as PackageJson;
  for (const field of RECORDS) {
    const record: unknown = file[field];
    if (record === undefined) continue;
    const isRecord = typeof record === 'object' && record !== null && !Array.isArray(record);
    if (!isRecord || Object.values(record).some((value) => typeof value !== 'string')) {
      throw new AppError(`package.json: "${field}" must be an object of strings`);
    }
  }
  if (environment['BP_NODE_VERSION'] !== undefined) {
    file.engines = { ...file.engines, node: environment['BP_NODE_VERSION'] };
  }
  return { package: file, ...managerOf(file) };
}

function managerOf(file: PackageJson): { manager: ManagerName; lockfile: string | undefined } {
  const locks = ['package-lock.json', 'npm-shrinkwrap.json', 'yarn.lock', 'pnpm-lock.yaml'].filter(existsSync);
  const named = /^(npm|yarn|pnpm)@/.exec(file.packageManager ?? '')?.[1];
  const managers = new Set(
    locks.map((lock) => (lock.startsWith('yarn') ? 'yarn' : lock.startsWith('pnpm') ? 'pnpm' : 'npm')),
  );
  if (managers.size > 1 && named === undefined) {
    throw new AppError(`there are lockfiles of several package managers (${locks.join(', ')}): delete all but one`);
  }
  const manager = named ?? [...managers][0] ?? 'npm';
  const lockfile = locks.find((lock) => (manager === 'npm' ? lock.endsWith('.json') : lock.startsWith(manager)));
  if (manager === 'pnpm') return { manager, lockfile };
  if (manager !== 'yarn') return { manager: 'npm', lockfile };
  const berry =
    existsSync('.yarnrc.yml') ||
    /^yarn@[2-9]/.test(file.packageManager ?? '') ||
    (lockfile !== undefined && /^__metadata:/m.test(readFileSync(lockfile, 'utf8')));
  return { manager: berry ? 'yarn-berry' : 'yarn', lockfile };
}

/** True when the dependencies reach outside node_modules, or scripts of the app take part in installing them. */
export function mustInstallInPlace(app: App): boolean {
  const { package: file, lockfile } = app;
  if (file === undefined) return false;
  if (file.workspaces !== undefined || existsSync('pnpm-workspace.yaml')) return true;
  const all = { ...file.dependencies, ...file.devDependencies, ...file.optionalDependencies };
  if (Object.values(all).some((range) => /^(file|link|portal|workspace):/.test(range))) return true;
  if (['preinstall', 'install', 'postinstall', 'prepare'].some((name) => file.scripts?.[name] !== undefined))
    return true;
  return lockfile?.endsWith('.json') === true && /"link": true/.test(readFileSync(lockfile, 'utf8'));
}

/** Everything that decides what is installed: the same key, the same node_modules. */
export function dependencyKey(app: App, versions: { node: string; manager: string; withDevelopment: boolean }): string {
  const { dependencies, devDependencies, optionalDependencies, overrides, resolutions, pnpm } = app.package ?? {};
  const hash = createHash('sha256');
  const declared = { dependencies, devDependencies, optionalDependencies, overrides, resolutions, pnpm };
  hash.update(JSON.stringify([2, versions, process.arch, app.manager, declared]));
  for (const name of [app.lockfile, '.npmrc', '.yarnrc', '.yarnrc.yml']) {
    if (name !== undefined && existsSync(name)) hash.update(`\0${name}\0`).update(readFileSync(name));
  }
  return hash.digest('hex');
}
