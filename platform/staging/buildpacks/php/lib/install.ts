/** Dependencies by Composer: a layer that the directory of packages leads to. */
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { declareLayer, keyOf, layerMetadata, runCommand, scratchHome, writeBill } from '../../../lifecycle/program.ts';
import { detail, step, warning } from '../../../lifecycle/words.ts';
import { type ComposerFile, installedPackages, vendorDirectory } from './composer.ts';

export interface Install {
  layers: string;
  /** Of PHP. */
  version: string;
  composer: ComposerFile;
  /** Of `writeSettings`. */
  settings: Record<string, string>;
}

/**
 * Composer runs in every build, also where nothing is to be installed: its scripts write into the source (caches, assets), and
 * what it finds classes by covers the app's own. Files that stay the same it does not write.
 */
export async function provideDependencies({ layers, version, composer, settings }: Install): Promise<void> {
  step('Dependencies (composer)');
  const vendor = vendorDirectory(composer, process.env);
  if (existsSync(vendor)) {
    detail(`taking the directory ${vendor} of the source`);
    if (existsSync(join(vendor, 'composer', 'installed.json'))) await runComposer(settings, {});
    return;
  }
  const locked = existsSync('composer.lock');
  if (!locked) {
    warning('there is no composer.lock: versions are chosen anew in each build, and dependencies are not cached.');
    detail('Run "composer update", and push composer.lock.');
  }
  const layer = join(layers, 'vendor');
  const key = locked ? keyOf([2, version, process.arch, vendor], ['composer.json', 'composer.lock']) : '';
  // Not the layer itself: some names there would mean something else.
  const packages = join(layer, 'packages');
  const kept = locked && layerMetadata(layers, 'vendor')?.['key'] === key && existsSync(packages);
  if (kept) detail('unchanged: taking those of the last build');
  else {
    rmSync(layer, { recursive: true, force: true });
    mkdirSync(packages, { recursive: true });
  }
  mkdirSync(dirname(vendor), { recursive: true });
  symlinkSync(packages, vendor);
  // Composer's own class has a random name where none is said: the same packages would be other bytes each time.
  await runComposer(settings, locked ? { 'autoloader-suffix': key.slice(0, 32) } : {});
  writeBill(layers, 'vendor', installedPackages(packages));
  declareLayer(layers, 'vendor', { launch: true, cache: locked }, { key });
}

/** @param config  what the project does not say itself */
async function runComposer(settings: Record<string, string>, config: Record<string, string>): Promise<void> {
  const home = scratchHome();
  writeFileSync(join(home, 'config.json'), configuration(config, process.env['COMPOSER_MIRROR'] ?? ''));
  const args = ['install', '--no-dev', '--no-interaction', '--no-progress', '--prefer-dist', '--optimize-autoloader'];
  await runCommand('composer', args, {
    environment: {
      ...process.env,
      ...settings,
      HOME: home,
      COMPOSER_HOME: home,
      COMPOSER_CACHE_DIR: join(home, 'cache'),
    },
  });
}

/** @param mirror  has what Packagist has; empty: that itself */
function configuration(config: Record<string, string>, mirror: string): string {
  if (mirror === '') return JSON.stringify({ config });
  return JSON.stringify({
    repositories: { 'packagist.org': { type: 'composer', url: mirror } },
    config: { ...config, ...(mirror.startsWith('http:') ? { 'secure-http': false } : {}) },
  });
}
