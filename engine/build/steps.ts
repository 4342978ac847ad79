/** One step after the other: from an image and what is done to it to the next image, by the cache where it is known. */
import { digestOf } from '#lib/digest.ts';
import { EngineError, type Image } from '../engine.ts';
import type { WrittenLayer } from '../written.ts';
import { assembleImage, type RunConfig } from '../images/assemble.ts';
import { BUILD_CACHE_SCOPE } from '../images/scopes.ts';
import type { BuildSurroundings } from './build.ts';

/** That are remembered. */
const MOST_STEPS = 2000;

export interface Step {
  /** Undefined for an image from nothing. */
  parent: Image | undefined;
  config: RunConfig;
  /** For history, and for the cache. */
  createdBy: string;
  /** What else the result depends on. Several: any of them finds it, each is kept. */
  depends?: string[];
  /** Found out only where nothing above finds it: what costs. */
  dependsMore?: () => Promise<string>;
  layer?: () => Promise<WrittenLayer | undefined>;
}

export class Steps {
  readonly #surroundings: BuildSurroundings;
  readonly #useCache: boolean;
  readonly #scope: string | undefined;

  /** @param cache  `scope`: of a confined build, see `Confinement` */
  constructor(surroundings: BuildSurroundings, cache: { useCache: boolean; scope: string | undefined }) {
    this.#surroundings = surroundings;
    this.#useCache = cache.useCache;
    this.#scope = cache.scope;
  }

  /** @param author  of `MAINTAINER` */
  async take(step: Step, author?: string): Promise<Image> {
    const { engine, output } = this.#surroundings;
    const { content } = engine.images;
    const keys = [this.#keyOf(step, step.depends ?? [])];
    let known = await this.#find(keys);
    if (known === undefined && step.dependsMore !== undefined) {
      keys.push(this.#keyOf(step, [await step.dependsMore()]));
      known = await this.#find(keys.slice(-1));
    }
    if (known === undefined) {
      const layer = await step.layer?.();
      const digest = await assembleImage(content, {
        ...(step.parent === undefined ? {} : { base: step.parent.digest }),
        layer,
        config: step.config,
        createdBy: step.createdBy,
        createdAt: new Date(),
        ...(author === undefined ? {} : { author }),
      });
      // The name first: from then on nothing collects it.
      for (const key of keys) await content.setName(BUILD_CACHE_SCOPE, key, digest);
      known = await engine.images.stage(digest);
    } else {
      for (const key of keys) await content.setName(BUILD_CACHE_SCOPE, key, known.digest);
      output.text(' ---> Using cache\n');
    }
    output.text(` ---> ${shortId(known)}\n`);
    return known;
  }

  /** Those that were longest not used are forgotten: their content goes when it is collected. */
  async forgetOld(): Promise<void> {
    const { images } = this.#surroundings.engine;
    const names = images.content.names(BUILD_CACHE_SCOPE);
    if (names.length <= MOST_STEPS) return;
    const aged = names.map(({ name, digest }) => {
      const image = images.get(digest);
      return { name, at: image === undefined ? 0 : images.lastUsedAt(image) };
    });
    aged.sort((left, right) => left.at - right.at);
    for (const { name } of aged.slice(0, names.length - MOST_STEPS))
      await images.content.setName(BUILD_CACHE_SCOPE, name, undefined);
  }

  #keyOf(step: Step, depends: readonly string[]): string {
    const scope = this.#scope === undefined ? [] : [this.#scope];
    return digestOf(JSON.stringify([step.parent?.id ?? '', step.createdBy, step.config, depends, ...scope]));
  }

  async #find(keys: readonly string[]): Promise<Image | undefined> {
    if (!this.#useCache) return undefined;
    const { images } = this.#surroundings.engine;
    for (const key of keys) {
      const digest = images.content.getName(BUILD_CACHE_SCOPE, key);
      if (digest === undefined) continue;
      try {
        return await images.stage(digest);
      } catch (error) {
        // A part of it is gone: it is made again.
        if (!(error instanceof EngineError && (error.code === 'not-found' || error.code === 'invalid'))) throw error;
      }
    }
    return undefined;
  }
}

export function shortId(image: Image): string {
  return image.id.slice('sha256:'.length, 'sha256:'.length + 12);
}
