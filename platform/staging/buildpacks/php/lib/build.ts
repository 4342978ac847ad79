/** bin/build of the php buildpack: settings, dependencies, and a web server with PHP-FPM behind it. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildProgram, declareLayer, writeProcesses } from '../../../lifecycle/program.ts';
import { chosenRuntime } from '../../../lifecycle/version-choice.ts';
import { detail } from '../../../lifecycle/words.ts';
import { readComposer } from './composer.ts';
import { provideDependencies } from './install.ts';
import { fpmConfiguration, pagesConfiguration, startScript, webDirectory } from './server.ts';
import { writeSettings } from './settings.ts';
import { choosePhp } from './version.ts';

const WORKSPACE = process.env['CNB_APP_DIR'] ?? '/workspace';

await buildProgram(async (layers) => {
  const runtime = chosenRuntime('PHP', choosePhp(process.env));
  const version = runtime.name.slice('php-'.length);
  const settings = writeSettings(layers, version, WORKSPACE);
  const composer = readComposer();
  if (composer !== undefined) await provideDependencies({ layers, version: runtime.version, composer, settings });
  const root = webDirectory(process.env);
  if (root !== '') detail(`pages are in ${root}`);
  const server = join(layers, 'server');
  rmSync(server, { recursive: true, force: true });
  mkdirSync(server);
  writeFileSync(join(server, 'nginx.conf'), pagesConfiguration(join(WORKSPACE, root), root === ''));
  writeFileSync(join(server, 'fpm.conf'), fpmConfiguration());
  writeFileSync(join(server, 'start'), startScript(server, version), { mode: 0o755 });
  declareLayer(layers, 'server', { launch: true }, {});
  writeProcesses(layers, [{ type: 'web', command: join(server, 'start') }]);
});
