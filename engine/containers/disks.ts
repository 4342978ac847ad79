/**
 * Writable layers of a fixed size: a sparse ext4 image behind a loop device, because no cgroup limits disk and many kernels have
 * no project quotas. A full one gives ENOSPC inside; outside it takes what was written, and nothing ahead.
 *
 * Formatting takes a process and tens of milliseconds, so one template for each size is made, and copied by its data extents.
 */
import { closeSync } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BoundedMap } from '#lib/bounded-map.ts';
import { run } from '#lib/run.ts';
import { EngineError } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { attachLoop, dataExtents, openLoop } from '../sys/loop.ts';
import { MountFlag, mount } from '../sys/mounts.ts';

const smallest = 4 * 1024 * 1024;
const block = 4096;
/** Sizes that are kept in memory, some hundred kilobytes each. */
const mostTemplates = 8;

interface Template {
  size: number;
  pieces: { start: number; bytes: Buffer }[];
}

export class Disks {
  readonly #directory: string;
  readonly #templates = new BoundedMap<number, Promise<Template>>(mostTemplates);

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Makes an image at `file` and mounts it at `target`, which must exist. The image goes with its file, after the unmount. */
  async create(file: string, target: string, bytes: number): Promise<void> {
    await this.make(file, bytes);
    mountImage(file, target);
  }

  /** The image alone. */
  async make(file: string, bytes: number): Promise<void> {
    if (!Number.isSafeInteger(bytes) || bytes < smallest) {
      throw new EngineError('invalid', `diskBytes: ${bytes} is too small: give at least ${smallest}`);
    }
    const size = Math.ceil(bytes / block) * block;
    const template = await this.#template(size);
    const handle = await open(file, 'wx', 0o600);
    try {
      await handle.truncate(size);
      for (const { start, bytes: piece } of template.pieces) await handle.write(piece, 0, piece.length, start);
    } finally {
      await handle.close();
    }
  }

  /** Mounts one that is there, after a boot of the machine: without a journal it may have to be repaired. */
  async mountAgain(file: string, target: string, options: ImageMountOptions = {}): Promise<void> {
    // 1: something was mended.
    await run('e2fsck', ['-p', file], { env: withSystemPrograms(), allow: [1] });
    mountImage(file, target, options);
  }

  #template(size: number): Promise<Template> {
    let template = this.#templates.get(size);
    if (template === undefined) {
      template = this.#load(size);
      this.#templates.set(size, template);
      // A failure is told to those who wait, and tried anew by the next.
      template.catch(() => this.#templates.delete(size));
    }
    return template;
  }

  async #load(size: number): Promise<Template> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const file = join(this.#directory, `ext4-${size}.img`);
    const there = await stat(file).catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    });
    if (there?.size !== size) {
      const aside = `${file}.new`;
      await rm(aside, { force: true });
      const handle = await open(aside, 'w', 0o600);
      await handle.truncate(size);
      await handle.close();
      await format(aside);
      await rename(aside, file);
    }
    const handle = await open(file, 'r');
    try {
      return { size, pieces: await readPieces(handle, size) };
    } finally {
      await handle.close();
    }
  }
}

/** No journal: it would cost more than it saves, since a crash of the host is rare and `mountAgain` repairs. */
async function format(file: string): Promise<void> {
  const features = '^has_journal,^resize_inode,^metadata_csum,uninit_bg,sparse_super2';
  const extended = 'lazy_itable_init=1,nodiscard,num_backup_sb=0';
  await run(
    'mkfs.ext4',
    ['-q', '-F', '-m', '0', '-i', '8192', '-b', String(block), '-O', features, '-E', extended, file],
    { env: withSystemPrograms() },
  );
}

export function withSystemPrograms(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };
}

async function readPieces(handle: FileHandle, size: number): Promise<Template['pieces']> {
  const pieces: Template['pieces'] = [];
  for (const { start, end } of dataExtents(handle.fd, size)) {
    const bytes = Buffer.alloc(end - start);
    await handle.read(bytes, 0, bytes.length, start);
    // mkfs writes zeros too; a hole reads the same.
    for (let offset = 0; offset < bytes.length; offset += block) {
      const piece = bytes.subarray(offset, Math.min(offset + block, bytes.length));
      if (piece.every((byte) => byte === 0)) continue;
      const last = pieces.at(-1);
      if (last !== undefined && last.start + last.bytes.length === start + offset) {
        last.bytes = Buffer.concat([last.bytes, piece]);
      } else pieces.push({ start: start + offset, bytes: Buffer.from(piece) });
    }
  }
  return pieces;
}

interface ImageMountOptions {
  noSuid?: boolean;
  /** Default true: what is deleted inside is given back to the host's disk. */
  discard?: boolean;
  /** It may be mounted elsewhere, and is then seen in both places: a second device on one image would tear the file system. */
  shared?: boolean;
}

/** Mounts an image that is there. The loop device goes with the last mount. */
export function mountImage(file: string, target: string, options: ImageMountOptions = {}): void {
  const flags = MountFlag.noDev | (options.noSuid === true ? MountFlag.noSuid : 0);
  const { device, descriptor } = (options.shared === true ? openLoop(file) : undefined) ?? attachLoop(file);
  try {
    mount(device, target, 'ext4', flags, options.discard === false ? 'noinit_itable' : 'noinit_itable,discard');
  } finally {
    closeSync(descriptor);
  }
}
