/**
 * The unpacked layers of a node: `layers/<hex of the diff id>/` with `fs/` (the files) and `layer.json` (their size).
 * A layer is there whole or not at all: unpacked aside, synced with the whole file system, renamed.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { ASIDE_PREFIX, syncDirectory } from '#lib/atomic-file.ts';
import { coalesced } from '#lib/coalesced.ts';
import { parseDigest } from '#lib/digest.ts';
import { SingleFlight } from '#lib/single-flight.ts';
import { EngineError } from '../engine.ts';
import { touchPath } from './content.ts';
import type { ContentStore } from './store.ts';
import { type UnpackLimits, unpackLayer } from './unpack.ts';

export class Layers {
  readonly #content: ContentStore;
  readonly #directory: string;
  readonly #limits: Partial<UnpackLimits>;
  readonly #flights = new SingleFlight<void>();
  readonly #sizes = new Map<string, number>();
  readonly #sync: () => Promise<void>;

  constructor(content: ContentStore, limits: Partial<UnpackLimits> = {}) {
    this.#content = content;
    this.#directory = join(content.directory, 'layers');
    this.#limits = limits;
    this.#sync = coalesced(() => syncFileSystem(this.#directory));
  }

  /** The directory with the layer's files; undefined while it is not unpacked. Its age starts anew. */
  directory(diffId: string): string | undefined {
    const path = this.#path(diffId);
    return touchPath(path) ? join(path, 'fs') : undefined;
  }

  sizeBytes(diffId: string): number {
    const known = this.#sizes.get(diffId);
    if (known !== undefined) return known;
    const file = join(this.#path(diffId), 'layer.json');
    if (!existsSync(file)) return 0;
    const { sizeBytes } = JSON.parse(readFileSync(file, 'utf8')) as { sizeBytes: number };
    this.#sizes.set(diffId, sizeBytes);
    return sizeBytes;
  }

  /** Unpacks the blob unless that was done; at the same time for several images it is done once. */
  async ensure(blob: string, diffId: string, signal?: AbortSignal): Promise<void> {
    if (this.directory(diffId) !== undefined) return;
    await this.#flights.run(diffId, signal, (shared) => this.#unpack(blob, diffId, shared));
  }

  async #unpack(blob: string, diffId: string, signal: AbortSignal): Promise<void> {
    const aside = join(this.#directory, `${ASIDE_PREFIX}${randomBytes(8).toString('hex')}`);
    const directory = join(aside, 'fs');
    const info = await this.#content.stat(blob);
    if (info === undefined)
      throw new EngineError('not-found', `layer ${blob} is not in the content store; pull the image again`);
    let source: Readable | undefined;
    try {
      await mkdir(directory, { recursive: true, mode: 0o755 });
      source = await this.#content.read(blob);
      const { sizeBytes } = await unpackLayer({
        source,
        sourceBytes: info.sizeBytes,
        directory,
        diffId,
        limits: this.#limits,
        signal,
      });
      await writeFile(join(aside, 'layer.json'), JSON.stringify({ diffId, blob, sizeBytes }));
      await this.#sync();
      signal.throwIfAborted();
      await rename(aside, this.#path(diffId));
      touchPath(this.#path(diffId));
      await syncDirectory(this.#directory);
    } catch (error) {
      await rm(aside, { recursive: true, force: true });
      throw error;
    } finally {
      source?.destroy();
    }
  }

  #path(diffId: string): string {
    const parsed = parseDigest(diffId);
    if (parsed?.algorithm !== 'sha256') {
      throw new EngineError('invalid', `diff id ${JSON.stringify(diffId)} is not sha256:<64 hex digits>`);
    }
    return join(this.#directory, parsed.hex);
  }
}

/** One file system's dirty pages, by coreutils' `sync -f` (syncfs); Node has no call for it. */
async function syncFileSystem(directory: string): Promise<void> {
  await promisify(execFile)('sync', ['-f', directory]);
}
