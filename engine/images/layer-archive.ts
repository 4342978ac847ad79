/** The archive of a layer, from what is to be in it: names of one file become hard links, and the order is the caller's. */
import { setImmediate } from 'node:timers/promises';
import { TarError } from '#lib/tar/tar.ts';
import { type TarInput, writeTar } from '#lib/tar/write.ts';
import { EngineError } from '../engine.ts';
import type { ContentStore } from './store.ts';
import type { Tree, TreeNode } from './tree.ts';

export interface LayerItem {
  path: string;
  node: TreeNode;
  /** Where the bytes of a file are, and as what that tree knows it: `node` may be a copy with another owner. */
  source?: { tree: Pick<Tree, 'data'>; path: string; node: TreeNode };
}

export interface LayerBlob {
  /** Of the archive, which is stored as it is: also its diff id. */
  digest: string;
  sizeBytes: number;
}

/** Entries between which others get a turn. */
const TURN = 200;

/** Streams the archive into the content store. Undefined where nothing is in it. */
export async function writeLayer(
  content: ContentStore,
  items: Iterable<LayerItem>,
  signal?: AbortSignal,
): Promise<LayerBlob | undefined> {
  let count = 0;
  const counted = function* (): Generator<LayerItem> {
    for (const item of items) {
      if (item.node.type === 'socket') continue;
      count += 1;
      yield item;
    }
  };
  const iterator = archiveOf(counted(), signal)[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (count === 0 || first.done === true) return undefined;
  const whole = async function* (): AsyncGenerator<Uint8Array> {
    yield first.value;
    yield* { [Symbol.asyncIterator]: () => iterator };
  };
  try {
    const { digest, sizeBytes } = await content.write(whole(), {});
    return { digest, sizeBytes };
  } catch (error) {
    signal?.throwIfAborted();
    throw explain(error);
  }
}

export async function* archiveOf(items: Iterable<LayerItem>, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  yield* writeTar(inputs(items, signal), { encoding: 'latin1' });
}

async function* inputs(items: Iterable<LayerItem>, signal: AbortSignal | undefined): AsyncGenerator<TarInput> {
  /** The first name of files that have several. */
  const names = new Map<string, string>();
  let turn = 0;
  for (const { path, node, source } of items) {
    signal?.throwIfAborted();
    turn += 1;
    if (turn % TURN === 0) await setImmediate();
    const { identity, type, ...header } = node;
    if (type === 'socket') continue;
    const first = identity === undefined ? undefined : names.get(identity);
    if (first !== undefined) {
      const { sparse: _sparse, xattrs: _xattrs, ...plain } = header;
      yield { ...plain, name: path, type: 'hard-link', linkName: first, sizeBytes: 0 };
      continue;
    }
    if (identity !== undefined) names.set(identity, path);
    yield {
      ...header,
      type,
      name: path === '' ? '.' : path,
      ...(type === 'file' && source !== undefined ? { data: source.tree.data(source.path, source.node) } : {}),
    };
  }
}

function explain(error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'ENOSPC')
    return new EngineError('exhausted', 'the disk is full: a layer cannot be written; free some space', {
      cause: error,
    });
  if (error instanceof TarError)
    return new EngineError('invalid', `a layer cannot be written: ${error.message}`, { cause: error });
  return error;
}
