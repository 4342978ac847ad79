/**
 * Fills empty volumes with what the image has where they are mounted.
 *
 * What is there is copied aside, in the volume, and moved to its place when it is whole: a directory that is left of a copy that was
 * killed is removed, one of a move that was killed is moved on, by the next who asks. Ids are as in the image's own layers, which is
 * how they lie in volumes too: every container sees both through its own mapping.
 */
import { chownSync, chmodSync, closeSync, constants, mkdirSync, openSync, readdirSync } from 'node:fs';
import { readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { RunError, run } from '#lib/run.ts';
import { type ContainerSpec, EngineError } from '../engine.ts';
import { openInRoot } from '../sys/files.ts';
import { hasCode } from '../sys/libc.ts';
import { MountFlag, mount, unmount } from '../sys/mounts.ts';
import type { ContainerPaths } from './layout.ts';

const COPYING = '.sampan-copying';
const COPIED = '.sampan-copied';

export interface SeedRequest {
  paths: ContainerPaths;
  spec: ContainerSpec;
  /** Topmost first. */
  layers: readonly string[];
}

/** By source: one at a time, and the second finds what the first copied. */
const seeding = new Map<string, Promise<void>>();

export async function seedMounts(request: SeedRequest): Promise<void> {
  for (const one of request.spec.mounts ?? []) {
    if (one.kind !== 'bind' || one.seed !== true) continue;
    const before = seeding.get(one.source) ?? Promise.resolve();
    const next = before.then(() => seed(request, one.source, one.target));
    const settled = next.catch(() => {});
    seeding.set(one.source, settled);
    try {
      await next;
    } finally {
      if (seeding.get(one.source) === settled) seeding.delete(one.source);
    }
  }
}

async function seed({ paths, layers }: SeedRequest, source: string, target: string): Promise<void> {
  const there = await readdir(source);
  if (there.includes(COPIED)) return await moveIn(source);
  if (there.some((name) => name !== COPYING)) return;
  await rm(join(source, COPYING), { recursive: true, force: true });
  const view = mountView(paths.seed, layers);
  try {
    const directory = openDirectory(view.root, target);
    if (directory === undefined) return;
    try {
      await copy(`/proc/${process.pid}/fd/${directory}`, source);
    } finally {
      closeSync(directory);
    }
  } finally {
    view.release();
  }
  await moveIn(source);
}

/** As the container would find it: no link leads out of the image. Undefined where there is no directory. */
function openDirectory(root: string, path: string): number | undefined {
  const top = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return openInRoot(top, Buffer.from(path).toString('latin1'), constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined;
    throw error;
  } finally {
    closeSync(top);
  }
}

/** The image's layers as one tree that nobody writes to. */
function mountView(place: string, layers: readonly string[]): { root: string; release: () => void } {
  const [only = '', second] = layers;
  if (second === undefined) return { root: only, release: () => {} };
  mkdirSync(place, { recursive: true });
  // By descriptor, so that the options fit into a page with any number of layers.
  const descriptors = layers.map((layer) => openSync(layer, constants.O_RDONLY | constants.O_DIRECTORY));
  try {
    const lower = descriptors.map((descriptor) => `/proc/self/fd/${descriptor}`).join(':');
    mount('overlay', place, 'overlay', MountFlag.readOnly, `lowerdir=${lower}`);
  } finally {
    for (const descriptor of descriptors) closeSync(descriptor);
  }
  return { root: place, release: () => void unmount(place) };
}

async function copy(from: string, source: string): Promise<void> {
  const aside = join(source, COPYING);
  try {
    // GNU cp keeps what Node's own copy loses: owners, extended attributes, hard links, holes, devices.
    await run('cp', ['-a', '--reflink=auto', '--no-target-directory', `${from}/.`, aside]);
    await rename(aside, join(source, COPIED));
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    if (error instanceof RunError && /No space left|quota exceeded/i.test(error.stderr))
      throw new EngineError('exhausted', `no space left to fill the volume from the image: ${error.stderr.trim()}`, {
        cause: error,
      });
    throw error;
  }
}

async function moveIn(source: string): Promise<void> {
  const aside = join(source, COPIED);
  for (const name of readdirSync(aside)) await rename(join(aside, name), join(source, name));
  const { uid, gid, mode } = await stat(aside);
  chownSync(source, uid, gid);
  chmodSync(source, mode & 0o7777);
  await rmdir(aside);
}
