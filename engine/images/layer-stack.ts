/**
 * Layers one above the other, seen as overlayfs would show them, without a mount: for reading an image's files, and for telling
 * what a writable layer changed.
 */
import { compareBytes, type IdShift, LayerDirectory, type OpenDirectory } from './layer-directory.ts';
import { below, baseOf, parentOf, type Tree, type TreeNode } from './tree.ts';

/** Merged directories that are remembered; beyond that they are looked up anew. */
const MOST_KNOWN = 50_000;

export interface StackLayer {
  directory: string;
  shift?: IdShift;
}

export class LayerStack implements Tree {
  readonly #layers: LayerDirectory[] = [];
  /** By path: the layers whose directories make up the merged one, topmost first. */
  readonly #places = new Map<string, readonly number[]>();
  /** Which layer a file's bytes are in. */
  readonly #owners = new WeakMap<TreeNode, number>();

  /** @param layers  topmost first */
  constructor(layers: readonly StackLayer[]) {
    try {
      for (const [index, { directory, shift }] of layers.entries())
        this.#layers.push(new LayerDirectory(directory, String(index), shift));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    for (const layer of this.#layers.splice(0)) layer.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  lookup(path: string): TreeNode | undefined {
    if (path === '') return this.#root();
    const directories = this.#open(parentOf(path));
    try {
      return this.#find(directories, baseOf(path));
    } finally {
      closeAll(directories);
    }
  }

  list(path: string): [name: string, node: TreeNode][] {
    const directories = this.#open(path);
    try {
      const names = [...new Set(directories.flatMap(({ opened }) => opened.names()))].sort(compareBytes);
      return names.flatMap((name): [string, TreeNode][] => {
        const node = this.#find(directories, name);
        return node === undefined ? [] : [[name, node]];
      });
    } finally {
      closeAll(directories);
    }
  }

  data(path: string, node: TreeNode): AsyncIterable<Uint8Array> {
    const layer = this.#layers[this.#owners.get(node) ?? -1];
    if (layer === undefined) throw new Error(`the file ${path} was not looked up in this tree`);
    return layer.data(parentOf(path), baseOf(path), node);
  }

  #root(): TreeNode | undefined {
    const directories = this.#open('');
    try {
      return directories[0]?.opened.self().node;
    } finally {
      closeAll(directories);
    }
  }

  #find(directories: readonly OpenPlace[], name: string): TreeNode | undefined {
    for (const { index, opened } of directories) {
      const entry = opened.entry(name);
      if (entry === undefined) continue;
      if (entry.isWhiteout) return undefined;
      this.#owners.set(entry.node, index);
      return entry.node;
    }
    return undefined;
  }

  /** The directories that make up the merged one, open; empty where there is no directory. */
  #open(path: string): OpenPlace[] {
    const opened: OpenPlace[] = [];
    for (const index of this.#placesOf(path)) {
      const directory = this.#layers[index]?.open(path);
      if (directory !== undefined) opened.push({ index, opened: directory });
    }
    return opened;
  }

  #placesOf(path: string): readonly number[] {
    const known = this.#places.get(path);
    if (known !== undefined) return known;
    const candidates = path === '' ? this.#layers.keys() : this.#placesOf(parentOf(path)).values();
    const places: number[] = [];
    for (const index of candidates) {
      const found = path === '' ? 'directory' : this.#kindOf(index, path);
      if (found === undefined) continue;
      if (found !== 'directory') break;
      places.push(index);
      const directory = this.#layers[index]?.open(path);
      const isOpaque = directory?.isOpaque();
      directory?.close();
      if (isOpaque === true) break;
    }
    if (this.#places.size >= MOST_KNOWN) this.#places.clear();
    this.#places.set(path, places);
    return places;
  }

  #kindOf(index: number, path: string): TreeNode['type'] | undefined {
    const directory = this.#layers[index]?.open(parentOf(path));
    try {
      return directory?.entry(baseOf(path))?.node.type;
    } finally {
      directory?.close();
    }
  }
}

interface OpenPlace {
  index: number;
  opened: OpenDirectory;
}

function closeAll(directories: readonly OpenPlace[]): void {
  for (const { opened } of directories) opened.close();
}

/** Every file of a tree below a directory, directories before what is in them, in the order of their names. */
export function* walk(tree: Tree, path = ''): Generator<[path: string, node: TreeNode]> {
  for (const [name, node] of tree.list(path)) {
    const child = below(path, name);
    yield [child, node];
    if (node.type === 'directory') yield* walk(tree, child);
  }
}
