/** bin/build of the staticfile buildpack: nginx, which the platform ships as a layer, with a configuration for the site. */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fillPort } from '../../../lifecycle/nginx.ts';
import { detail, step } from '../../../lifecycle/words.ts';
import { siteConfiguration } from './nginx.ts';
import { parseStaticfile, type StaticSite, StaticfileError } from './staticfile.ts';

const [layers] = process.argv.slice(2);
if (layers === undefined) throw new Error('usage: build LAYERS PLATFORM PLAN');

try {
  build(layers, readSite());
} catch (error) {
  if (!(error instanceof StaticfileError)) throw error;
  process.stdout.write(` !     ${error.message}\n`);
  process.exitCode = 1;
}

function readSite(): StaticSite {
  const site = parseStaticfile(existsSync('Staticfile') ? readFileSync('Staticfile', 'utf8') : '');
  if (site.root !== '' && statSync(site.root, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new StaticfileError(`Staticfile: root ${JSON.stringify(site.root)} is no directory of the source`);
  }
  return site;
}

function build(layersDirectory: string, site: StaticSite): void {
  step(`Static site${site.root === '' ? '' : ` in ${site.root}`}`);
  const server = join(layersDirectory, 'nginx');
  const types = '[types]\nlaunch = true\nbuild = false\ncache = true\n';
  if (!existsSync(join(server, 'bin', 'nginx')))
    throw new StaticfileError('the platform ships no web server: rebuild its stack');
  // The metadata stay as they were restored: this is the platform's layer, untouched.
  const metadata = readFileSync(join(layersDirectory, 'nginx.toml'), 'utf8');
  writeFileSync(join(layersDirectory, 'nginx.toml'), `${types}${metadata}`);

  const configuration = join(layersDirectory, 'site');
  rmSync(configuration, { recursive: true, force: true });
  mkdirSync(configuration, { recursive: true });
  const workspace = process.env['CNB_APP_DIR'] ?? '/workspace';
  writeFileSync(join(configuration, 'nginx.conf'), siteConfiguration(site, workspace, join(server, 'mime.types')));
  const start = join(configuration, 'start');
  writeFileSync(
    start,
    `#!/bin/sh\n${fillPort(`${configuration}/nginx.conf`)}\nexec ${server}/bin/nginx -c /tmp/nginx.conf -e stderr\n`,
  );
  chmodSync(start, 0o755);
  writeFileSync(
    join(layersDirectory, 'site.toml'),
    '[types]\nlaunch = true\nbuild = false\ncache = false\n[metadata]\n',
  );
  writeFileSync(
    join(layersDirectory, 'launch.toml'),
    `[[processes]]\ntype = "web"\ncommand = ${JSON.stringify([start])}\ndefault = true\n`,
  );
  if (site.pushState) detail('paths without a file are answered with index.html');
}
