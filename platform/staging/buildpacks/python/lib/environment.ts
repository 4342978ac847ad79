/** The virtual environment: a layer that holds the dependencies, and the tools that fill it. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  declareLayer,
  lacksCompiler,
  layerMetadata,
  runCommand,
  scratchHome,
  writeLaunchEnvironment,
} from '../../../lifecycle/program.ts';
import type { RuntimeOffer } from '../../../lifecycle/runtimes.ts';
import { detail } from '../../../lifecycle/words.ts';

export type Variables = Record<string, string | undefined>;

export interface Python {
  runtime: RuntimeOffer;
  /** The interpreter. */
  program: string;
  /** The layer `venv`. */
  environment: string;
  variables: Variables;
}

/** As users of other platforms find it: output comes at once, and the router's word about the client is believed. */
const LAUNCH_VARIABLES = {
  'PYTHONUNBUFFERED.default': '1',
  'FORWARDED_ALLOW_IPS.default': '*',
};

export function openPython(layers: string, runtime: RuntimeOffer): Python {
  const environment = join(layers, 'venv');
  const home = scratchHome();
  const ca = process.env['SSL_CERT_FILE'];
  return {
    runtime,
    program: `/usr/bin/${runtime.name.replace('-', '')}`,
    environment,
    variables: {
      ...(ca === undefined ? {} : { PIP_CERT: ca, REQUESTS_CA_BUNDLE: ca }),
      ...(process.env['PIP_INDEX_URL'] === undefined ? {} : { UV_DEFAULT_INDEX: process.env['PIP_INDEX_URL'] }),
      ...process.env,
      HOME: home,
      VIRTUAL_ENV: environment,
      PATH: `${join(environment, 'bin')}:${process.env['PATH']}`,
      PIP_DISABLE_PIP_VERSION_CHECK: '1',
      PIP_NO_INPUT: '1',
      PIP_PROGRESS_BAR: 'off',
      PYTHONDONTWRITEBYTECODE: '1',
    },
  };
}

/** Empty, but for an interpreter: what was there before goes. */
export async function createEnvironment(python: Python): Promise<void> {
  rmSync(python.environment, { recursive: true, force: true });
  await runCommand(python.program, ['-m', 'venv', '--without-pip', python.environment], {
    environment: python.variables,
  });
  writeLaunchEnvironment(python.environment, { ...LAUNCH_VARIABLES, 'VIRTUAL_ENV.override': python.environment });
}

/** Modules as byte code that no time is compared with. */
export async function compileEnvironment(python: Python): Promise<void> {
  const script =
    "import compileall, sys; compileall.compile_dir(sys.argv[1], quiet=2, invalidation_mode=__import__('py_compile').PycInvalidationMode.UNCHECKED_HASH)";
  await runCommand(python.program, ['-c', script, join(python.environment, 'lib')], {
    environment: { ...python.variables, PYTHONDONTWRITEBYTECODE: undefined },
    shown: 'compileall',
  });
}

/**
 * Runs `pip install` for the environment, with the pip that comes with the runtime. It compiles nothing: byte code that is
 * checked by times would be stale, as the layer's files get others than they have now.
 */
export async function runPip(python: Python, args: readonly string[]): Promise<void> {
  const directory = mkdtempSync(join(process.env['TMPDIR'] ?? '/tmp', 'pip-'));
  const wheels = '/usr/share/python-wheels';
  const wheel = readdirSync(wheels).find((name) => /^pip-.*\.whl$/.test(name)) ?? 'pip.whl';
  // Not from the archive: pip starts itself again to build packages from source, and cannot out of there.
  await runCommand(python.program, ['-m', 'zipfile', '-e', join(wheels, wheel), directory], {
    environment: python.variables,
  });
  await runCommand(join(python.environment, 'bin', 'python'), ['-m', 'pip', 'install', '--no-compile', ...args], {
    environment: { ...python.variables, PYTHONPATH: directory },
    shown: `pip install ${args.join(' ')}`,
    explain: (output) => explainCompiler(output, python),
  });
}

const NO_COMPILER =
  /(command '[^']*(gcc|g\+\+|cc)'|unable to execute '[^']*(gcc|cc)'|No such file or directory: '[^']*(gcc|cc|pg_config)'|pg_config executable not found|(gcc|cc): (command )?not found|Unknown compiler|Python\.h: No such file)/;

export function explainCompiler(output: string, { runtime }: Python): Error | undefined {
  return lacksCompiler(output, { said: NO_COMPILER, runtime: runtime.name, what: 'a dependency' });
}

/** A tool from PyPI in a layer of its own, of which apps see nothing. @returns its directory, for PYTHONPATH */
export async function provideTool(python: Python, layers: string, name: string): Promise<string> {
  const directory = join(layers, name);
  const key = `${python.runtime.version} 1`;
  if (layerMetadata(layers, name)?.['key'] !== key || !existsSync(directory)) {
    detail(`fetching ${name}`);
    rmSync(directory, { recursive: true, force: true });
    await runPip(python, ['--quiet', '--target', directory, name]);
  }
  declareLayer(layers, name, { cache: true }, { key });
  return directory;
}
