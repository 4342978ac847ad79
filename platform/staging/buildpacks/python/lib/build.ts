/** bin/build of the python buildpack: dependencies as a virtual environment, Django's static files, start command. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  buildProgram,
  declareLayer,
  keepCompilers,
  layerMetadata,
  runCommand,
  writeBill,
  writeProcesses,
} from '../../../lifecycle/program.ts';
import { chosenRuntime } from '../../../lifecycle/version-choice.ts';
import { AppError, detail, step } from '../../../lifecycle/words.ts';
import { installedPackages } from './components.ts';
import { compileEnvironment, createEnvironment, openPython, type Python } from './environment.ts';
import { dependencyKey, explainMissingLock, installerOf } from './install.ts';
import { startCommand } from './start-command.ts';
import { choosePython } from './version.ts';

await buildProgram(async (layers) => {
  const runtime = chosenRuntime('Python', choosePython(process.env));
  keepCompilers(layers, runtime.name);
  const python = openPython(layers, runtime);
  await provideDependencies(python, layers);
  await collectStatic(python);
  const command = startCommand(new Set(readdirSync(join(python.environment, 'bin'))));
  writeProcesses(layers, command === undefined ? [] : [{ type: 'web', command }]);
});

async function provideDependencies(python: Python, layers: string): Promise<void> {
  const installer = installerOf();
  step(`Dependencies (${installer.label})`);
  explainMissingLock(installer);
  const key = dependencyKey(installer, python);
  const kept = key !== undefined && layerMetadata(layers, 'venv')?.['key'] === key && existsSync(python.environment);
  if (kept) detail('unchanged: taking those of the last build');
  else {
    await createEnvironment(python);
    await installer.install(python, layers);
    await compileEnvironment(python);
  }
  writeBill(layers, 'venv', installedPackages(python.environment));
  declareLayer(layers, 'venv', { launch: true, cache: key !== undefined }, { key: key ?? '' });
}

/** As Cloud Foundry's and Heroku's do, where the settings say where the files go. */
async function collectStatic(python: Python): Promise<void> {
  const off = ['1', 'true'].includes(process.env['DISABLE_COLLECTSTATIC'] ?? '');
  const program = join(python.environment, 'bin', 'django-admin');
  if (off || !existsSync('manage.py') || !existsSync(program) || !namesStaticRoot('.')) return;
  step('Static files (python manage.py collectstatic)');
  await runCommand(join(python.environment, 'bin', 'python'), ['manage.py', 'collectstatic', '--noinput'], {
    environment: python.variables,
    explain: () =>
      new AppError(
        'python manage.py collectstatic failed: mend what it says above, or set DISABLE_COLLECTSTATIC=1 (cf set-env)',
      ),
  });
}

function namesStaticRoot(directory: string, depth = 0): boolean {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    const source = !entry.name.startsWith('.') && entry.name !== 'node_modules';
    if (entry.isDirectory() && source && depth < 3 && namesStaticRoot(path, depth + 1)) return true;
    const settings = entry.isFile() && /settings.*\.py$|^base\.py$/.test(entry.name);
    if (settings && readFileSync(path, 'utf8').includes('STATIC_ROOT')) return true;
  }
  return false;
}
