/** What `COPY` and `ADD` take: paths and patterns in a tree, heredocs, addresses. */
import { createHash, type Hash } from 'node:crypto';
import { TarError } from '#lib/tar/tar.ts';
import { compareBytes } from '../images/layer-directory.ts';
import { asBytes, baseOf, below, resolvePath, shown, type Tree, type TreeNode } from '../images/tree.ts';
import { BuildError } from './dockerfile/instruction.ts';
import type { Source } from './layer-plan.ts';
import { hasWildcard, Pattern } from './patterns.ts';
import { TarTree } from './tar-tree.ts';

export interface NamedSource extends Source {
  /** What it is called in a directory. */
  name: string;
}

/** @param kind  for messages. @throws BuildError where nothing is there, or where it would lead out of the tree */
export function findSources(tree: Tree, text: string, kind: string): NamedSource[] {
  const path = insidePath(text, kind);
  if (hasWildcard(text)) {
    const found = expand(tree, path);
    if (found.length === 0) throw new BuildError(`${kind} failed: no source files were specified`);
    return found.map((one) => sourceAt(tree, one, text, kind));
  }
  return [sourceAt(tree, path, text, kind)];
}

function sourceAt(tree: Tree, path: string, text: string, kind: string): NamedSource {
  const real = resolved(tree, path, kind);
  const node = tree.lookup(real);
  if (node === undefined) {
    throw new BuildError(
      `${kind} failed: file not found in build context or excluded by .dockerignore: stat ${text}: file does not exist`,
    );
  }
  return { tree, path: real, node, name: baseOf(path) };
}

function resolved(tree: Tree, path: string, kind: string): string {
  try {
    return resolvePath((one) => tree.lookup(one), path);
  } catch (error) {
    if (error instanceof TarError) throw new BuildError(`${kind} failed: ${error.message}`, { cause: error });
    throw error;
  }
}

/** Relative to the tree's root, as bytes. */
function insidePath(text: string, kind: string): string {
  const parts: string[] = [];
  for (const part of asBytes(text).split('/')) {
    if (part === '..') {
      if (parts.pop() === undefined)
        throw new BuildError(`${kind} failed: forbidden path outside the build context: ${text} ()`);
    } else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}

/** Links are not followed where a pattern looks around. */
function expand(tree: Tree, pattern: string): string[] {
  let found = [''];
  for (const part of pattern.split('/')) {
    if (!hasWildcard(part)) {
      found = found.map((path) => below(path, part)).filter((path) => tree.lookup(path) !== undefined);
      continue;
    }
    const compiled = new Pattern(Buffer.from(part, 'latin1').toString('utf8'));
    found = found.flatMap((path) =>
      tree
        .list(path)
        .filter(([name]) => compiled.matches(Buffer.from(name, 'latin1').toString('utf8')))
        .map(([name]) => below(path, name)),
    );
  }
  return found.sort(compareBytes);
}

/** Of everything that a copy of the sources takes over: names, kinds, owners, modes, contents; not times. */
export async function checksum(sources: readonly NamedSource[]): Promise<string> {
  const hash = createHash('sha256');
  for (const source of sources) await add(hash, source.name, source);
  return hash.digest('hex');
}

async function add(hash: Hash, name: string, { tree, path, node }: Source): Promise<void> {
  const { type, mode, uid, gid, sizeBytes, linkName, deviceMajor, deviceMinor, sparse, xattrs } = node;
  const attributes = [...(xattrs ?? [])].map(([key, value]) => [key, value.toString('hex')]);
  const facts = [name, type, mode, uid, gid, sizeBytes, linkName, deviceMajor, deviceMinor, sparse, attributes];
  hash.update(`${JSON.stringify(facts)}\n`);
  if (type === 'file') hash.update(`${await fileDigest(tree, path, node)}\n`);
  if (type !== 'directory') return;
  for (const [child, found] of tree.list(path))
    await add(hash, `${name}/${child}`, { tree, path: below(path, child), node: found });
}

async function fileDigest(tree: Tree, path: string, node: TreeNode): Promise<string> {
  if (tree instanceof TarTree) return tree.sha256(node);
  const hash = createHash('sha256');
  for await (const chunk of tree.data(path, node)) hash.update(chunk);
  return hash.digest('hex');
}

/** Numbers, or names of the image; a group that is not named has the user's number. */
export function ownerOf(
  text: string,
  lookUp: (user: string) => { uid: number; gid: number },
): { uid: number; gid: number } {
  const [user = '', group, ...rest] = text.split(':');
  if (user === '' || group === '' || rest.length > 0)
    throw new BuildError(`invalid chown string ${JSON.stringify(text)}: write user:group`);
  const found = lookUp(text);
  return { uid: found.uid, gid: group === undefined ? found.uid : found.gid };
}

export function modeOf(text: string): number {
  if (!/^[0-7]{1,4}$/.test(text))
    throw new BuildError(
      `invalid chmod parameter: ${JSON.stringify(text)}: it should be octal and between 0 and 07777`,
    );
  return Number.parseInt(text, 8);
}

/** The last part of an address, for a destination that is a directory. */
export function nameOfUrl(url: string): string {
  const name = baseOf(asBytes(decodeURIComponent(new URL(url).pathname)).replace(/\/+$/, ''));
  if (name === '' || name === '.' || name === '..')
    throw new BuildError(`cannot determine filename from url: ${shown(asBytes(url))}`);
  return name;
}
