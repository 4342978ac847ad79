import { TarError } from './tar.ts';

const LONGEST = 4096;

/**
 * The name relative to the archive's root, without leading slashes, `.` and empty components; `''` is the root itself.
 * @throws TarError on `..`, on a NUL, and on names longer than the kernel takes
 */
export function safeName(name: string): string {
  if (name.length > LONGEST) throw new TarError(`entry name of ${name.length} bytes: more than ${LONGEST}`);
  if (name.includes('\0')) throw new TarError(`entry name ${JSON.stringify(name)} holds a NUL`);
  const parts: string[] = [];
  for (const part of name.split('/')) {
    if (part === '..') throw new TarError(`entry name ${JSON.stringify(name)} leads out of the archive`);
    if (part.length > 255)
      throw new TarError(`entry name ${JSON.stringify(name)} has a component longer than 255 bytes`);
    if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}
