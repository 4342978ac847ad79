/** Which PHP the source asks for, and which of those that there are it gets. */
import { existsSync, readFileSync } from 'node:fs';
import { offeredRuntimes, type RuntimeOffer } from '../../../lifecycle/runtimes.ts';
import { satisfiesVersion } from '../../../lifecycle/specifiers.ts';

export interface AskedPhp {
  /** File or variable, for messages. */
  where: string;
  specifier: string;
}

export type Choice = { runtime: RuntimeOffer; asked: AskedPhp | undefined } | { problem: string };

export function choosePhp(environment: NodeJS.ProcessEnv): Choice {
  const offers = offeredRuntimes('php').toReversed();
  const newest = offers[0];
  if (newest === undefined) return { problem: 'this platform offers no PHP: its Debian release has none' };
  const asked = askedPhp(environment);
  const runtime = offers.find(
    ({ version }) => asked === undefined || satisfiesVersion(version, comparable(asked.specifier)),
  );
  if (runtime !== undefined) return { runtime, asked };
  const there = offers.map(({ version }) => version).join(', ');
  const minor = newest.version.split('.').slice(0, 2).join('.');
  return {
    problem: `${asked?.where} asks for PHP ${JSON.stringify(asked?.specifier)}, which cannot be had; there is PHP ${there}; write ^${minor} there to take it with its fixes`,
  };
}

/** Composer's `~8.1` goes up to 9, and one `|` is enough. */
function comparable(specifier: string): string {
  return specifier.replaceAll(/\|+/g, '||').replaceAll(/~(?!=)\s*/g, '~=');
}

export function askedPhp(environment: NodeJS.ProcessEnv): AskedPhp | undefined {
  const variable = environment['BP_PHP_VERSION'];
  if (variable !== undefined && variable !== '') return { where: 'BP_PHP_VERSION', specifier: variable };
  const specifier = readComposer()?.require?.['php'];
  return specifier === undefined ? undefined : { where: 'composer.json: require.php', specifier };
}

export interface Composer {
  require?: Record<string, string>;
}

/** What is no JSON is told by Composer. */
export function readComposer(): Composer | undefined {
  if (!existsSync('composer.json')) return undefined;
  try {
    return JSON.parse(readFileSync('composer.json', 'utf8')) as Composer;
  } catch {
    return {};
  }
}
