/** bin/build of the nodejs buildpack: runtime, dependencies, build script, start command. */
import { existsSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
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
import { buildProgram, declareLayer, layerMetadata, writeProcesses } from '../../../lifecycle/program.ts';
import { detail, step } from '../../../lifecycle/words.ts';
import { provideRuntime } from './runtime.ts';

await buildProgram(async (layersDirectory) => {
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
});

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
  const cached =
    app.lockfile !== undefined && layerMetadata(layersDirectory, 'modules')?.['key'] === key && existsSync(modules);
  const cachedDevelopment = !withDevelopment || layerMetadata(layersDirectory, 'build-modules')?.['key'] === key;
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

/** The process `web`, where the source says how it starts. */
function writeLaunch(layersDirectory: string, file: PackageJson | undefined): void {
  const command = startCommand(file);
  if (command !== undefined) writeProcesses(layersDirectory, [{ type: 'web', command }]);
}

/** The script itself rather than `npm start`: signals reach the app, and npm's 50 MB are not kept in memory beside it. */
function startCommand(file: PackageJson | undefined): string | undefined {
  const scripts = file?.scripts ?? {};
  if (scripts['start'] !== undefined) {
    return scripts['prestart'] === undefined && scripts['poststart'] === undefined ? scripts['start'] : 'npm start';
  }
  return existsSync('server.js') ? 'node server.js' : undefined;
}
