/**
 * Named volumes: `<data>/engine/volumes/<name>/` with `_data` (the files) and `volume.json`, which is written last: a
 * directory without it is half made or half removed, and goes when the engine starts.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ASIDE_PREFIX, writeFileAtomic } from '#lib/atomic-file.ts';
import { MountFlag, mount, mounts, unmountBelow } from '../sys/mounts.ts';
import { allowedSource } from './bind-sources.ts';
import { DockerError } from './errors.ts';
import { readVolumeOptions } from './volume-options.ts';

export interface Volume {
  name: string;
  /** Of the files; a directory of its own, whatever the options. */
  directory: string;
  labels: Record<string, string>;
  /** The driver's, as they were given. */
  options: Record<string, string>;
  createdAt: number;
  /** Made for one container, under a name that was drawn. */
  anonymous: boolean;
  /** Its container was removed without it: it stays until somebody removes it. */
  kept?: boolean;
}

export interface VolumeWish {
  /** Empty: one is drawn. */
  name: string;
  labels: Record<string, string>;
  options?: Record<string, string>;
  anonymous: boolean;
}

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;
/** As Docker marks those that prune takes. */
export const ANONYMOUS_LABEL = 'com.docker.volume.anonymous';

export class Volumes {
  readonly #root: string;
  readonly #volumes = new Map<string, Volume>();
  readonly #creating = new Map<string, Promise<Volume>>();

  constructor(root: string) {
    this.#root = root;
    mkdirSync(root, { recursive: true, mode: 0o711 });
    chmodSync(root, 0o711);
  }

  /** @param used  anonymous ones that nobody has go: their container was never made, or was removed with them */
  async open(used: ReadonlySet<string>): Promise<void> {
    for (const name of readdirSync(this.#root)) {
      const file = join(this.#root, name, 'volume.json');
      const record = existsSync(file)
        ? (JSON.parse(readFileSync(file, 'utf8')) as Omit<Volume, 'directory'>)
        : undefined;
      if (record === undefined || (record.anonymous && record.kept !== true && !used.has(name))) {
        await this.#removeFiles(name);
        continue;
      }
      for (const aside of readdirSync(join(this.#root, name)).filter((one) => one.startsWith(ASIDE_PREFIX)))
        await rm(join(this.#root, name, aside), { force: true });
      this.#volumes.set(name, { ...record, options: record.options ?? {}, directory: this.#directory(name) });
    }
  }

  list(): Volume[] {
    return [...this.#volumes.values()].sort((left, right) => (left.name < right.name ? -1 : 1));
  }

  get(name: string): Volume | undefined {
    return this.#volumes.get(name);
  }

  /** The one that is there, or a new one. */
  async create(wish: VolumeWish): Promise<Volume> {
    const name = wish.name || randomBytes(32).toString('hex');
    if (!NAME.test(name)) {
      throw new DockerError(
        400,
        `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
      );
    }
    const known = this.#volumes.get(name) ?? this.#creating.get(name);
    if (known !== undefined) return await known;
    const creating = this.#create(name, wish).finally(() => this.#creating.delete(name));
    this.#creating.set(name, creating);
    return await creating;
  }

  async #create(name: string, { labels, options = {}, anonymous }: VolumeWish): Promise<Volume> {
    readVolumeOptions(options);
    const volume: Volume = {
      name,
      labels,
      options,
      anonymous,
      directory: this.#directory(name),
      createdAt: Date.now(),
    };
    mkdirSync(volume.directory, { recursive: true, mode: 0o755 });
    await this.#write(volume);
    this.#volumes.set(name, volume);
    return volume;
  }

  /**
   * What a container mounts: the directory, with its file system where it has one of its own.
   * @throws DockerError 403 where it is a directory of the host that may not be mounted (any more)
   */
  async source(volume: Volume, allowed: readonly string[]): Promise<{ source: string; recursive: boolean }> {
    const what = readVolumeOptions(volume.options);
    if (what?.kind === 'bind') return { source: await allowedSource(what.source, allowed), recursive: true };
    // It stays mounted until the volume is removed, or the machine is booted.
    if (what?.kind === 'tmpfs' && !mounts().some(({ target }) => target === volume.directory))
      mount('tmpfs', volume.directory, 'tmpfs', MountFlag.noSuid | MountFlag.noDev, what.data);
    return { source: volume.directory, recursive: false };
  }

  /** Its container goes, and it stays. Nothing where it is not anonymous. */
  async keep(name: string): Promise<void> {
    const volume = this.#volumes.get(name);
    if (volume?.anonymous !== true || volume.kept === true) return;
    volume.kept = true;
    await this.#write(volume);
  }

  /** Whether anybody uses it is the caller's to know. */
  async remove(name: string): Promise<void> {
    if (this.#volumes.delete(name)) await this.#removeFiles(name);
  }

  async #removeFiles(name: string): Promise<void> {
    const directory = join(this.#root, name);
    await rm(join(directory, 'volume.json'), { force: true });
    unmountBelow(directory);
    await rm(directory, { recursive: true, force: true });
  }

  async #write({ directory: _directory, ...record }: Volume): Promise<void> {
    await writeFileAtomic(join(this.#root, record.name, 'volume.json'), JSON.stringify(record));
  }

  #directory(name: string): string {
    return join(this.#root, name, '_data');
  }
}
