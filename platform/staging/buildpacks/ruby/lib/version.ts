/** Which Ruby the source asks for, and which of those that there are it gets. */
import { existsSync, readFileSync } from 'node:fs';
import { offeredRuntimes, type RuntimeOffer } from '../../../lifecycle/runtimes.ts';
import { satisfiesVersion } from '../../../lifecycle/specifiers.ts';

export interface AskedRuby {
  /** File or variable, for messages. */
  where: string;
  /** As it stands there, without `ruby-`. */
  specifier: string;
}

export type Choice = { runtime: RuntimeOffer; asked: AskedRuby | undefined } | { problem: string };

export function chooseRuby(environment: NodeJS.ProcessEnv): Choice {
  const offers = offeredRuntimes('ruby').toReversed();
  const newest = offers[0];
  if (newest === undefined) return { problem: 'this platform offers no Ruby: its Debian release has none' };
  const asked = askedRuby(environment);
  const runtime = offers.find(({ version }) => asked === undefined || satisfiesVersion(version, comparable(asked)));
  if (runtime !== undefined) return { runtime, asked };
  const there = offers.map(({ version }) => version).join(', ');
  const minor = newest.version.split('.').slice(0, 2).join('.');
  const remedy = asked?.where === 'Gemfile' ? `"~> ${minor}.0"` : minor;
  return {
    problem: `${asked?.where} asks for Ruby ${JSON.stringify(asked?.specifier)}, which cannot be had; there is Ruby ${there}; write ${remedy} there to take it with its fixes`,
  };
}

/** In the Gemfile a bare version is that very one: Bundler refuses any other. */
function comparable({ where, specifier }: AskedRuby): string {
  return specifier
    .split(',')
    .map((part) => part.trim().replace('~>', '~=').replace(/^=\s*/, '=='))
    .map((part) => (where === 'Gemfile' && /^\d/.test(part) ? `==${part}` : part))
    .join(',');
}

/** The first that says something. Bundler holds to what the Gemfile says. */
export function askedRuby(environment: NodeJS.ProcessEnv): AskedRuby | undefined {
  const variable = environment['BP_MRI_VERSION'];
  if (variable !== undefined && variable !== '') return { where: 'BP_MRI_VERSION', specifier: variable };
  const specifier = existsSync('Gemfile') ? askedByGemfile(readFileSync('Gemfile', 'utf8')) : undefined;
  if (specifier !== undefined) return { where: 'Gemfile', specifier };
  if (!existsSync('.ruby-version')) return undefined;
  const line = readFileSync('.ruby-version', 'utf8').trim();
  return line === '' ? undefined : { where: '.ruby-version', specifier: line.replace(/^ruby-/, '') };
}

/** `ruby "3.1.2"`, `ruby("~> 3.1", ">= 3.1.1")`; what is computed is told by Bundler. */
export function askedByGemfile(text: string): string | undefined {
  const line = /^[ \t]*ruby[ \t(]+((?:["'][^"']+["'](?:[ \t]*,[ \t]*)?)+)/m.exec(text)?.[1];
  const parts = [...(line ?? '').matchAll(/["']([^"']+)["']/g)].map(([, part = '']) => part.replace(/^ruby-/, ''));
  return parts.length === 0 ? undefined : parts.join(', ');
}
