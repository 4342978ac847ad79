/** What an image without anything needs to run this machine's Node: the program and its libraries, in one directory. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

export interface NodeRuntime {
  /** For `docker run`: read-only mounts of what lies below `directories`. */
  flags: string[];
  directories: string[];
  /** Words that run a TypeScript file of /attack. */
  command(file: string): string[];
}

export function nodeRuntime(scratch: string): NodeRuntime {
  const libraries = join(scratch, 'libraries');
  mkdirSync(libraries, { recursive: true });
  const lines = execFileSync('ldd', [process.execPath], { encoding: 'utf8' }).split('\n');
  const paths = lines.flatMap((line) => /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1] ?? []);
  const loader = paths.find((path) => basename(path).startsWith('ld-linux'));
  if (loader === undefined) throw new Error(`ldd names no loader for ${process.execPath}`);
  for (const path of paths) copyFileSync(path, join(libraries, basename(path)));
  const attack = import.meta.dirname;
  return {
    flags: [
      ...[
        '-v',
        `${libraries}:${dirname(loader)}:ro`,
        '-v',
        `${process.execPath}:/node:ro`,
        '-v',
        `${attack}:/attack:ro`,
      ],
      ...['-e', `LD_LIBRARY_PATH=${dirname(loader)}`],
    ],
    directories: [libraries, dirname(process.execPath), attack],
    command: (file) => ['/node', '--experimental-ffi', '--disable-warning=ExperimentalWarning', `/attack/${file}`],
  };
}
