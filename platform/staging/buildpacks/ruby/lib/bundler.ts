/** Bundler: gems as a layer. */
import { existsSync, globSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  declareLayer,
  keyOf,
  lacksCompiler,
  layerMetadata,
  runCommand,
  scratchHome,
  writeBill,
  writeLaunchEnvironment,
} from '../../../lifecycle/program.ts';
import type { RuntimeOffer } from '../../../lifecycle/runtimes.ts';
import { detail, step, warning } from '../../../lifecycle/words.ts';
import { installedGems } from './components.ts';

export type Variables = Record<string, string | undefined>;

export interface Bundler {
  runtime: RuntimeOffer;
  /** The layer. */
  gems: string;
  variables: Variables;
}

/** As users of other platforms find it. */
const LAUNCH_VARIABLES = {
  'RACK_ENV.default': 'production',
  'RAILS_ENV.default': 'production',
  'RAILS_LOG_TO_STDOUT.default': 'enabled',
  'RAILS_SERVE_STATIC_FILES.default': 'enabled',
  'MALLOC_ARENA_MAX.default': '2',
};

const NO_COMPILER = /(mkmf|can't find header files for ruby|extconf\.rb failed|Failed to build gem native extension)/;

/** Of the source's own `.bundle/config`, which would win over variables, nothing holds: it is one machine's. */
export function openBundler(layers: string, runtime: RuntimeOffer): Bundler {
  const home = scratchHome();
  const gems = join(layers, 'gems');
  const mirror = process.env['RUBYGEM_MIRROR'] ?? '';
  const variables = {
    BUNDLE_WITHOUT: 'development:test',
    BUNDLE_JOBS: '4',
    BUNDLE_RETRY: '3',
    ...(mirror === '' ? {} : { 'BUNDLE_MIRROR__HTTPS://RUBYGEMS__ORG/': mirror }),
    ...process.env,
    HOME: home,
    // Some gems compile scripts: `node` is there in every build.
    PATH: `${process.env['PATH']}:${dirname(process.execPath)}`,
    BUNDLE_PATH: gems,
    BUNDLE_APP_CONFIG: join(home, 'bundle'),
    BUNDLE_USER_HOME: join(home, 'bundler'),
    BUNDLE_SILENCE_ROOT_WARNING: '1',
    ...(existsSync('Gemfile.lock') ? { BUNDLE_DEPLOYMENT: '1' } : {}),
  };
  return { runtime, gems, variables };
}

export async function provideGems(bundler: Bundler, layers: string): Promise<void> {
  const { gems, runtime, variables } = bundler;
  step('Dependencies (bundler)');
  const locked = existsSync('Gemfile.lock');
  if (!locked) {
    warning('there is no Gemfile.lock: versions are chosen anew in each build, and gems are not cached.');
    detail('Run "bundle lock --add-platform x86_64-linux", and push Gemfile.lock.');
  }
  const facts = [2, runtime.version, process.arch, variables['BUNDLE_WITHOUT']];
  const key = locked ? keyOf(facts, ['Gemfile', 'Gemfile.lock', ...globSync('*.gemspec').sort()]) : '';
  if (locked && layerMetadata(layers, 'gems')?.['key'] === key && existsSync(gems))
    detail('unchanged: taking those of the last build');
  else await install(bundler, layers, locked);
  declareLayer(layers, 'gems', { launch: true, cache: locked }, { key });
}

async function install({ gems, runtime, variables }: Bundler, layers: string, locked: boolean): Promise<void> {
  rmSync(gems, { recursive: true, force: true });
  mkdirSync(gems, { recursive: true });
  await runCommand('bundle', ['install'], {
    environment: variables,
    explain: (output) => lacksCompiler(output, { said: NO_COMPILER, runtime: runtime.name, what: 'a gem' }),
  });
  // What was downloaded is unpacked beside it.
  for (const cache of globSync('*/*/cache', { cwd: gems })) rmSync(join(gems, cache), { recursive: true });
  writeBill(layers, 'gems', installedGems(gems));
  writeLaunchEnvironment(gems, {
    ...LAUNCH_VARIABLES,
    'BUNDLE_PATH.override': gems,
    'BUNDLE_APP_CONFIG.override': join(gems, 'config'),
    'BUNDLE_WITHOUT.default': variables['BUNDLE_WITHOUT'] ?? '',
    ...(locked ? { 'BUNDLE_DEPLOYMENT.default': '1' } : {}),
  });
}
