/**
 * Keeps the disk between two watermarks, as the kubelet does: above the high one, steps of earlier builds go, and then
 * images that no container has, the one that was longest not used first, until the low one is reached.
 *
 * Never goes: an image that a container has, running or not; one that was used (pulled, tagged, pushed, run, built)
 * within the grace period; what is in the registry's repositories; content that is younger than the grace period, so
 * that a push or pull under way loses nothing.
 *
 * Looks when a blob was written, when something of the engine changed, and once a minute: each look is one statfs(2).
 */
import { type FSWatcher, watch } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError, type Image } from '../engine.ts';
import type { DiskWatermarks, EngineOptions } from '../options.ts';
import type { NodeImages } from './open.ts';
import { BUILD_CACHE_SCOPE } from './scopes.ts';
import { imageUsage } from './usage.ts';

export const defaultWatermarks: Required<DiskWatermarks> = {
  highPercent: 85,
  lowPercent: 80,
  graceMilliseconds: 60 * 60 * 1000,
};

const restMilliseconds = 1000;
const periodMilliseconds = 60_000;

export interface WatermarkOptions extends DiskWatermarks {
  images: NodeImages;
  /** Manifest digests of images that containers are made from. */
  inUse: () => Iterable<string>;
  log: NonNullable<EngineOptions['log']>;
}

export class Watermarks {
  readonly #options: WatermarkOptions & Required<DiskWatermarks>;
  readonly #watcher: FSWatcher;
  readonly #period: NodeJS.Timeout;
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();
  /** So that a disk which nothing of ours fills is told of once. */
  #told = false;
  #closed = false;

  constructor(options: WatermarkOptions) {
    this.#options = { ...defaultWatermarks, ...options };
    const { highPercent, lowPercent } = this.#options;
    if (!(lowPercent > 0 && lowPercent <= highPercent && highPercent <= 100))
      throw new EngineError(
        'invalid',
        `diskWatermarks: ${lowPercent} to ${highPercent} are no two percentages, the low one at most the high one`,
      );
    this.#watcher = watch(join(options.images.content.directory, 'blobs', 'sha256'), () => this.wake());
    this.#watcher.on('error', () => {});
    this.#watcher.unref();
    this.#period = setInterval(() => this.wake(), periodMilliseconds);
    this.#period.unref();
  }

  /** Looks soon; calls until then are the same look. */
  wake(): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.look();
    }, restMilliseconds);
    this.#timer.unref();
  }

  /** Looks now, after a look that is under way. */
  async look(): Promise<void> {
    this.#work = this.#work
      .then(() => this.#look())
      .catch((error: unknown) => {
        this.#options.log('error', 'cannot free disk space', { error: String(error) });
      });
    await this.#work;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#period);
    this.#watcher.close();
    await this.#work;
  }

  async #look(): Promise<void> {
    const { images, highPercent, lowPercent, graceMilliseconds, log } = this.#options;
    const before = await this.#space();
    if (before.percent < highPercent) {
      this.#told = false;
      return;
    }
    await images.collect({ graceMilliseconds });
    if ((await this.#space()).percent > lowPercent) {
      await this.#forgetSteps();
      await images.collect({ graceMilliseconds });
    }
    const removed: string[] = [];
    for (let space = await this.#space(); space.percent > lowPercent && !this.#closed; space = await this.#space()) {
      const batch = this.#oldest(space.used - (space.total * lowPercent) / 100);
      for (const image of batch) if (this.#isFree(image)) removed.push(...(await this.#remove(image)));
      if (batch.length === 0) break;
      await images.collect({ graceMilliseconds });
    }
    const after = await this.#space();
    const fields = { before: `${before.percent} %`, after: `${after.percent} %`, removed };
    if (after.percent < highPercent) log('info', 'freed disk space by removing images', fields);
    else if (!this.#told || removed.length > 0) {
      this.#told = true;
      log('warn', 'the disk is above its high watermark, and no image can be removed: free some space', fields);
    }
  }

  /** What builds remember goes before any image: it is made again. */
  async #forgetSteps(): Promise<void> {
    const { images, graceMilliseconds } = this.#options;
    const before = Date.now() - graceMilliseconds;
    for (const { name, digest } of images.content.names(BUILD_CACHE_SCOPE)) {
      const image = images.get(digest);
      if (image === undefined || images.lastUsedAt(image) < before)
        await images.content.setName(BUILD_CACHE_SCOPE, name, undefined);
    }
  }

  /** As many of those that may go as would free so much, the one first that was longest not used. */
  #oldest(bytes: number): Image[] {
    const { images } = this.#options;
    const free = imageUsage(images.list(), (image) => images.layerSizes(image))
      .filter(({ image }) => this.#isFree(image))
      .sort((left, right) => images.lastUsedAt(left.image) - images.lastUsedAt(right.image));
    const batch: Image[] = [];
    let sum = 0;
    for (const { image, uniqueBytes } of free) {
      if (sum >= bytes) break;
      batch.push(image);
      sum += uniqueBytes;
    }
    return batch;
  }

  #isFree(image: Image): boolean {
    const { images, inUse, graceMilliseconds } = this.#options;
    if (images.lastUsedAt(image) > Date.now() - graceMilliseconds) return false;
    return ![...inUse()].includes(image.digest);
  }

  async #remove(image: Image): Promise<string[]> {
    const names = image.references.length > 0 ? [...image.references] : [image.digest];
    try {
      await this.#options.images.remove(image.digest);
      return names;
    } catch (error) {
      // Somebody made a container of it meanwhile.
      if (error instanceof EngineError && error.code === 'conflict') return [];
      throw error;
    }
  }

  /** As df(1): what only root may take counts as used. */
  async #space(): Promise<{ used: number; total: number; percent: number }> {
    const { blocks, bavail, bsize } = await statfs(this.#options.images.content.directory);
    const total = blocks * bsize;
    const used = total - bavail * bsize;
    return { used, total, percent: total === 0 ? 0 : Math.round((used / total) * 1000) / 10 };
  }
}
