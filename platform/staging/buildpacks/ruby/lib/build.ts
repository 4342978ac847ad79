/** bin/build of the ruby buildpack: gems, Rails' assets, start command. */
import { existsSync, readdirSync } from 'node:fs';
import { buildProgram, keepCompilers, runCommand, writeProcesses } from '../../../lifecycle/program.ts';
import { chosenRuntime } from '../../../lifecycle/version-choice.ts';
import { AppError, step } from '../../../lifecycle/words.ts';
import { openBundler, provideGems, type Variables } from './bundler.ts';
import { lockedGems } from './lockfile.ts';
import { isRails, startCommand } from './start-command.ts';
import { chooseRuby } from './version.ts';

await buildProgram(async (layers) => {
  if (!existsSync('Gemfile'))
    throw new AppError('there is no Gemfile: run "bundle init", and push Gemfile and Gemfile.lock');
  const runtime = chosenRuntime('Ruby', chooseRuby(process.env));
  keepCompilers(layers, runtime.name);
  const bundler = openBundler(layers, runtime);
  await provideGems(bundler, layers);
  const gems = lockedGems();
  if (isRails(gems)) await precompileAssets(gems, bundler.variables);
  const command = startCommand(gems);
  writeProcesses(layers, command === undefined ? [] : [{ type: 'web', command }]);
});

/** Gems whose task is `assets:precompile`. */
const ASSETS = ['sprockets-rails', 'propshaft', 'shakapacker', 'webpacker', 'vite_rails'];

/** As Cloud Foundry's and Heroku's do, where that was not done before the push. */
async function precompileAssets(gems: ReadonlySet<string>, variables: Variables): Promise<void> {
  const done =
    existsSync('public/assets') && readdirSync('public/assets').some((name) => /manifest.*\.json$/.test(name));
  if (done || !ASSETS.some((name) => gems.has(name))) return;
  step('Assets (rails assets:precompile)');
  await runCommand('bundle', ['exec', 'rails', 'assets:precompile'], {
    environment: { RAILS_ENV: 'production', RACK_ENV: 'production', SECRET_KEY_BASE_DUMMY: '1', ...variables },
  });
}
