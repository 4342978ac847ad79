/** Which programs of a module are built, and which processes they are. */
import { AppError } from '../../../lifecycle/words.ts';
import type { LaunchProcess } from '../../../lifecycle/program.ts';

export interface MainPackage {
  importPath: string;
  /** Relative to the source, with `./`; the root is `.`. */
  path: string;
}

/** As Paketo and Cloud Foundry name them: `BP_GO_TARGETS` (`./cmd/web:./cmd/worker`), `GO_INSTALL_PACKAGE_SPEC`. */
export function namedTargets(environment: NodeJS.ProcessEnv): string[] {
  const line = environment['BP_GO_TARGETS'] || environment['GO_INSTALL_PACKAGE_SPEC'] || '';
  return line.split(/[:\s]+/).filter((word) => word !== '');
}

/** The program at the root, else those below `cmd`, else all. */
export function defaultTargets(found: readonly MainPackage[]): string[] {
  const paths = found.map(({ path }) => path);
  if (paths.includes('.')) return ['.'];
  const commands = paths.filter((path) => path.startsWith('./cmd/'));
  return commands.length > 0 ? commands : paths;
}

/** As `go build` names the file: the last part of the import path, major versions (`v2`) aside. */
export function programName(importPath: string): string {
  const parts = importPath.split('/');
  const last = parts.at(-1) ?? '';
  return /^v\d+$/.test(last) && parts.length > 1 ? (parts.at(-2) ?? last) : last;
}

/** The program `web`, or else the first, is the process `web`; the others go by their names. @throws AppError where two have one */
export function processesOf(programs: readonly MainPackage[]): LaunchProcess[] {
  const paths = new Map<string, string>();
  for (const { importPath, path } of programs) {
    const name = programName(importPath);
    const other = paths.get(name);
    if (other !== undefined) {
      throw new AppError(`${other} and ${path} are both called ${name}: BP_GO_TARGETS names those to build (./a:./b)`);
    }
    paths.set(name, path);
  }
  const names = [...paths.keys()];
  const web = names.includes('web') ? 'web' : names[0];
  // Not `jobs` alone, which bash would do itself.
  return names.map((name) => ({ type: name === web ? 'web' : name, command: `exec ${name}` }));
}
