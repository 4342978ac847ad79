/** Which Ruby the source asks for, and which of those that there are it gets. */
import { existsSync, readFileSync } from 'node:fs';
import { type AskedVersion, chooseVersion, type VersionChoice } from '../../../lifecycle/version-choice.ts';

export function chooseRuby(environment: NodeJS.ProcessEnv): VersionChoice {
  return chooseVersion({
    language: 'ruby',
    label: 'Ruby',
    asked: askedRuby(environment),
    comparable,
    remedy: (minor, { where }) => (where === 'Gemfile' ? `"~> ${minor}.0"` : minor),
  });
}

/** In the Gemfile a bare version is that very one: Bundler refuses any other. */
function comparable({ where, specifier }: AskedVersion): string {
  return specifier
    .split(',')
    .map((part) => part.trim().replace('~>', '~=').replace(/^=\s*/, '=='))
    .map((part) => (where === 'Gemfile' && /^\d/.test(part) ? `==${part}` : part))
    .join(',');
}

/** The first that says something. Bundler holds to what the Gemfile says. */
export function askedRuby(environment: NodeJS.ProcessEnv): AskedVersion | undefined {
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
