/**
 * What a layer's archive may do to the directory that it is unpacked into, decided before anything is written.
 *
 * The directory starts empty and is ours alone, so a model of it in memory is exact: every name is resolved against
 * the symbolic links of this layer as if the directory were the root of the world, and goes on to the extractor only
 * as a path without links. And the extractor makes the symbolic links last of all, when nothing is written any more:
 * even a mistake here could not lead a write through one.
 *
 * Whiteouts (image-spec layer.md, "Whiteouts") become what overlayfs understands: `.wh.NAME` a character device 0/0
 * in the place of NAME, `.wh..wh..opq` the attribute `trusted.overlay.opaque` on its directory. They speak of lower
 * layers only: what this layer itself brings stays.
 */
import { safeName } from '#lib/tar/names.ts';
import { TarError, type TarHeader } from '#lib/tar/tar.ts';

const OPAQUE = new Map([['trusted.overlay.opaque', Buffer.from('y')]]);
/** As the kernel counts them on one path. */
const MOST_LINKS = 40;
/** They are held in memory until the end. */
const MOST_SYMLINKS = 300_000;
/** Kept from an archive; all others could speak to overlayfs or to the kernel's security modules in our name. */
const KEPT_XATTRS = /^user\.(?!overlay\.)|^security\.capability$/;

type Node =
  | { type: 'directory'; header?: TarHeader }
  | { type: 'symlink'; target: string }
  | { type: 'other' }
  | { type: 'whiteout' };

export class LayerEntries {
  readonly #nodes = new Map<string, Node>();
  /** Directories that an entry needs in the place of a whiteout, which the archive does not bring itself. */
  #implied: TarHeader[] = [];
  readonly #links = new Map<string, TarHeader>();

  /**
   * What to hand to the extractor for this entry; the entry's data belong to the last header when `data` is true.
   * Names are bytes (`latin1`). @throws TarError where the entry would leave the directory or cannot be made
   */
  accept(entry: TarHeader): { headers: TarHeader[]; data: boolean } {
    this.#implied = [];
    const { headers, data } = this.#decide(entry);
    return { headers: [...this.#implied, ...headers], data };
  }

  /** The symbolic links, to be made when everything else is there. */
  links(): Iterable<TarHeader> {
    return this.#links.values();
  }

  #decide(entry: TarHeader): { headers: TarHeader[]; data: boolean } {
    const path = this.#resolveParent(safeName(entry.name));
    const base = path.slice(path.lastIndexOf('/') + 1);
    if (base === '.wh..wh..opq') return { headers: this.#opaque(parentOf(path)), data: false };
    // Metadata of AUFS, which nothing reads any more.
    if (base.startsWith('.wh..wh.')) return { headers: [], data: false };
    if (base.startsWith('.wh.')) return { headers: this.#whiteout(path, base), data: false };
    return { headers: this.#place(path, entry), data: true };
  }

  #place(path: string, entry: TarHeader): TarHeader[] {
    const before = this.#nodes.get(path);
    const header: TarHeader = { ...entry, name: path === '' ? '.' : path };
    delete header.xattrs;
    const kept = [...(entry.xattrs ?? [])].filter(([name]) => KEPT_XATTRS.test(name));
    if (kept.length > 0) header.xattrs = new Map(kept);
    if (entry.type === 'directory') {
      this.#links.delete(path);
      this.#nodes.set(path, { type: 'directory', header });
      return before?.type === 'whiteout' ? [withOpaque(header)] : [header];
    }
    if (path === '') throw new TarError(`the layer's root is a ${entry.type}, not a directory`);
    if (before?.type === 'directory') {
      throw new TarError(`entry ${JSON.stringify(entry.name)} is a ${entry.type} where the same layer has a directory`);
    }
    if (entry.type === 'hard-link') {
      const target = this.#resolveParent(safeName(entry.linkName ?? ''));
      const node = this.#nodes.get(target);
      // A target that lies in a layer below is none: this layer is unpacked once for every image that has it, whatever
      // lies below it there, and there is no one file to link to.
      if (node === undefined || node.type === 'directory' || node.type === 'whiteout' || target === path) {
        throw new TarError(
          `hard link ${JSON.stringify(entry.name)} to ${JSON.stringify(entry.linkName)}: the layer has no such file`,
        );
      }
      this.#nodes.set(path, node);
      const link = this.#links.get(target);
      if (link !== undefined) {
        // A second name of a link, which is not made yet, is a link of its own.
        this.#links.set(path, { ...link, name: path });
        return [];
      }
      header.linkName = target;
    } else if (entry.type === 'symlink') {
      const target = entry.linkName ?? '';
      if (target === '' || target.length > 4095 || target.includes('\0')) {
        throw new TarError(`symbolic link ${JSON.stringify(entry.name)} has no usable target`);
      }
      if (this.#links.size >= MOST_SYMLINKS) throw new TarError(`more than ${MOST_SYMLINKS} symbolic links`);
      this.#links.set(path, header);
      this.#nodes.set(path, { type: 'symlink', target });
      return [];
    } else {
      this.#nodes.set(path, { type: 'other' });
    }
    this.#links.delete(path);
    return [header];
  }

  #whiteout(path: string, base: string): TarHeader[] {
    const hidden = base.slice('.wh.'.length);
    if (hidden === '' || hidden === '.' || hidden === '..')
      throw new TarError(`whiteout ${JSON.stringify(base)} names nothing`);
    const parent = parentOf(path);
    const target = parent === '' ? hidden : `${parent}/${hidden}`;
    const node = this.#nodes.get(target);
    if (node?.type === 'directory') return this.#opaque(target);
    if (node !== undefined) return [];
    this.#nodes.set(target, { type: 'whiteout' });
    return [{ ...plain(target), type: 'character-device', mode: 0, deviceMajor: 0, deviceMinor: 0 }];
  }

  #opaque(path: string): TarHeader[] {
    const node = this.#nodes.get(path);
    const header = node?.type === 'directory' ? node.header : undefined;
    const opaque = withOpaque(header ?? { ...plain(path === '' ? '.' : path), type: 'directory', mode: 0o755 });
    // Seen again, the directory's own entry must not lose the mark.
    this.#nodes.set(path, { type: 'directory', header: opaque });
    return [opaque];
  }

  /** The path with every link in its directories followed, inside the layer; its last component is left as it is. */
  #resolveParent(path: string): string {
    const pending = path.split('/');
    const last = pending.pop() ?? '';
    let at = '';
    let links = 0;
    let next = pending.shift();
    while (next !== undefined) {
      if (next === '..') {
        at = parentOf(at);
      } else if (next !== '' && next !== '.') {
        const child = at === '' ? next : `${at}/${next}`;
        const node = this.#nodes.get(child);
        if (node?.type === 'symlink') {
          links += 1;
          if (links > MOST_LINKS)
            throw new TarError(`entry ${JSON.stringify(path)} goes through more than ${MOST_LINKS} symbolic links`);
          if (node.target.startsWith('/')) at = '';
          pending.unshift(...node.target.split('/'));
          if (pending.length > 4096)
            throw new TarError(`entry ${JSON.stringify(path)} goes through links that are too long`);
        } else if (node?.type === 'other') {
          throw new TarError(
            `entry ${JSON.stringify(path)} lies below ${JSON.stringify(child)}, which is no directory`,
          );
        } else {
          if (node?.type === 'whiteout') this.#implied.push(...this.#opaque(child));
          else if (node === undefined) this.#nodes.set(child, { type: 'directory' });
          at = child;
        }
      }
      next = pending.shift();
    }
    if (last === '') return at;
    const resolved = at === '' ? last : `${at}/${last}`;
    if (resolved.length > 4096)
      throw new TarError(`entry ${JSON.stringify(path)}: its path is too long once its links are followed`);
    return resolved;
  }
}

function withOpaque(header: TarHeader): TarHeader {
  return { ...header, xattrs: new Map([...(header.xattrs ?? []), ...OPAQUE]) };
}

function plain(name: string): Omit<TarHeader, 'type' | 'mode'> {
  return { name, uid: 0, gid: 0, sizeBytes: 0, mtimeSeconds: 0 };
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0));
}
