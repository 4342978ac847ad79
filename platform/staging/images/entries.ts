/** Tar entries of files that are ours: fixed owner and time, in the order in which they are given. */
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { TarInput } from '#lib/tar/write.ts';
import { CREATED_SECONDS } from './oci.ts';

const none = { uid: 0, gid: 0, sizeBytes: 0, mtimeSeconds: CREATED_SECONDS };

export function fileEntry(name: string, content: string | Uint8Array, mode = 0o644): TarInput {
  const data = typeof content === 'string' ? Buffer.from(content) : content;
  return { ...none, name, type: 'file', mode, sizeBytes: data.byteLength, data };
}

export function directoryEntry(name: string, owner = 0): TarInput {
  return { ...none, name, type: 'directory', mode: 0o755, uid: owner, gid: owner };
}

export function linkEntry(name: string, target: string): TarInput {
  return { ...none, name, type: 'symlink', mode: 0o777, linkName: target };
}

/** A file or a tree from our own disk, sorted; executables stay executable. */
export async function* treeEntries(
  source: string,
  target: string,
  include: (name: string) => boolean = () => true,
): AsyncGenerator<TarInput> {
  const stat = await lstat(source);
  if (stat.isSymbolicLink()) yield linkEntry(target, await readlink(source));
  else if (stat.isDirectory()) {
    yield directoryEntry(target);
    for (const name of (await readdir(source)).sort()) {
      if (include(name)) yield* treeEntries(join(source, name), `${target}/${name}`, include);
    }
  } else {
    const mode = (stat.mode & 0o111) === 0 ? 0o644 : 0o755;
    yield { ...none, name: target, type: 'file', mode, sizeBytes: stat.size, data: createReadStream(source) };
  }
}
