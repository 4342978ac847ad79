/** Installs dependencies with the app's own package manager. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { NpmRegistry } from '../../../lifecycle/npm-registry.ts';
import { scratchHome } from '../../../lifecycle/program.ts';
import type { App } from './app.ts';
import { AppError, detail, warning } from '../../../lifecycle/words.ts';
import { provideManager, type Runtime } from './runtime.ts';

export interface PackageManager {
  label: string;
  version: string;
  install(withDevelopment: boolean): void;
  /** Removes development dependencies. */
  prune(): void;
  runScript(name: string): void;
}

type Environment = Record<string, string | undefined>;

export async function packageManager(
  app: App,
  runtime: Runtime,
  layers: string,
  registry: NpmRegistry,
): Promise<PackageManager> {
  const node = join(runtime.directory, 'bin', 'node');
  const environment = installEnvironment(runtime);
  const named = /^(?:npm|yarn|pnpm)@(\d+\.\d+\.\d+)/.exec(app.package?.packageManager ?? '')?.[1];
  const engine = app.package?.engines?.[app.manager === 'yarn-berry' ? 'yarn' : app.manager];
  const frozen = app.lockfile !== undefined;
  const run = (script: string, args: string[], extra: Environment = {}) => {
    command(node, [script, ...args], { ...environment, ...extra });
  };

  if (app.manager === 'pnpm') {
    const range = named ?? engine ?? pnpmRangeFor(app.lockfile);
    const tool = await provideManager(
      layers,
      { package: 'pnpm', layer: 'pnpm', range, node: runtime.version },
      registry,
    );
    const script =
      [join(tool.directory, 'bin', 'pnpm.cjs'), join(tool.directory, 'bin', 'pnpm.mjs')].find(existsSync) ?? '';
    const common = [
      '--store-dir',
      join(environment['HOME'] ?? '/tmp', 'pnpm-store'),
      '--package-import-method',
      'copy',
    ];
    // Otherwise pnpm would fetch the version that packageManager names by itself.
    const own = { npm_config_manage_package_manager_versions: 'false', pnpm_config_pm_on_fail: 'ignore', CI: 'true' };
    return {
      label: 'pnpm',
      version: tool.version,
      install: (all) =>
        run(
          script,
          [
            'install',
            frozen ? '--frozen-lockfile' : '--no-frozen-lockfile',
            ...(all ? ['--prod=false'] : ['--prod']),
            ...common,
          ],
          own,
        ),
      prune: () => run(script, ['prune', '--prod', '--ignore-scripts'], own),
      runScript: (name) => run(script, ['run', name], own),
    };
  }
  if (app.manager === 'yarn') {
    const range = named ?? engine ?? '1.x';
    const tool = await provideManager(
      layers,
      { package: 'yarn', layer: 'yarn', range, node: runtime.version },
      registry,
    );
    const script = join(tool.directory, 'bin', 'yarn.js');
    const flags = ['install', '--non-interactive', ...(frozen ? ['--frozen-lockfile'] : [])];
    return {
      label: 'yarn',
      version: tool.version,
      install: (all) => run(script, [...flags, `--production=${!all}`]),
      prune: () => run(script, [...flags, '--production=true', '--ignore-scripts', '--prefer-offline']),
      runScript: (name) => run(script, ['run', name]),
    };
  }
  if (app.manager === 'yarn-berry') {
    const local = /^yarnPath:\s*["']?([^"'\s]+)/m.exec(
      existsSync('.yarnrc.yml') ? readFileSync('.yarnrc.yml', 'utf8') : '',
    )?.[1];
    const wanted = {
      package: '@yarnpkg/cli-dist',
      layer: 'yarn-berry',
      range: named ?? engine ?? '4.x',
      node: runtime.version,
    };
    const tool = local === undefined ? await provideManager(layers, wanted, registry) : undefined;
    const script = tool === undefined ? resolve(local ?? '') : join(tool.directory, 'bin', 'yarn.js');
    const own = {
      YARN_ENABLE_TELEMETRY: '0',
      YARN_ENABLE_GLOBAL_CACHE: 'true',
      YARN_GLOBAL_FOLDER: join(environment['HOME'] ?? '/tmp', 'yarn'),
      YARN_NODE_LINKER: 'node-modules',
      YARN_IGNORE_PATH: '1',
      ...(process.env['npm_config_registry'] === undefined
        ? {}
        : { YARN_NPM_REGISTRY_SERVER: process.env['npm_config_registry'] }),
      ...(process.env['SSL_CERT_FILE'] === undefined ? {} : { YARN_HTTPS_CA_FILE_PATH: process.env['SSL_CERT_FILE'] }),
    };
    return {
      label: 'yarn',
      version: tool?.version ?? 'of the app',
      install: () => run(script, ['install', ...(frozen ? ['--immutable'] : [])], own),
      prune: () => run(script, ['workspaces', 'focus', '--all', '--production'], own),
      runScript: (name) => run(script, ['run', name], own),
    };
  }
  const script = join(runtime.directory, 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js');
  return {
    label: 'npm',
    version: (JSON.parse(readFileSync(join(script, '..', '..', 'package.json'), 'utf8')) as { version: string })
      .version,
    install: (all) =>
      run(script, [
        frozen ? 'ci' : 'install',
        all ? '--include=dev' : '--omit=dev',
        ...(frozen ? [] : ['--no-package-lock']),
      ]),
    prune: () => run(script, ['prune', '--omit=dev', '--ignore-scripts']),
    runScript: (name) => run(script, ['run', name]),
  };
}

function pnpmRangeFor(lockfile: string | undefined): string {
  const format =
    lockfile === undefined ? undefined : /^lockfileVersion:\s*'?"?(\d+)/m.exec(readFileSync(lockfile, 'utf8'))?.[1];
  if (format === '5') return '7.x';
  if (format === '6') return '8.x';
  return '10.x';
}

/** Caches go to a scratch home, so that they never get into the app. */
function installEnvironment(runtime: Runtime): Environment {
  const home = scratchHome();
  return {
    ...process.env,
    HOME: home,
    PATH: [join(runtime.directory, 'bin'), resolve('node_modules/.bin'), process.env['PATH']].join(':'),
    npm_config_cache: join(home, 'npm'),
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_update_notifier: 'false',
    npm_config_loglevel: process.env['npm_config_loglevel'] ?? 'warn',
    NODE_ENV: process.env['NODE_ENV'] ?? 'production',
  };
}

/** The node_modules directory as a layer of its own: where the app looks there is a link. */
export function moveToLayer(layer: string): void {
  rmSync(layer, { recursive: true, force: true });
  mkdirSync(layer, { recursive: true });
  if (existsSync('node_modules')) {
    try {
      renameSync('node_modules', join(layer, 'node_modules'));
    } catch (error) {
      // An overlay cannot rename what lies in a lower layer.
      if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
      copyTree('node_modules', join(layer, 'node_modules'));
      rmSync('node_modules', { recursive: true, force: true });
    }
  } else mkdirSync(join(layer, 'node_modules'));
  linkToLayer(layer);
}

export function linkToLayer(layer: string): void {
  if (lstatSync('node_modules', { throwIfNoEntry: false }) !== undefined) {
    rmSync('node_modules', { recursive: true, force: true });
  }
  symlinkSync(join(layer, 'node_modules'), 'node_modules');
}

export function copyTree(from: string, to: string): void {
  cpSync(from, to, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
}

function command(program: string, args: string[], environment: Environment): void {
  const done = spawnSync(program, args, { env: environment, stdio: 'inherit' });
  if (done.error !== undefined) throw done.error;
  if (done.status === 0) return;
  const shown = args.slice(1).join(' ');
  if (done.signal === 'SIGKILL' || done.status === 137) {
    warning(`${shown} was killed: most likely the build ran out of memory`);
    process.exit(137);
  }
  throw new AppError(`the command above failed (${shown}: ${done.status ?? done.signal})`);
}

export function explainMissingLockfile(app: App): void {
  const { dependencies, devDependencies } = app.package ?? {};
  if (app.lockfile !== undefined || Object.keys({ ...dependencies, ...devDependencies }).length === 0) return;
  warning('there is no lockfile: versions are chosen anew in each build, and dependencies are not cached.');
  detail('Run "npm install" and push package-lock.json as well.');
}
