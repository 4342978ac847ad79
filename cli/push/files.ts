/** The files of an app: walked, what `.cfignore` names left out, and told by size, mode and sha1. */
import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  existsSync,
  lstatSync,
  openSync,
  readFileSync,
  readSync,
  type Dirent,
  readdirSync,
  readlinkSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import ignore, { type Ignore } from 'ignore';
import { CliError } from '../errors.ts';

export interface SourceFile {
  /** Relative to the app, `/`-separated. */
  path: string;
  absolute: string;
  /** Permission bits; for a link those of a link. */
  mode: number;
  sizeBytes: number;
  /** Target of a symbolic link, sent as it is. */
  link?: string;
}

/** Never sent, as in cf. */
const always = [
  '.cfignore',
  '_darcs',
  '.DS_Store',
  '.git',
  '.gitignore',
  '.hg',
  '.svn',
  'manifest.yml',
  'manifest.yaml',
];

/** A directory's files, or one file that holds them: a jar, a war or a zip. */
export type Source = { files: SourceFile[] } | { archive: string; sizeBytes: number };

/** @throws CliError where there is nothing to push */
export function readSource(path: string): Source {
  const info = statSync(path, { throwIfNoEntry: false });
  if (!info) throw new CliError(`There is no app at ${path}.`, 'Give its directory with -p.');
  if (info.isDirectory()) return { files: listFiles(path) };
  if (!info.isFile() || !isZip(path))
    throw new CliError(
      `${path} is neither a directory nor a zip.`,
      'Give with -p the directory of the app, a jar, a war or a zip.',
    );
  return { archive: path, sizeBytes: info.size };
}

function isZip(path: string): boolean {
  const file = openSync(path, 'r');
  try {
    const start = Buffer.alloc(2);
    readSync(file, start);
    return start.toString('latin1') === 'PK';
  } finally {
    closeSync(file);
  }
}

export function listFiles(root: string): SourceFile[] {
  const filter = ignore().add(always);
  const ignoreFile = join(root, '.cfignore');
  if (existsSync(ignoreFile)) filter.add(readFileSync(ignoreFile, 'utf8'));
  const found: SourceFile[] = [];
  walk(root, '', filter, found);
  if (found.length === 0)
    throw new CliError(
      `${root} holds no file to push.`,
      "Give the app's directory with -p, and look at its .cfignore.",
    );
  return found;
}

function walk(root: string, prefix: string, filter: Ignore, found: SourceFile[]): void {
  for (const entry of readdirSync(join(root, prefix), { withFileTypes: true }).sort((a, b) =>
    a.name < b.name ? -1 : 1,
  )) {
    const path = prefix ? `${prefix}/${entry.name}` : entry.name;
    if (filter.ignores(entry.isDirectory() ? `${path}/` : path)) continue;
    unlessGone(() => take(entry, path));
  }

  function take(entry: Dirent, path: string): void {
    const absolute = join(root, path);
    if (entry.isDirectory()) walk(root, path, filter, found);
    else if (entry.isSymbolicLink()) {
      const link = readlinkSync(absolute);
      found.push({ path, absolute, mode: 0o777, sizeBytes: Buffer.byteLength(link), link });
    } else if (entry.isFile()) {
      const info = lstatSync(absolute);
      found.push({ path, absolute, mode: info.mode & 0o777, sizeBytes: info.size });
    } // sockets, devices and pipes are nothing to push
  }
}

/** What somebody deletes while it is looked at is not there. */
function unlessGone(look: () => void): void {
  try {
    look();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

export async function sha1(file: SourceFile): Promise<string> {
  const hash = createHash('sha1');
  await pipeline(createReadStream(file.absolute), hash);
  return hash.digest('hex');
}
