/**
 * Disk volumes: `<data>/engine/disk-volumes/<name>.img` (lasting) or `.scratch`, mounted at `<run>/engine/disk-volumes/<name>`; `.block`,
 * which has a loop device while it is mounted.
 */
import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { mkdir, open, readFile, readdir, rename, rm, rmdir, stat, statfs, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { RunError, run } from '#lib/run.ts';
import { TurnsByKey } from '#lib/turns.ts';
import { namedWhenFull } from '../disk-full.ts';
import type { DiskVolume, DiskVolumeKind, DiskVolumeSpec, DiskVolumes, MountedDiskVolume } from '../disk-volumes.ts';
import { EngineError } from '../engine.ts';
import { allocate } from '../sys/files.ts';
import { hasCode } from '../sys/libc.ts';
import { loopOf, refreshLoopSize } from '../sys/loop.ts';
import { mounts } from '../sys/mounts.ts';
import { giveDevice, hasDevice, takeDevice } from './block-volumes.ts';
import { type Disks, mountImage, withSystemPrograms } from './disks.ts';
import type { Layout } from './layout.ts';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,199}$/;
const BLOCK = 4096;
const SMALLEST_LASTING = 16 * 1024 * 1024;
/** Of the host's file system. */
const KEPT_FREE = 0.05;
const SUFFIXES = { lasting: '.img', scratch: '.scratch', block: '.block' } as const;
const KINDS: readonly DiskVolumeKind[] = ['lasting', 'scratch', 'block'];
/** Beside an image while it grows: the size of the file system in it. */
const GROWING = '.growing';
/** Beside the files of the volume is what mkfs makes: programs that want an empty directory find one. */
const FILES = 'files';

interface Entry {
  kind: DiskVolumeKind;
  sizeBytes: number;
}

export interface DiskVolumesOptions {
  layout: Layout;
  disks: Disks;
  /** Whether a container that has not ended has the `block` volume at this path. */
  isUsed: (path: string) => boolean;
}

export class LocalDiskVolumes implements DiskVolumes {
  readonly #data: string;
  readonly #run: string;
  readonly #disks: Disks;
  readonly #isUsed: (path: string) => boolean;
  readonly #entries = new Map<string, Entry>();
  /** By name, the tail of what is done: one thing at a time. */
  readonly #turns = new TurnsByKey();

  private constructor({ layout, disks, isUsed }: DiskVolumesOptions) {
    this.#data = layout.diskVolumesData;
    this.#run = layout.diskVolumesRun;
    this.#disks = disks;
    this.#isUsed = isUsed;
  }

  static async open(options: DiskVolumesOptions): Promise<LocalDiskVolumes> {
    const opened = new LocalDiskVolumes(options);
    // Root's alone: a container's root may leave programs here that would run as the host's.
    for (const directory of [opened.#data, opened.#run]) await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const file of await readdir(opened.#data)) {
      const suffix = Object.values(SUFFIXES).find((one) => file.endsWith(one));
      if (suffix !== undefined) await opened.#find(file.slice(0, -suffix.length));
      else if (!file.endsWith(GROWING)) await rm(join(opened.#data, file), { force: true });
    }
    return opened;
  }

  /** What is known of it, or lies there: somebody may have put it back. */
  async #find(name: string): Promise<Entry | undefined> {
    const known = this.#entries.get(name);
    if (known !== undefined) return known;
    for (const kind of KINDS) {
      const file = this.#file(name, kind);
      if (!existsSync(file)) continue;
      const noted = await readFile(file + GROWING, 'utf8').catch(() => undefined);
      const entry = { kind, sizeBytes: Number(noted) || (await stat(file)).size };
      this.#entries.set(name, entry);
      return entry;
    }
    return undefined;
  }

  list(): DiskVolume[] {
    const targets = new Set(mounts().map(({ target }) => target));
    const isMounted = (name: string, { kind }: Entry): boolean =>
      kind === 'block' ? hasDevice(this.#file(name, kind)) : targets.has(this.#place(name));
    return [...this.#entries].map(([name, entry]) => ({ name, ...entry, mounted: isMounted(name, entry) }));
  }

  async mount(spec: DiskVolumeSpec): Promise<MountedDiskVolume> {
    const kind = spec.kind ?? 'lasting';
    if (!NAME.test(spec.name))
      throw new EngineError(
        'invalid',
        `name: ${JSON.stringify(spec.name)} is not a plain name of at most 200 characters`,
      );
    if (!Number.isSafeInteger(spec.sizeBytes) || (kind !== 'scratch' && spec.sizeBytes < SMALLEST_LASTING))
      throw new EngineError(
        'invalid',
        `sizeBytes: ${spec.sizeBytes} is too small for volume "${spec.name}": give at least ${SMALLEST_LASTING}`,
      );
    return await this.#turns.take(spec.name, async () => {
      if (spec.existing === true && (await this.#find(spec.name)) === undefined)
        throw new EngineError(
          'not-found',
          `volume "${spec.name}" was made, and is not in ${this.#data} any more: put ${spec.name}${SUFFIXES[kind]} back, or delete the volume`,
        );
      try {
        return await this.#mount(spec.name, kind, Math.ceil(spec.sizeBytes / BLOCK) * BLOCK);
      } catch (error) {
        throw namedWhenFull(error);
      }
    });
  }

  async #mount(name: string, wanted: Entry['kind'], size: number): Promise<MountedDiskVolume> {
    let entry = await this.#find(name);
    const isNew = entry === undefined;
    if (entry === undefined) {
      entry = { kind: wanted, sizeBytes: size };
      await this.#make(name, entry);
      this.#entries.set(name, entry);
    }
    checkSort(name, entry.kind, wanted);
    if (entry.kind === 'block') return await this.#attach(name, entry, size);
    const [file, place] = [this.#file(name, entry.kind), this.#place(name)];
    mkdirSync(place, { recursive: true, mode: 0o700 });
    const wants = entry.kind === 'lasting' && (size > entry.sizeBytes || existsSync(file + GROWING));
    const isMounted = mounts().some(({ target }) => target === place);
    if (wants) await this.#setAside(name, file, { now: entry.sizeBytes, wanted: size });
    // A container may still have it, from before it was unmounted here: then it is in use, and there is nothing to mend.
    const isUsed = isMounted || loopOf(file) !== undefined;
    if (wants && !isUsed && (await growUnused(file))) entry.sizeBytes = await this.#grown(file);
    if (!isMounted) await this.#mountImage(file, place, entry, isNew || isUsed);
    if (wants && isUsed && (await growUsed(file))) entry.sizeBytes = await this.#grown(file);
    const path = join(place, FILES);
    if (!existsSync(path)) {
      const aside = join(place, `${FILES}.new`);
      mkdirSync(aside, { recursive: true });
      chmodSync(aside, 0o777);
      await rename(aside, path);
    }
    return { name, ...entry, mounted: true, path };
  }

  async #attach(name: string, entry: Entry, size: number): Promise<MountedDiskVolume> {
    const path = this.#file(name, entry.kind);
    if (size > entry.sizeBytes) {
      await this.#keepFree(name, size - entry.sizeBytes);
      try {
        await reserve(path, size);
      } catch (error) {
        await truncate(path, entry.sizeBytes);
        throw error;
      }
      entry.sizeBytes = size;
    }
    await giveDevice(name, path);
    return { name, ...entry, mounted: true, path };
  }

  async #mountImage(file: string, place: string, { kind }: Entry, isSound: boolean): Promise<void> {
    const options = { noSuid: true, discard: kind === 'scratch', shared: true };
    if (isSound) return mountImage(file, place, options);
    // Without a journal a boot may leave more than is mended without being asked; nobody wants it back at that price.
    if (kind === 'scratch') await run('e2fsck', ['-y', file], { env: withSystemPrograms(), allow: [1] });
    await mending(file, this.#disks.mountAgain(file, place, options));
  }

  async #make(name: string, { kind, sizeBytes }: Entry): Promise<void> {
    const file = this.#file(name, kind);
    const aside = `${file}.new`;
    await rm(aside, { force: true });
    try {
      await this.#keepFree(name, kind === 'scratch' ? 0 : sizeBytes);
      if (kind === 'scratch') await this.#disks.make(aside, sizeBytes);
      else await reserve(aside, sizeBytes);
      if (kind === 'lasting') await format(aside);
      await rename(aside, file);
    } catch (error) {
      await rm(aside, { force: true });
      throw error;
    }
  }

  /** From now on the file may be larger than the file system in it, and a note beside it says so. */
  async #setAside(name: string, file: string, { now, wanted }: { now: number; wanted: number }): Promise<void> {
    const { size } = await stat(file);
    if (size >= wanted) return;
    await this.#keepFree(name, wanted - size);
    if (!existsSync(file + GROWING)) writeFileAtomic(file + GROWING, String(now));
    await reserve(file, wanted);
  }

  async #grown(file: string): Promise<number> {
    await rm(file + GROWING, { force: true });
    return (await stat(file)).size;
  }

  async #keepFree(name: string, more: number): Promise<void> {
    const { blocks, bavail, bsize } = await statfs(this.#data);
    const kept = blocks * bsize * KEPT_FREE;
    if (bavail * bsize - more >= kept) return;
    throw new EngineError(
      'exhausted',
      `volume "${name}": no space for ${mebibytes(more)} on the disk of ${this.#data}: ${mebibytes(bavail * bsize)} are free, and ${mebibytes(kept)} must stay free; remove images, containers or volumes, or ask for less`,
    );
  }

  async unmount(name: string): Promise<void> {
    await this.#turns.take(name, () => this.#unmount(name));
  }

  async #unmount(name: string): Promise<void> {
    if ((await this.#find(name))?.kind === 'block') return await this.#detach(name);
    const place = this.#place(name);
    // In a process of its own: it writes what is not on disk yet. 32: nothing is mounted there.
    if (mounts().some(({ target }) => target === place)) await run('umount', ['--lazy', place], { allow: [32] });
    await rmdir(place).catch((error: unknown) => {
      if (!hasCode(error, 'ENOENT')) throw error;
    });
  }

  /** While a container could still open the node that it was given, the number must be no other file's. */
  async #detach(name: string): Promise<void> {
    const path = this.#file(name, 'block');
    if (this.#isUsed(path))
      throw new EngineError(
        'conflict',
        `volume "${name}" is a device of a container that has not ended: stop that first`,
      );
    await takeDevice(path);
  }

  async remove(name: string): Promise<void> {
    await this.#turns.take(name, async () => {
      const entry = this.#entries.get(name);
      if (entry === undefined) return;
      await this.#unmount(name);
      const file = this.#file(name, entry.kind);
      await rm(file, { force: true });
      await rm(file + GROWING, { force: true });
      this.#entries.delete(name);
    });
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await this.#turns.settled();
  }

  #file(name: string, kind: Entry['kind']): string {
    return join(this.#data, name + SUFFIXES[kind]);
  }

  #place(name: string): string {
    return join(this.#run, name);
  }
}

function checkSort(name: string, there: DiskVolumeKind, wanted: DiskVolumeKind): void {
  if ((there === 'block') === (wanted === 'block')) return;
  const [has, asked] = there === 'block' ? ['no file system', 'one'] : ['a file system', 'a device'];
  throw new EngineError('invalid', `volume "${name}" has ${has}, and ${asked} was asked for: give it another name`);
}

async function growUnused(file: string): Promise<boolean> {
  const options = { env: withSystemPrograms() };
  await mending(file, run('e2fsck', ['-f', '-p', file], { ...options, allow: [1] }));
  await run('resize2fs', [file], options);
  return true;
}

/** False where the kernel does not let us: that takes CAP_SYS_RESOURCE. */
async function growUsed(file: string): Promise<boolean> {
  const device = loopOf(file);
  if (device === undefined) return false;
  refreshLoopSize(device);
  try {
    await run('resize2fs', [device], { env: withSystemPrograms() });
    return true;
  } catch (error) {
    if (error instanceof RunError && /Permission denied/i.test(error.stderr)) return false;
    throw error;
  }
}

async function mending(file: string, work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    const message = `the file system in ${file} is damaged, and e2fsck does not mend it by itself: run e2fsck on it`;
    throw new EngineError('internal', message, { cause: error });
  }
}

/** What it has not yet of its space is taken from the host's disk now, where the file system can. */
async function reserve(file: string, size: number): Promise<void> {
  const handle = await open(file, 'a', 0o600);
  try {
    if (!allocate(handle.fd, size)) await handle.truncate(size);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The defaults of the host's mkfs, which can grow while mounted. After an error it is read-only rather than torn. */
async function format(file: string): Promise<void> {
  const extended = 'lazy_itable_init=1,lazy_journal_init=1,nodiscard';
  await run('mkfs.ext4', ['-q', '-F', '-m', '0', '-b', String(BLOCK), '-e', 'remount-ro', '-E', extended, file], {
    env: withSystemPrograms(),
  });
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024 / 1024)} MiB`;
}
