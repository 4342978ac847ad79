/**
 * What a container wrote: its writable layer against its image, as a list of changes, as a layer for an image, or together with
 * the image as one archive. Everything is read from the layers themselves, so it works after the container has ended too.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Container, EngineError, type Images, type Sandbox } from '../engine.ts';
import type { FileChange } from '../written.ts';
import { archiveOf, type LayerBlob, type LayerItem, writeLayer } from '../images/layer-archive.ts';
import { LayerDirectory } from '../images/layer-directory.ts';
import { LayerStack, type StackLayer, walk } from '../images/layer-stack.ts';
import type { ContentStore } from '../images/store.ts';
import { below, parentOf, resolvePath, shown, type TreeNode } from '../images/tree.ts';
import { type Layout, containerPaths } from './layout.ts';

export interface WrittenRequest {
  container: Container;
  sandbox: Sandbox | undefined;
  images: Images;
  layout: Layout;
}

/** Where the runtime makes something to mount on, in every container. What is mounted besides is the user's wish, and shows. */
const OWN_TARGETS = ['proc', 'dev', 'sys', 'etc/hosts', 'etc/resolv.conf', 'etc/hostname'];
/** Between the birth of what the runtime made and the time of the directory that it was made in: a tick of the kernel's clock. */
const SAME_MOMENT = 20;

interface Difference {
  path: string;
  kind: FileChange['kind'];
  node?: TreeNode;
  /** Nothing of the image's directory is seen any more. */
  isOpaque?: boolean;
  /** Said by the opaque directory above it already. */
  isImplied?: boolean;
}

export async function changesOf(request: WrittenRequest): Promise<FileChange[]> {
  const { top, image } = await layersOf(request);
  using upper = new LayerDirectory(top.directory, 'written', top.shift);
  using lower = new LayerStack(image);
  return [...new Comparison(upper, lower).below('', true)]
    .map(({ path, kind }): FileChange => ({ path: `/${Buffer.from(path, 'latin1').toString('utf8')}`, kind }))
    .sort((left, right) => (left.path < right.path ? -1 : 1));
}

export async function writeWritten(
  request: WrittenRequest,
  content: ContentStore,
  signal?: AbortSignal,
): Promise<LayerBlob | undefined> {
  const { top, image } = await layersOf(request);
  using upper = new LayerDirectory(top.directory, 'written', top.shift);
  using lower = new LayerStack(image);
  return await writeLayer(content, layerItems(new Comparison(upper, lower), upper), signal);
}

export async function* exportWritten(request: WrittenRequest, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const { top, image } = await layersOf(request);
  using stack = new LayerStack([top, ...image]);
  const items = function* (): Generator<LayerItem> {
    for (const [path, node] of walk(stack)) yield { path, node, source: { tree: stack, path, node } };
  };
  yield* archiveOf(items(), signal);
}

async function layersOf({ container, sandbox, images, layout }: WrittenRequest): Promise<{
  top: StackLayer;
  image: StackLayer[];
}> {
  const paths = containerPaths(layout, container.id);
  const onDisk = container.spec.limits?.diskBytes !== undefined;
  const directory = onDisk ? join(paths.diskMount, 'upper') : paths.upper;
  if (sandbox === undefined || !existsSync(directory)) {
    throw new EngineError(
      'conflict',
      `container ${container.id} lost its file system when the machine was booted: remove it and make a new one`,
    );
  }
  const image = images.get(container.imageDigest);
  if (image === undefined)
    throw new EngineError('not-found', `image ${container.imageId} of container ${container.id} is gone`);
  const layers = await images.layerDirectories(image);
  return { top: { directory, shift: sandbox.idRange }, image: layers.map((layer) => ({ directory: layer })) };
}

function* layerItems(comparison: Comparison, upper: LayerDirectory): Generator<LayerItem> {
  for (const { path, kind, node, isOpaque, isImplied } of comparison.below('', true)) {
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (name.startsWith('.wh.'))
      throw new EngineError(
        'invalid',
        `${shown(`/${path}`)} has a name that image layers reserve; remove or rename it`,
      );
    if (kind === 'deleted') {
      if (isImplied !== true) yield { path: below(parentOf(path), `.wh.${name}`), node: { ...MARK } };
    } else if (node !== undefined) {
      yield { path, node, source: { tree: { data: (at, of) => upper.data(parentOf(at), name, of) }, path, node } };
      if (isOpaque === true) yield { path: `${path}/.wh..wh..opq`, node: { ...MARK } };
    }
  }
}

const MARK: TreeNode = { type: 'file', mode: 0, uid: 0, gid: 0, sizeBytes: 0, mtimeSeconds: 0 };

class Comparison {
  readonly #upper: LayerDirectory;
  readonly #lower: LayerStack;
  readonly #targets: Set<string>;

  constructor(upper: LayerDirectory, lower: LayerStack) {
    this.#upper = upper;
    this.#lower = lower;
    this.#targets = new Set(OWN_TARGETS.map((target) => this.#resolved(target)));
  }

  /** A directory before what is in it, in the order of their names. @param isSeen  whether the image's directory shows through */
  *below(path: string, isSeen: boolean): Generator<Difference> {
    const directory = this.#upper.open(path);
    if (directory === undefined) return;
    const entries = directory.names().map((name) => ({ name, entry: directory.entry(name) }));
    directory.close();
    for (const { name, entry } of entries) {
      if (entry === undefined) continue;
      const child = below(path, name);
      const before = isSeen ? this.#lower.lookup(child) : undefined;
      if (entry.isWhiteout) {
        if (before !== undefined) yield { path: child, kind: 'deleted' };
      } else if (entry.node.type === 'directory') yield* this.#directory(child, entry.node, before);
      else if (!this.#isStub(child, entry.node, before))
        yield { path: child, kind: before === undefined ? 'added' : 'modified', node: entry.node };
    }
  }

  *#directory(path: string, node: TreeNode, before: TreeNode | undefined): Generator<Difference> {
    const directory = this.#upper.open(path);
    if (directory === undefined) return;
    const isOpaque = directory.isOpaque();
    const own = new Set(directory.names());
    directory.close();
    const wasDirectory = before?.type === 'directory';
    const inside = [...this.below(path, wasDirectory && !isOpaque)];
    const hidden = wasDirectory && isOpaque ? this.#lower.list(path).filter(([name]) => !own.has(name)) : [];
    const isChanged =
      before === undefined
        ? !this.#isStubDirectory(path, own.size, inside.length)
        : !wasDirectory || isOpaque || inside.length > 0 || !this.#isSame(path, node, before);
    if (!isChanged) return;
    const kind = before === undefined ? 'added' : 'modified';
    yield { path, kind, node, ...(wasDirectory && isOpaque ? { isOpaque } : {}) };
    for (const [name] of hidden) yield { path: below(path, name), kind: 'deleted', isImplied: true };
    yield* inside;
  }

  /** Made by the runtime to mount on, and hidden by the mount ever since. */
  #isStub(path: string, node: TreeNode, before: TreeNode | undefined): boolean {
    return before === undefined && node.type === 'file' && node.sizeBytes === 0 && this.#targets.has(path);
  }

  #isStubDirectory(path: string, entries: number, differences: number): boolean {
    if (differences > 0) return false;
    if (entries === 0) return this.#targets.has(path);
    return [...this.#targets].some((target) => target.startsWith(`${path}/`));
  }

  #isSame(path: string, node: TreeNode, before: TreeNode): boolean {
    const { mtimeSeconds, mtimeNanoseconds = 0, ...rest } = node;
    const { mtimeSeconds: secondsBefore, mtimeNanoseconds: nanosBefore = 0, ...restBefore } = before;
    if (JSON.stringify(comparable(rest)) !== JSON.stringify(comparable(restBefore))) return false;
    if (mtimeSeconds === secondsBefore && mtimeNanoseconds === nanosBefore) return true;
    const changedAt = mtimeSeconds * 1000 + mtimeNanoseconds / 1_000_000;
    return this.#stubsIn(path).some((bornAt) => Math.abs(bornAt - changedAt) < SAME_MOMENT);
  }

  /** When the runtime made what it mounts on in this directory. */
  #stubsIn(path: string): number[] {
    const names = [...this.#targets].filter((target) => parentOf(target) === path);
    const directory = names.length === 0 ? undefined : this.#upper.open(path);
    const times = names.flatMap((target) => directory?.entry(target.slice(target.lastIndexOf('/') + 1))?.bornAt ?? []);
    directory?.close();
    return times;
  }

  #resolved(target: string): string {
    try {
      return resolvePath((path) => this.#lower.lookup(path), target);
    } catch {
      // A target that the image's links lead nowhere is none that the runtime has mounted on.
      return target;
    }
  }
}

function comparable({ xattrs, ...node }: Partial<TreeNode>): unknown {
  const { identity: _identity, ...rest } = node;
  return [
    Object.entries(rest).sort(([left], [right]) => (left < right ? -1 : 1)),
    [...(xattrs ?? [])].map(([name, value]) => [name, value.toString('hex')]),
  ];
}
