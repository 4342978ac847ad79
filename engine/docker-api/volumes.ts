/**
 * Named volumes: `<data>/engine/volumes/<name>/` with `_data` (the files) and `volume.json`, which is written last: a
 * directory without it is half made or half removed, and goes when the engine starts.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { DockerError } from './errors.ts';

export interface Volume {
  name: string;
  directory: string;
  labels: Record<string, string>;
  createdAt: number;
  anonymous: boolean;
}

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;

export class Volumes {
  readonly #root: string;
  readonly #volumes = new Map<string, Volume>();

  constructor(root: string) {
    this.#root = root;
    mkdirSync(root, { recursive: true, mode: 0o711 });
    chmodSync(root, 0o711);
  }

  /** @param used  anonymous ones that nobody has go: their container was never made, or is gone */
  async open(used: ReadonlySet<string>): Promise<void> {
    for (const name of readdirSync(this.#root)) {
      const file = join(this.#root, name, 'volume.json');
      const volume = existsSync(file)
        ? (JSON.parse(readFileSync(file, 'utf8')) as Omit<Volume, 'directory'>)
        : undefined;
      if (volume === undefined || (volume.anonymous && !used.has(name))) {
        await rm(join(this.#root, name), { recursive: true, force: true });
      } else this.#volumes.set(name, { ...volume, directory: this.#directory(name) });
    }
  }

  list(): Volume[] {
    return [...this.#volumes.values()].sort((left, right) => (left.name < right.name ? -1 : 1));
  }

  get(name: string): Volume | undefined {
    return this.#volumes.get(name);
  }

  /** The one that is there, or a new one; without a name, one with a name that nobody has. */
  async create(wish: { name: string; labels: Record<string, string>; anonymous: boolean }): Promise<Volume> {
    const name = wish.name || randomBytes(32).toString('hex');
    if (!NAME.test(name)) {
      throw new DockerError(
        400,
        `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
      );
    }
    const known = this.#volumes.get(name);
    if (known !== undefined) return known;
    const volume: Volume = { ...wish, name, directory: this.#directory(name), createdAt: Date.now() };
    this.#volumes.set(name, volume);
    mkdirSync(volume.directory, { recursive: true, mode: 0o755 });
    const { directory: _directory, ...record } = volume;
    await writeFileAtomic(join(this.#root, name, 'volume.json'), JSON.stringify(record));
    return volume;
  }

  /** Whether anybody uses it is the caller's to know. */
  async remove(name: string): Promise<void> {
    if (!this.#volumes.delete(name)) return;
    const directory = join(this.#root, name);
    await rm(join(directory, 'volume.json'), { force: true });
    await rm(directory, { recursive: true, force: true });
  }

  /** @returns the path without links. @throws DockerError where it is not below an allowed directory */
  async checkBind(source: string, allowed: readonly string[]): Promise<string> {
    if (allowed.length === 0) {
      throw new DockerError(
        403,
        `bind mount of ${source} refused: directories of the host are not mounted; use a volume, or start the engine with --allow-bind DIRECTORY`,
      );
    }
    const real = await realpath(source).catch(() => undefined);
    if (real === undefined) {
      throw new DockerError(400, `invalid mount config for type "bind": bind source path does not exist: ${source}`);
    }
    for (const directory of allowed) {
      const root = await realpath(directory).catch(() => directory);
      if (real === root || real.startsWith(root === '/' ? '/' : `${root}/`)) return real;
    }
    throw new DockerError(
      403,
      `bind mount of ${source} refused: it is not below ${allowed.join(', ')}; start the engine with --allow-bind for another directory`,
    );
  }

  #directory(name: string): string {
    return join(this.#root, name, '_data');
  }
}
