/**
 * What a step puts into an image, planned in memory and then streamed as one layer. Destinations are resolved by the image's own
 * links, inside the image; nothing is written anywhere but into the layer's archive.
 */
import { TarError } from '#lib/tar/tar.ts';
import type { LayerItem } from '../images/layer-archive.ts';
import { compareBytes } from '../images/layer-directory.ts';
import { baseOf, below, parentOf, resolvePath, shown, type Tree, type TreeNode } from '../images/tree.ts';
import { BuildError } from './dockerfile/instruction.ts';

/** Instead of what the source has. */
export interface Ownership {
  owner?: { uid: number; gid: number };
  /** Of files and directories alike. */
  mode?: number;
}

export interface Source {
  tree: Tree;
  path: string;
  node: TreeNode;
}

export class LayerPlan {
  readonly #image: Tree;
  readonly #items = new Map<string, LayerItem>();
  readonly #now = Math.floor(Date.now() / 1000);

  constructor(image: Tree) {
    this.#image = image;
  }

  get isEmpty(): boolean {
    return this.#items.size === 0;
  }

  /** What will be there. */
  lookup(path: string): TreeNode | undefined {
    if (path === '') return this.#image.lookup('') ?? { ...NEW_DIRECTORY, mtimeSeconds: this.#now };
    return this.#items.get(path)?.node ?? this.#image.lookup(path);
  }

  /** In the image, links followed; what is not there yet stays as it is written. @throws BuildError */
  resolve(path: string): string {
    try {
      return resolvePath((one) => this.lookup(one), path);
    } catch (error) {
      if (error instanceof TarError) throw new BuildError(error.message, { cause: error });
      throw error;
    }
  }

  isDirectory(path: string): boolean {
    return this.lookup(path)?.type === 'directory';
  }

  /** With those above it, which belong to `above`. One that is there stays as it is. `path` is resolved. */
  makeDirectory(path: string, { owner }: Ownership = {}, above?: Ownership['owner']): void {
    if (path === '') return;
    this.#ancestors(path, above);
    const before = this.lookup(path);
    if (before?.type === 'directory') return;
    if (before !== undefined)
      throw new BuildError(`cannot make directory ${shown(`/${path}`)}: there is a ${before.type}`);
    this.#put(path, { node: { ...NEW_DIRECTORY, ...owner, mtimeSeconds: this.#now } });
  }

  /** One file, whatever it is, at exactly this place. */
  file(path: string, source: Source, ownership: Ownership): void {
    this.#ancestors(path, ownership.owner);
    if (this.lookup(path)?.type === 'directory')
      throw new BuildError(
        `cannot copy to non-directory: ${shown(`/${path}`)} is a directory, and ${shown(source.path)} is none`,
      );
    this.#put(path, { node: owned(source.node, ownership), source });
  }

  /** What is in the directory; the directory itself gives its attributes to those of its kind below it alone. */
  contents(path: string, source: Source, ownership: Ownership): void {
    // As Docker does: directories on the way to a directory are root's, those on the way to a file are the file's owner's.
    this.makeDirectory(path, ownership);
    for (const [name, node] of source.tree.list(source.path)) {
      const child = { tree: source.tree, path: below(source.path, name), node };
      const target = below(path, name);
      if (node.type === 'directory') this.contents(this.#mergeDirectory(target, child, ownership), child, ownership);
      else if (node.type !== 'socket') this.file(target, child, ownership);
    }
  }

  /** In sorted order, so that a directory is before what is in it. */
  *items(): Generator<LayerItem> {
    for (const path of [...this.#items.keys()].sort(compareBytes)) {
      const item = this.#items.get(path);
      if (item !== undefined) yield item;
    }
  }

  /** A directory over a link to one goes where the link leads: the image's `/lib` may be `usr/lib`. */
  #mergeDirectory(path: string, { node }: Source, ownership: Ownership): string {
    const before = this.lookup(path);
    const real = before?.type === 'symlink' ? this.resolve(path) : path;
    const there = real === path ? before : this.lookup(real);
    if (there !== undefined && there.type !== 'directory')
      throw new BuildError(`cannot copy to non-directory: ${shown(`/${path}`)}`);
    this.#ancestors(real, ownership.owner);
    if (real === path) this.#put(path, { node: owned(node, ownership) });
    return real;
  }

  /** Directories above, with the image's attributes: a layer's directory hides those of the ones below it. */
  #ancestors(path: string, owner: Ownership['owner']): void {
    const parent = parentOf(path);
    if (parent === '' || this.#items.get(parent)?.node.type === 'directory') return;
    this.#ancestors(parent, owner);
    const there = this.lookup(parent);
    if (there !== undefined && there.type !== 'directory')
      throw new BuildError(`cannot copy to non-directory: ${shown(`/${parent}`)} is a ${there.type}`);
    this.#put(parent, { node: there ?? { ...NEW_DIRECTORY, ...owner, mtimeSeconds: this.#now } });
  }

  #put(path: string, item: Omit<LayerItem, 'path'>): void {
    if (baseOf(path).startsWith('.wh.'))
      throw new BuildError(`${shown(`/${path}`)} has a name that image layers reserve; rename it`);
    this.#items.set(path, { ...item, path });
  }
}

const NEW_DIRECTORY: Omit<TreeNode, 'mtimeSeconds'> = { type: 'directory', mode: 0o755, uid: 0, gid: 0, sizeBytes: 0 };

function owned(node: TreeNode, { owner, mode }: Ownership): TreeNode {
  // A node is what its tree knows it by, so it is changed in a copy only where it must be.
  if (owner === undefined && mode === undefined) return node;
  return { ...node, ...owner, ...(mode === undefined || node.type === 'symlink' ? {} : { mode }) };
}
