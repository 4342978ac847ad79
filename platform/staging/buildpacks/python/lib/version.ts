/** Which Python the source asks for, and which of those that there are it gets. */
import { existsSync, readFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import { type AskedVersion, chooseVersion, type VersionChoice } from '../../../lifecycle/version-choice.ts';

export function choosePython(environment: NodeJS.ProcessEnv): VersionChoice {
  return chooseVersion({ language: 'python', label: 'Python', asked: askedPython(environment) });
}

/** The first that says something: the variable, what is there for this purpose, what the project can run on. */
export function askedPython(environment: NodeJS.ProcessEnv): AskedVersion | undefined {
  const variable = environment['BP_CPYTHON_VERSION'];
  if (variable !== undefined && variable !== '') return { where: 'BP_CPYTHON_VERSION', specifier: variable };
  for (const where of ['runtime.txt', '.python-version']) {
    const specifier = firstLine(where)?.replace(/^(c?python)-?/i, '');
    if (specifier !== undefined) return { where, specifier: specifier.replace(/\.x$/, '.*') };
  }
  if (!existsSync('pyproject.toml')) return undefined;
  const { project, tool } = readProject();
  if (typeof project?.['requires-python'] === 'string')
    return { where: 'pyproject.toml: requires-python', specifier: project['requires-python'] };
  const poetry = tool?.poetry?.dependencies?.['python'];
  return typeof poetry === 'string' ? { where: 'pyproject.toml: tool.poetry', specifier: poetry } : undefined;
}

export interface Project {
  project?: Record<string, unknown>;
  'build-system'?: Record<string, unknown>;
  tool?: { poetry?: { dependencies?: Record<string, unknown>; 'package-mode'?: boolean; name?: string } };
}

/** What is no TOML is told by the tool that reads it. */
export function readProject(): Project {
  if (!existsSync('pyproject.toml')) return {};
  try {
    return parse(readFileSync('pyproject.toml', 'utf8')) as Project;
  } catch {
    return {};
  }
}

function firstLine(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  const lines = readFileSync(path, 'utf8').split(/\r?\n/);
  return lines.map((line) => line.replace(/#.*/, '').trim()).find((line) => line !== '');
}
