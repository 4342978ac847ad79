/** Which PHP the source asks for, and which of those that there are it gets. */
import { type AskedVersion, chooseVersion, type VersionChoice } from '../../../lifecycle/version-choice.ts';
import { readComposer } from './composer.ts';

export function choosePhp(environment: NodeJS.ProcessEnv): VersionChoice {
  return chooseVersion({
    language: 'php',
    label: 'PHP',
    asked: askedPhp(environment),
    comparable,
    remedy: (minor) => `^${minor}`,
  });
}

/** Composer's `~8.1` goes up to 9, and one `|` is enough. */
function comparable({ specifier }: AskedVersion): string {
  return specifier.replaceAll(/\|+/g, '||').replaceAll(/~(?!=)\s*/g, '~=');
}

export function askedPhp(environment: NodeJS.ProcessEnv): AskedVersion | undefined {
  const variable = environment['BP_PHP_VERSION'];
  if (variable !== undefined && variable !== '') return { where: 'BP_PHP_VERSION', specifier: variable };
  const specifier = readComposer()?.require?.['php'];
  return typeof specifier === 'string' ? { where: 'composer.json: require.php', specifier } : undefined;
}
