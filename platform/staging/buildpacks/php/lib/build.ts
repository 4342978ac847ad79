/** bin/build of the php buildpack: dependencies as a layer that `vendor` leads to, and a web server with PHP-FPM behind it. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  buildProgram,
  declareLayer,
  keyOf,
  layerMetadata,
  runCommand,
  writeLaunchEnvironment,
  writeProcesses,
} from '../../../lifecycle/program.ts';
import { AppError, detail, step, warning } from '../../../lifecycle/words.ts';
import { extensionSettings } from './extensions.ts';
import { fpmConfiguration, nginxConfiguration, startScript, webDirectory } from './server.ts';
import { choosePhp } from './version.ts';

const WORKSPACE = process.env['CNB_APP_DIR'] ?? '/workspace';
/** Of Cloud Foundry's buildpack and of Paketo's. */
const OWN_SETTINGS = ['.bp-config/php/php.ini.d', '.php.ini.d'].map((path) => join(WORKSPACE, path));

await buildProgram(async (layers) => {
  step('Runtime');
  const choice = choosePhp(process.env);
  if ('problem' in choice) throw new AppError(choice.problem);
  const { runtime, asked } = choice;
  if (asked === undefined) detail(`the source names no version: taking PHP ${runtime.version}`);
  else detail(`${asked.where} ${asked.specifier}: PHP ${runtime.version}`);
  const version = runtime.name.slice('php-'.length);
  const settings = writeSettings(layers, version);
  if (existsSync('composer.json')) await provideDependencies(layers, runtime.version, settings);
  const root = webDirectory(process.env);
  if (root !== '') detail(`pages are in ${root}`);
  const server = join(layers, 'server');
  rmSync(server, { recursive: true, force: true });
  mkdirSync(server);
  writeFileSync(join(server, 'nginx.conf'), nginxConfiguration(join(WORKSPACE, root), root === ''));
  writeFileSync(join(server, 'fpm.conf'), fpmConfiguration());
  writeFileSync(join(server, 'start'), startScript(server, version), { mode: 0o755 });
  declareLayer(layers, 'server', { launch: true }, {});
  writeProcesses(layers, [{ type: 'web', command: join(server, 'start') }]);
});

/** The layer `settings`. @returns variables that make every PHP use it */
function writeSettings(layers: string, version: string): Record<string, string> {
  const layer = join(layers, 'settings');
  rmSync(layer, { recursive: true, force: true });
  mkdirSync(join(layer, 'conf.d'), { recursive: true });
  writeFileSync(join(layer, 'php.ini'), readFileSync(`/usr/lib/php/${version}/php.ini-production`));
  writeFileSync(join(layer, 'conf.d', 'extensions.ini'), extensionSettings(`/etc/php/${version}/mods-available`));
  const variables = { PHPRC: layer, PHP_INI_SCAN_DIR: [join(layer, 'conf.d'), ...OWN_SETTINGS].join(':') };
  writeLaunchEnvironment(
    layer,
    Object.fromEntries(Object.entries(variables).map(([name, value]) => [`${name}.override`, value])),
  );
  declareLayer(layers, 'settings', { launch: true }, {});
  return variables;
}

async function provideDependencies(layers: string, version: string, settings: Record<string, string>): Promise<void> {
  step('Dependencies (composer)');
  if (lstatSync('vendor', { throwIfNoEntry: false }) !== undefined) {
    detail('taking the directory vendor of the source');
    return;
  }
  const locked = existsSync('composer.lock');
  if (!locked) {
    warning('there is no composer.lock: versions are chosen anew in each build, and dependencies are not cached.');
    detail('Run "composer update", and push composer.lock.');
  }
  const vendor = join(layers, 'vendor');
  const key = locked ? keyOf([1, version, process.arch], ['composer.json', 'composer.lock']) : '';
  const kept = locked && layerMetadata(layers, 'vendor')?.['key'] === key && existsSync(vendor);
  // Not the layer itself: names there would mean something else.
  const packages = join(vendor, 'packages');
  if (!kept) {
    rmSync(vendor, { recursive: true, force: true });
    mkdirSync(packages, { recursive: true });
  }
  symlinkSync(packages, 'vendor');
  if (kept) detail('unchanged: taking those of the last build');
  else await install(settings);
  declareLayer(layers, 'vendor', { launch: true, cache: locked }, { key });
}

async function install(settings: Record<string, string>): Promise<void> {
  const home = mkdtempSync(join(process.env['TMPDIR'] ?? '/tmp', 'home-'));
  const args = ['install', '--no-dev', '--no-interaction', '--no-progress', '--prefer-dist', '--optimize-autoloader'];
  await runCommand('composer', args, {
    environment: {
      COMPOSER_HOME: home,
      ...process.env,
      ...settings,
      HOME: home,
      COMPOSER_CACHE_DIR: join(home, 'cache'),
    },
  });
}
