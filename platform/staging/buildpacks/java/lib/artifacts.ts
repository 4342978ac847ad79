/** Which of the files that a build or a person left is the one to start. */
import { existsSync, globSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { AppError } from '../../../lifecycle/words.ts';
import { readJar } from './jar.ts';

/** Files of a directory that can be started. */
export function artifactsIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  const quarkus = join(directory, 'quarkus-app', 'quarkus-run.jar');
  if (existsSync(quarkus)) return [quarkus];
  return readdirSync(directory)
    .filter((name) => /\.(jar|war)$/.test(name) && !/(-plain|-sources|-javadoc|-tests)\.(jar|war)$/.test(name))
    .map((name) => join(directory, name))
    .filter((path) => path.endsWith('.war') || readJar(path).manifest.has('Main-Class'))
    .sort();
}

export interface BuiltOutputs {
  /** Of the project itself, or of the module that was asked for. */
  own: string;
  /** Of its modules, which are looked at where it has nothing itself. */
  modules: string[];
  /** The variable that names the artifact: a pattern, relative to the project. */
  variable: string;
}

export function builtArtifact(project: string, { own, modules, variable }: BuiltOutputs): string {
  const pattern = process.env[variable];
  if (pattern !== undefined && pattern !== '') {
    const found = globSync(pattern, { cwd: project }).map((path) => join(project, path));
    const named = onlyOne(found.sort(), `make ${variable} name one of them`);
    if (named !== undefined) return named;
    throw new AppError(`${variable} ${JSON.stringify(pattern)}: the build made no such file`);
  }
  const first = artifactsIn(own);
  const found = first.length > 0 ? first : modules.flatMap((directory) => artifactsIn(directory));
  const artifact = onlyOne(found, `${variable} names the one to start`);
  if (artifact !== undefined) return artifact;
  throw new AppError(
    'the build made nothing that can be started: a war, or a jar whose manifest names a Main-Class (Spring Boot, Quarkus, maven-shade-plugin …)',
  );
}

/** @throws AppError where there are several */
export function onlyOne(found: readonly string[], remedy: string): string | undefined {
  if (found.length < 2) return found[0];
  const names = found.map((path) => basename(path)).join(', ');
  throw new AppError(`there are several that can be started (${names}): ${remedy}`);
}
