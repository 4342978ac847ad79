/** bin/build of the nodejs buildpack: runtime, dependencies, build script, start command. */
import { existsSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { NpmRegistry } from '../../../lifecycle/npm-registry.ts';
import { type App, dependencyKey, mustInstallInPlace, type PackageJson, readApp } from './app.ts';
import {
  copyTree,
  explainMissingLockfile,
  linkToLayer,
  moveToLayer,
  type PackageManager,
  packageManager,
} from './install.ts';
import { AppError, detail, step } from '../../../lifecycle/words.ts';
import { declareLayer, provideRuntime } from './runtime.ts';

const [layers] = process.argv.slice(2);
if (layers === undefined) throw new Error('usage: build LAYERS PLATFORM PLAN');

try {
  await main(layers);
} catch (error) {
  if (!(error instanceof AppError)) throw error;
  process.stdout.write(` !     ${error.message}\n`);
  process.exitCode = 1;
}

async function main(layersDirectory: string): Promise<void> {
  const app = readApp(process.env);
  const registry = new NpmRegistry();
  step('Runtime');
  const runtime = await provideRuntime(layersDirectory, app.package, registry);
  if (app.package !== undefined && hasWork(app.package)) {
    const manager = await packageManager(app, runtime, layersDirectory, registry);
    step(`Dependencies (${manager.label} ${manager.version})`);
    installAndBuild(app, app.package, manager, layersDirectory, runtime.version);
  }
  writeLaunch(layersDirectory, app.package);
}

function hasWork(file: PackageJson): boolean {
  const count = (record: Record<string, string> | undefined) => Object.keys(record ?? {}).length;
  const lifecycle = ['preinstall', 'install', 'postinstall', 'prepare', 'build'];
  if (count(file.dependencies) + count(file.optionalDependencies) > 0 || file.workspaces !== undefined) return true;
  return lifecycle.some((name) => file.scripts?.[name] !== undefined);
}

function installAndBuild(
  app: App,
  file: PackageJson,
  manager: PackageManager,
  layersDirectory: string,
  node: string,
): void {
  const builds = file.scripts?.['build'] !== undefined;
  const withDevelopment = builds && Object.keys(file.devDependencies ?? {}).length > 0;
  explainMissingLockfile(app);
  if (mustInstallInPlace(app)) {
    manager.install(builds);
    if (builds) runBuild(manager);
    if (builds) manager.prune();
    return;
  }
  const key = dependencyKey(app, { node, manager: manager.version, withDevelopment });
  const modules = join(layersDirectory, 'modules');
  const development = join(layersDirectory, 'build-modules');
  const cached = app.lockfile !== undefined && keyOf(layersDirectory, 'modules') === key && existsSync(modules);
  const cachedDevelopment = !withDevelopment || keyOf(layersDirectory, 'build-modules') === key;
  if (cached && cachedDevelopment) {
    detail('unchanged: taking those of the last build');
    linkToLayer(withDevelopment ? development : modules);
    if (builds) runBuild(manager);
    if (withDevelopment) linkToLayer(modules);
  } else {
    if (lstatSync('node_modules', { throwIfNoEntry: false })?.isSymbolicLink() === true) rmSync('node_modules');
    manager.install(withDevelopment);
    if (withDevelopment && app.lockfile !== undefined) {
      rmSync(development, { recursive: true, force: true });
      mkdirSync(development, { recursive: true });
      copyTree('node_modules', join(development, 'node_modules'));
    }
    if (builds) runBuild(manager);
    if (withDevelopment) {
      detail('removing development dependencies');
      manager.prune();
    }
    moveToLayer(modules);
  }
  const cache = app.lockfile !== undefined;
  declareLayer(layersDirectory, 'modules', { launch: true, cache }, { key });
  if (withDevelopment && cache) declareLayer(layersDirectory, 'build-modules', { cache }, { key });
}

function runBuild(manager: PackageManager): void {
  step('Build script');
  manager.runScript('build');
}

function keyOf(layersDirectory: string, name: string): string | undefined {
  const path = join(layersDirectory, `${name}.toml`);
  if (!existsSync(path)) return undefined;
  return (parse(readFileSync(path, 'utf8')) as { metadata?: { key?: string } }).metadata?.key;
}

/** The process `web`, where the source says how it starts. */
function writeLaunch(layersDirectory: string, file: PackageJson | undefined): void {
  const start = startCommand(file);
  if (start === undefined) return;
  detail(`start command: ${start}`);
  const command = JSON.stringify(['bash', '-c', start]);
  writeFileSync(
    join(layersDirectory, 'launch.toml'),
    `[[processes]]\ntype = "web"\ncommand = ${command}\ndefault = true\n`,
  );
}

/** The script itself rather than `npm start`: signals reach the app, and npm's 50 MB are not kept in memory beside it. */
function startCommand(file: PackageJson | undefined): string | undefined {
  const scripts = file?.scripts ?? {};
  if (scripts['start'] !== undefined) {
    return scripts['prestart'] === undefined && scripts['poststart'] === undefined ? scripts['start'] : 'npm start';
  }
  return existsSync('server.js') ? 'node server.js' : undefined;
}
