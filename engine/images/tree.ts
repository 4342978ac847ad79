/**
 * File trees that are read without being trusted: an image's layers (`layer-stack.ts`), a tar archive that was never unpacked
 * (`engine/build/tar-tree.ts`), files that are only in memory. Paths are relative to the tree's root, without `.`, `..` and
 * empty components, `''` for the root; they are strings of bytes (`latin1`), as in `lib/tar`.
 *
 * A tree never follows a link. Who wants links followed calls `resolvePath`, which does it inside the tree, by the tree's own
 * words: no link leads out of it, because nothing but the tree is ever asked.
 */
import { TarError, type TarHeader } from '#lib/tar/tar.ts';

/** A hard link is a second name of the same node: both have one `identity`. */
export interface TreeNode extends Omit<TarHeader, 'name' | 'type' | 'linkName'> {
  /** A socket is in no archive: it goes with whoever listened. */
  type: Exclude<TarHeader['type'], 'hard-link'> | 'socket';
  /** Target of a symbolic link. */
  linkName?: string;
  /** Equal for every name of one file; absent where it has one name only. */
  identity?: string;
}

export interface Tree {
  /** Undefined where there is nothing, also below what is no directory. */
  lookup(path: string): TreeNode | undefined;
  /** What is in a directory, sorted by name; empty for anything else. */
  list(path: string): [name: string, node: TreeNode][];
  /** Exactly `node.sizeBytes` bytes of a file, as an archive holds them: with `node.sparse` its map and what is no hole. */
  data(path: string, node: TreeNode): AsyncIterable<Uint8Array>;
}

/** As the kernel counts them on one path. */
const MOST_LINKS = 40;

/**
 * The path with every link in it followed as if the tree's root were `/`; the part that is not there is kept as it is written.
 * @param options.last  whether a link in the last component is followed; default true
 * @throws TarError where links lead in a circle, or through something that is no directory
 */
export function resolvePath(
  lookup: (path: string) => TreeNode | undefined,
  path: string,
  options: { last?: boolean } = {},
): string {
  const pending = path.split('/');
  let at = '';
  let links = 0;
  for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
    if (next === '' || next === '.') continue;
    if (next === '..') {
      at = parentOf(at);
      continue;
    }
    const child = below(at, next);
    const node = lookup(child);
    const isLast = !pending.some((part) => part !== '' && part !== '.');
    if (node?.type === 'symlink' && !(isLast && options.last === false)) {
      links += 1;
      if (links > MOST_LINKS) throw new TarError(`${shown(path)} goes through more than ${MOST_LINKS} symbolic links`);
      const target = node.linkName ?? '';
      if (target.startsWith('/')) at = '';
      pending.unshift(...target.split('/'));
      if (pending.length > 4096) throw new TarError(`${shown(path)} goes through links that are too long`);
    } else if (node !== undefined && node.type !== 'directory' && !isLast) {
      throw new TarError(`${shown(path)}: ${shown(`/${child}`)} is not a directory`);
    } else at = child;
  }
  if (at.length > 4096) throw new TarError(`${shown(path)} is too long once its links are followed`);
  return at;
}

export function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0));
}

export function baseOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

export function below(directory: string, name: string): string {
  return directory === '' ? name : name === '' ? directory : `${directory}/${name}`;
}

/** For messages: the path's bytes as text. */
export function shown(path: string): string {
  return JSON.stringify(Buffer.from(path, 'latin1').toString('utf8'));
}

/** A text of a request or a Dockerfile as a tree's path has it. */
export function asBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** The whole of a file as bytes, at most `limit`. @throws TarError beyond that, and for a sparse file */
export async function readSmall(tree: Tree, path: string, limit: number): Promise<Buffer | undefined> {
  const real = resolvePath((one) => tree.lookup(one), path);
  const node = tree.lookup(real);
  if (node?.type !== 'file') return undefined;
  if (node.sizeBytes > limit || node.sparse !== undefined)
    throw new TarError(`${shown(path)} has more than ${limit} bytes`);
  return Buffer.concat(await Array.fromAsync(tree.data(real, node)));
}
