/** The content store as it lies on disk, read without opening it: opening removes what a killed writer left. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ASIDE_PREFIX } from '#lib/atomic-file.ts';
import { parseDigest } from '#lib/digest.ts';
import { isLost, readLayerRecord } from '../images/layers.ts';
import { type Descriptor, LARGEST_MANIFEST, parseImageConfig, parseManifest } from '../images/manifest.ts';
import { parseNameRecord } from '../images/names.ts';
import {
  DANGLING_SCOPE,
  IMAGES_SCOPE,
  keepsContent,
  repositoryOfManifests,
  repositoryOfMirrored,
} from '../images/scopes.ts';
import { type BlobFile, sizeOf } from './digests.ts';
import type { FsckProblem } from './fsck.ts';

export interface NameFile {
  path: string;
  scope: string;
  name: string;
  digest: string;
}

export interface ImageLayer {
  /** Hex digits of the diff id. */
  hex: string;
  manifest: string;
}

const names = (directory: string): string[] => (existsSync(directory) ? readdirSync(directory) : []);

export function listBlobs(content: string): { blobs: BlobFile[]; stray: string[] } {
  const blobs: BlobFile[] = [];
  const stray: string[] = [];
  for (const algorithm of names(join(content, 'blobs'))) {
    for (const hex of names(join(content, 'blobs', algorithm))) {
      const path = join(content, 'blobs', algorithm, hex);
      const digest = `${algorithm}:${hex}`;
      if (parseDigest(digest) === undefined) stray.push(path);
      else blobs.push({ digest, path, algorithm, hex });
    }
  }
  return { blobs, stray };
}

/** Every name, and the files that are none. */
export function listNames(content: string): { whole: NameFile[]; torn: string[] } {
  const whole: NameFile[] = [];
  const torn: string[] = [];
  for (const scope of names(join(content, 'names'))) {
    for (const file of names(join(content, 'names', scope))) {
      if (file.startsWith(ASIDE_PREFIX)) continue;
      const path = join(content, 'names', scope, file);
      const record = parseNameRecord(readFileSync(path, 'utf8'));
      if (record === undefined) torn.push(path);
      else whole.push({ path, ...record });
    }
  }
  return { whole, torn };
}

/** Follows names to what they need. */
export class References {
  readonly #content: string;
  readonly #bad: ReadonlySet<string>;
  /** By manifest digest: what is wrong with it, the empty string where nothing is. */
  readonly #judged = new Map<string, string>();

  /** Of other registries: blobs of theirs may be missing, they are fetched when they are asked for. */
  readonly #mirrored = new Set<string>();

  /** @param bad  digests of blobs that are not what they say */
  constructor(content: string, bad: Iterable<string>, names: readonly NameFile[]) {
    this.#content = content;
    this.#bad = new Set(bad);
    for (const { scope, digest } of names) {
      const repository = repositoryOfMirrored(scope);
      if (repository !== undefined) this.#mirrored.add(`${repository} ${digest}`);
    }
  }

  /** What the name lacks; undefined where it is whole. */
  lack({ scope, digest }: NameFile): string | undefined {
    const isMirrored = this.#mirrored.has(`${repositoryOfManifests(scope) ?? scope} ${digest}`);
    if (!keepsContent(scope) || isMirrored) return this.#missing({ digest });
    const isImage = scope === IMAGES_SCOPE || scope === DANGLING_SCOPE;
    return this.#manifest(digest, isImage) || undefined;
  }

  /** The layers that images need unpacked. */
  imageLayers(images: readonly NameFile[]): ImageLayer[] {
    const found = new Map<string, ImageLayer>();
    for (const { digest } of images) {
      const manifest = parseManifest(this.#read(digest));
      if (manifest.kind !== 'manifest') continue;
      for (const id of parseImageConfig(this.#read(manifest.config.digest)).config.layers) {
        const hex = parseDigest(id)?.hex ?? '';
        found.set(hex, { hex, manifest: digest });
      }
    }
    return [...found.values()];
  }

  #manifest(digest: string, isImage: boolean): string {
    const key = `${digest} ${isImage}`;
    const known = this.#judged.get(key);
    if (known !== undefined) return known;
    // An index that names itself would go round.
    this.#judged.set(key, '');
    const lack = this.#judge(digest, isImage);
    this.#judged.set(key, lack);
    return lack;
  }

  #judge(digest: string, isImage: boolean): string {
    const missing = this.#missing({ digest });
    if (missing !== undefined) return `manifest ${missing}`;
    if ((sizeOf(this.#path(digest)) ?? 0) > LARGEST_MANIFEST) return isImage ? `manifest ${digest} is too large` : '';
    try {
      const manifest = parseManifest(this.#read(digest));
      // An index may name images of other platforms that were never here.
      if (manifest.kind !== 'manifest') return isImage ? `${digest} is an index, not an image` : '';
      const parts = [manifest.config, ...manifest.layers].map((part) => this.#missing(part));
      const lack = parts.find((part) => part !== undefined);
      if (lack !== undefined) return lack;
      if (isImage) parseImageConfig(this.#read(manifest.config.digest));
      return '';
    } catch (error) {
      // The registry keeps manifests of kinds that the engine does not know.
      return isImage
        ? `manifest ${digest} cannot be read: ${error instanceof Error ? error.message : String(error)}`
        : '';
    }
  }

  #missing({ digest, size }: Pick<Descriptor, 'digest'> & { size?: number }): string | undefined {
    const actual = sizeOf(this.#path(digest));
    if (actual === undefined) return `${digest} is not here`;
    if (this.#bad.has(digest)) return `${digest} is damaged`;
    return size === undefined || size === actual ? undefined : `${digest} has ${actual} bytes, not ${size}`;
  }

  #read(digest: string): Buffer {
    return readFileSync(this.#path(digest));
  }

  #path(digest: string): string {
    const { algorithm = 'none', hex = 'none' } = parseDigest(digest) ?? {};
    return join(this.#content, 'blobs', algorithm, hex);
  }
}

/** Unpacked layers: those that are whole, and what is wrong with the others. */
export function listLayers(content: string): { whole: Set<string>; problems: (FsckProblem & { path: string })[] } {
  const whole = new Set<string>();
  const problems: (FsckProblem & { path: string })[] = [];
  for (const hex of names(join(content, 'layers'))) {
    if (hex.startsWith(ASIDE_PREFIX)) continue;
    const path = join(content, 'layers', hex);
    const bad = (kind: 'stray' | 'layer', detail: string): unknown =>
      problems.push({ kind, what: `layers/${hex}`, detail, path });
    if (!/^[0-9a-f]{64}$/.test(hex)) bad('stray', 'it is no unpacked layer');
    else if (!existsSync(join(path, 'fs'))) bad('layer', 'its files are not there');
    else {
      const record = readLayerRecord(join(path, 'layer.json'));
      if (record?.diffId !== `sha256:${hex}`) bad('layer', 'its record layer.json is torn');
      else if (isLost(record)) bad('layer', 'the machine was booted before it was written out');
      else whole.add(hex);
    }
  }
  return { whole, problems };
}
