import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The absolute path of a program, by name or as it is; undefined where it cannot be run. Root's directories are looked at beside the PATH. */
export function findProgram(name: string): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  const paths = name.startsWith('/') ? [name] : directories.map((directory) => join(directory, name));
  return paths.filter((path) => path.startsWith('/')).find(canRun);
}

function canRun(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    // Its error is the answer.
    return false;
  }
}
