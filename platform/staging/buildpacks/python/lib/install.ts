/** Which tool installs the app's dependencies, and what decides about them. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { keyOf, runCommand } from '../../../lifecycle/program.ts';
import { AppError, detail, warning } from '../../../lifecycle/words.ts';
import { explainCompiler, provideTool, type Python, runPip } from './environment.ts';
import { readRequirements } from './requirements.ts';
import { readProject } from './version.ts';

export interface Installer {
  label: string;
  /** Files that say exactly what is installed. None: versions are chosen anew in each build. */
  lockfiles: string[] | undefined;
  install(python: Python, layers: string): Promise<void>;
}

export function installerOf(): Installer {
  if (existsSync('uv.lock')) return uv;
  if (existsSync('poetry.lock')) return poetry;
  if (existsSync('requirements.txt')) return pip();
  const project = readProject();
  if (existsSync('setup.py') || project.project !== undefined || project['build-system'] !== undefined) return itself;
  if (!existsSync('Pipfile')) return nothing;
  throw new AppError(
    'Pipfile: pipenv is not supported; run "pipenv requirements > requirements.txt" and push that file',
  );
}

export function dependencyKey(installer: Installer, python: Python): string | undefined {
  if (installer.lockfiles === undefined) return undefined;
  return keyOf([1, python.runtime.version, process.arch, installer.label], installer.lockfiles);
}

function pip(): Installer {
  const { files, pinned } = readRequirements('requirements.txt');
  return {
    label: 'pip',
    lockfiles: pinned ? files : undefined,
    async install(python) {
      await runPip(python, ['--requirement', 'requirements.txt']);
    },
  };
}

const uv: Installer = {
  label: 'uv',
  lockfiles: ['uv.lock', 'pyproject.toml'],
  async install(python, layers) {
    const tool = await provideTool(python, layers, 'uv');
    const environment = {
      ...python.variables,
      UV_PROJECT_ENVIRONMENT: python.environment,
      UV_PYTHON: python.program,
      UV_PYTHON_DOWNLOADS: 'never',
      UV_LINK_MODE: 'copy',
      UV_NO_PROGRESS: '1',
    };
    await runCommand(join(tool, 'bin', 'uv'), ['sync', '--locked', '--no-dev'], {
      environment,
      shown: 'uv sync --locked --no-dev',
      explain: (output) => explainCompiler(output, python),
    });
  },
};

const poetry: Installer = {
  label: 'poetry',
  lockfiles: ['poetry.lock', 'pyproject.toml'],
  async install(python, layers) {
    const tool = await provideTool(python, layers, 'poetry');
    const environment = {
      ...python.variables,
      PYTHONPATH: tool,
      POETRY_VIRTUALENVS_CREATE: 'false',
      PYTHON_KEYRING_BACKEND: 'keyring.backends.null.Keyring',
    };
    const run = async (...args: string[]): Promise<void> => {
      const words = ['install', ...args, '--no-interaction', '--no-ansi'];
      await runCommand(join(python.environment, 'bin', 'python'), ['-m', 'poetry', ...words], {
        environment,
        shown: `poetry ${words.join(' ')}`,
        explain: (output) => explainCompiler(output, python),
      });
    };
    await run('--only', 'main', '--no-root');
    const project = readProject();
    if (project['build-system'] === undefined || project.tool?.poetry?.['package-mode'] === false) return;
    // A project that is no package is common, and runs from its directory.
    await run('--only-root').catch((error: unknown) => {
      if (!(error instanceof AppError)) throw error;
      warning('the project itself is no package: its dependencies alone are installed');
    });
  },
};

/** A project without a lockfile: its dependencies by its own ranges, and a link to it. */
const itself: Installer = {
  label: 'pip',
  lockfiles: undefined,
  async install(python) {
    await runPip(python, ['--editable', '.']);
  },
};

const nothing: Installer = {
  label: 'none',
  lockfiles: [],
  async install() {},
};

export function explainMissingLock(installer: Installer): void {
  if (installer.lockfiles !== undefined) return;
  warning('not every version is fixed: they are chosen anew in each build, and dependencies are not cached.');
  detail('Push a lockfile (uv.lock, poetry.lock) or a requirements.txt from "pip freeze".');
}
