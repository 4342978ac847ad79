/**
 * Makes a layer of what a build left. The tar stream comes out of a container that may do what it likes, so each entry
 * is judged by its header: only files, directories, symbolic links and hard links to files of the same layer are taken,
 * all below one directory; owner, time and setuid bits are ours to set. A symbolic link may point anywhere, as it is
 * resolved in the app's own container; it is never followed here, and nothing may lie below it.
 */
import { readTar } from '#lib/tar/read.ts';
import { safeName } from '#lib/tar/names.ts';
import { TarError } from '#lib/tar/tar.ts';
import type { TarInput } from '#lib/tar/write.ts';
import { fileTime, TIMED_PREFIX } from '../images/file-time.ts';
import { CREATED_SECONDS } from '../images/oci.ts';
import { StagingError } from '../staging.ts';

export interface LayerLimits {
  bytes: number;
  entries: number;
}

const owner = { uid: 1000, gid: 1000, mtimeSeconds: CREATED_SECONDS };

/**
 * @param prefix  where the entries must lie, `workspace` or `layers/<buildpack>/<layer>`: written as directories first
 * @throws StagingError `build-failed` that names the entry
 */
export async function* hostileLayer(
  stream: AsyncIterable<Uint8Array>,
  prefix: string,
  limits: LayerLimits,
): AsyncGenerator<TarInput> {
  const seen = new Map<string, TarInput['type']>();
  const parts = prefix.split('/');
  for (let depth = 1; depth <= parts.length; depth += 1) {
    const name = parts.slice(0, depth).join('/');
    seen.set(name, 'directory');
    yield { ...owner, name, type: 'directory', mode: 0o755, sizeBytes: 0 };
  }
  let bytes = 0;
  try {
    for await (const entry of readTar(stream, { encoding: 'latin1', maxEntries: limits.entries })) {
      const name = nameBelow(safeName(entry.name), prefix);
      if (name === undefined) continue;
      const shown = JSON.stringify(Buffer.from(name, 'latin1').toString('utf8'));
      const fail = (why: string) => new StagingError('build-failed', `the build left ${shown}, ${why}`);
      if (name.split('/').some((part) => part.startsWith('.wh.'))) throw fail('a name that image layers reserve');
      if (entry.sparse !== undefined) throw fail('a sparse file that the archive does not spell out');
      if (seen.has(name)) throw fail('twice');
      if (seen.get(name.slice(0, name.lastIndexOf('/'))) !== 'directory') throw fail('whose directory is not there');
      bytes += entry.sizeBytes;
      if (bytes > limits.bytes)
        throw new StagingError('disk-full', `the build left more than ${limits.bytes} bytes in ${prefix}`);
      if (entry.type === 'file') {
        seen.set(name, 'file');
        yield* timedFile(
          { ...owner, name, type: 'file', mode: entry.mode & 0o777, sizeBytes: entry.sizeBytes },
          entry.data(),
        );
      } else if (entry.type === 'directory') {
        seen.set(name, 'directory');
        yield { ...owner, name, type: 'directory', mode: entry.mode & 0o777, sizeBytes: 0 };
      } else if (entry.type === 'symlink') {
        const linkName = entry.linkName ?? '';
        if (linkName === '' || linkName.length > 4095) throw fail('a link without a usable target');
        seen.set(name, 'symlink');
        yield { ...owner, name, type: 'symlink', mode: 0o777, sizeBytes: 0, linkName };
      } else if (entry.type === 'hard-link') {
        const linkName = nameBelow(safeName(entry.linkName ?? ''), prefix);
        if (linkName === undefined || seen.get(linkName) !== 'file') throw fail('a hard link to no file of the layer');
        seen.set(name, 'file');
        yield { ...owner, name, type: 'hard-link', mode: entry.mode & 0o777, sizeBytes: 0, linkName };
      } else if (entry.type !== 'fifo') {
        throw fail(`a ${entry.type}: only files, directories and links can be in an app`);
      }
    }
  } catch (error) {
    if (!(error instanceof TarError)) throw error;
    throw new StagingError('build-failed', `read ${prefix} from the build: ${error.message}`, { cause: error });
  }
}

/** Undefined for the prefix itself and for the directories above it; anything beside it is refused. */
function nameBelow(name: string, prefix: string): string | undefined {
  if (name.startsWith(`${prefix}/`)) return name;
  if (name === prefix || name === '' || prefix.startsWith(`${name}/`)) return undefined;
  throw new StagingError('build-failed', `the build left ${JSON.stringify(name)} outside ${prefix}`);
}

/** The time stands before the data, so a file's beginning is held until it is known. */
async function* timedFile(header: TarInput, data: AsyncIterable<Buffer>): AsyncGenerator<TarInput> {
  const iterator = data[Symbol.asyncIterator]();
  const held: Buffer[] = [];
  let length = 0;
  while (length < TIMED_PREFIX) {
    const next = await iterator.next();
    if (next.done === true) break;
    held.push(next.value);
    length += next.value.length;
  }
  const prefix = held.length === 1 && held[0] !== undefined ? held[0] : Buffer.concat(held);
  async function* whole(): AsyncGenerator<Buffer> {
    if (prefix.length > 0) yield prefix;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
  }
  yield { ...header, mtimeSeconds: fileTime(prefix, header.sizeBytes), data: whole() };
}
