/** bin/build of the ruby buildpack: gems as a layer, Rails' assets, start command. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  buildProgram,
  declareLayer,
  keepCompilers,
  keyOf,
  layerMetadata,
  runCommand,
  RuntimeLacks,
  writeLaunchEnvironment,
  writeProcesses,
} from '../../../lifecycle/program.ts';
import { isMounted } from '../../../lifecycle/runtimes.ts';
import { AppError, detail, step, warning } from '../../../lifecycle/words.ts';
import { installedGems } from './components.ts';
import { lockedGems } from './lockfile.ts';
import { isRails, startCommand } from './start-command.ts';
import { chooseRuby } from './version.ts';

type Variables = Record<string, string | undefined>;

/** As users of other platforms find it. */
const LAUNCH_VARIABLES = {
  'RACK_ENV.default': 'production',
  'RAILS_ENV.default': 'production',
  'RAILS_LOG_TO_STDOUT.default': 'enabled',
  'RAILS_SERVE_STATIC_FILES.default': 'enabled',
  'MALLOC_ARENA_MAX.default': '2',
};

await buildProgram(async (layers) => {
  if (!existsSync('Gemfile'))
    throw new AppError('there is no Gemfile: run "bundle init", and push Gemfile and Gemfile.lock');
  step('Runtime');
  const choice = chooseRuby(process.env);
  if ('problem' in choice) throw new AppError(choice.problem);
  const { runtime, asked } = choice;
  if (asked === undefined) detail(`the source names no version: taking Ruby ${runtime.version}`);
  else detail(`${asked.where} ${asked.specifier}: Ruby ${runtime.version}`);
  keepCompilers(layers, runtime.name);
  const variables = bundlerVariables(join(layers, 'gems'));
  await provideGems(layers, runtime, variables);
  const gems = lockedGems();
  if (isRails(gems)) await precompileAssets(variables);
  const command = startCommand(gems);
  writeProcesses(layers, command === undefined ? [] : [{ type: 'web', command }]);
});

function bundlerVariables(gems: string): Variables {
  const home = mkdtempSync(join(process.env['TMPDIR'] ?? '/tmp', 'home-'));
  return {
    BUNDLE_WITHOUT: 'development:test',
    BUNDLE_JOBS: '4',
    BUNDLE_RETRY: '3',
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
}

async function provideGems(
  layers: string,
  runtime: { name: string; version: string },
  variables: Variables,
): Promise<void> {
  step('Dependencies (bundler)');
  const locked = existsSync('Gemfile.lock');
  if (!locked) {
    warning('there is no Gemfile.lock: versions are chosen anew in each build, and gems are not cached.');
    detail('Run "bundle lock --add-platform x86_64-linux", and push Gemfile.lock.');
  }
  const gems = join(layers, 'gems');
  const facts = [1, runtime.version, process.arch, variables['BUNDLE_WITHOUT']];
  const key = locked ? keyOf(facts, ['Gemfile', 'Gemfile.lock']) : '';
  if (locked && layerMetadata(layers, 'gems')?.['key'] === key && existsSync(gems)) {
    detail('unchanged: taking those of the last build');
  } else {
    rmSync(gems, { recursive: true, force: true });
    mkdirSync(gems, { recursive: true });
    await runCommand('bundle', ['install'], {
      environment: variables,
      explain: (output) => lacksCompiler(output, runtime.name),
    });
    const bill = { bomFormat: 'CycloneDX', specVersion: '1.5', components: installedGems(gems) };
    writeFileSync(join(layers, 'gems.sbom.cdx.json'), JSON.stringify(bill));
    writeLaunchEnvironment(gems, {
      ...LAUNCH_VARIABLES,
      'BUNDLE_PATH.override': gems,
      ...(locked ? { 'BUNDLE_DEPLOYMENT.default': '1' } : {}),
      'BUNDLE_WITHOUT.default': variables['BUNDLE_WITHOUT'] ?? '',
    });
  }
  declareLayer(layers, 'gems', { launch: true, cache: locked }, { key });
}

/** Known only when an extension fails: many gems come without one. */
function lacksCompiler(output: string, runtime: string): Error | undefined {
  const failed = /(mkmf|can't find header files for ruby|extconf\.rb failed|Failed to build gem native extension)/.test(
    output,
  );
  if (!failed || isMounted(`${runtime}-dev`)) return undefined;
  return new RuntimeLacks(`${runtime}-dev`, 'a gem has to be compiled: beginning again with a C compiler');
}

/** As Cloud Foundry's and Heroku's do, where the app has that task. */
async function precompileAssets(variables: Variables): Promise<void> {
  if (!['app/assets', 'app/javascript'].some((path) => existsSync(path)) || existsSync('public/assets/.manifest.json'))
    return;
  step('Assets (rails assets:precompile)');
  await runCommand('bundle', ['exec', 'rails', 'assets:precompile'], {
    environment: { RAILS_ENV: 'production', RACK_ENV: 'production', SECRET_KEY_BASE_DUMMY: '1', ...variables },
  });
}
