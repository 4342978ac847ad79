/** Extensions of Debian's packages, which its maintainer scripts would turn on: settings that load all of them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** @param directory  `mods-available`; each file says in a comment how early it is loaded */
export function extensionSettings(directory: string): string {
  const files = readdirSync(directory)
    .filter((name) => name.endsWith('.ini') && name !== 'xdebug.ini')
    .map((name) => {
      const text = readFileSync(join(directory, name), 'utf8');
      return { name, text, priority: Number(/^;\s*priority=(\d+)/m.exec(text)?.[1] ?? 20) };
    });
  return files
    .sort((left, right) => left.priority - right.priority || (left.name < right.name ? -1 : 1))
    .map(({ text }) => text.trimEnd())
    .join('\n');
}
