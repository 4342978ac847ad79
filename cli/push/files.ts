/** The files of an app: walked, what `.cfignore` names left out, and told by size, mode and sha1. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, lstatSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
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

export function listFiles(root: string): SourceFile[] {
  const info = lstatSync(root, { throwIfNoEntry: false });
  if (!info) throw new CliError(`There is no app at ${root}.`, 'Give its directory with -p.');
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

export async function sha1(file: SourceFile): Promise<string> {
  const hash = createHash('sha1');
  await pipeline(createReadStream(file.absolute), hash);
  return hash.digest('hex');
}
