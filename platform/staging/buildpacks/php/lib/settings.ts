/** PHP's settings: its own for production, Debian's extensions, those of apps that the router serves, and the app's. */
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { declareLayer, writeLaunchEnvironment } from '../../../lifecycle/program.ts';

/** Below the source: of Cloud Foundry's buildpack, and of Paketo's. */
const OWN_SETTINGS = ['.bp-config/php/php.ini.d', '.php.ini.d'];

/** Debian cleans its own directory of sessions by cron, and apps may not write there. */
const SESSIONS = 'session.save_path = /tmp\nsession.gc_probability = 1\n';

/** Writes the layer `settings`. @returns variables by which every PHP uses it */
export function writeSettings(layers: string, version: string, workspace: string): Record<string, string> {
  const layer = join(layers, 'settings');
  rmSync(layer, { recursive: true, force: true });
  mkdirSync(join(layer, 'conf.d'), { recursive: true });
  cpSync(`/usr/lib/php/${version}/php.ini-production`, join(layer, 'php.ini'));
  writeFileSync(join(layer, 'conf.d', 'extensions.ini'), extensionSettings('/usr/share', version));
  writeFileSync(join(layer, 'conf.d', 'sessions.ini'), SESSIONS);
  const own = OWN_SETTINGS.map((path) => join(workspace, path));
  const scanned = [join(layer, 'conf.d'), ...own].join(':');
  writeLaunchEnvironment(layer, { 'PHPRC.override': layer, 'PHP_INI_SCAN_DIR.override': scanned });
  declareLayer(layers, 'settings', { launch: true }, {});
  return { PHPRC: layer, PHP_INI_SCAN_DIR: scanned };
}

/**
 * Loads each extension of Debian's packages, which have a file for each that a maintainer script would put into place. It says
 * in a comment how early it is loaded.
 */
export function extensionSettings(share: string, version: string): string {
  const files = globSync(`php${version}-*/*/*.ini`, { cwd: share })
    .filter((path) => basename(path) !== 'xdebug.ini')
    .map((path) => {
      const text = readFileSync(join(share, path), 'utf8');
      return { name: basename(path), text, priority: Number(/^;\s*priority=(\d+)/m.exec(text)?.[1] ?? 20) };
    });
  return files
    .sort((left, right) => left.priority - right.priority || (left.name < right.name ? -1 : 1))
    .map(({ text }) => `${text.trimEnd()}\n`)
    .join('');
}
