/**
 * The mark of mark and sweep: what names and pinned digests reach through indexes, manifests and configs.
 */
import { parseDigest } from '#lib/digest.ts';
import { DANGLING_SCOPE, IMAGES_SCOPE, keepsContent } from './scopes.ts';
import type { ContentStore } from './store.ts';

export interface Reached {
  blobs: Set<string>;
  /** Hex digits of the diff ids. */
  layers: Set<string>;
  /** Names that keep nothing; those whose blob has gone are to be dropped. */
  links: { scope: string; name: string }[];
}

const LARGEST_DOCUMENT = 4 * 1024 * 1024;

export async function collect(content: ContentStore, pinned: Iterable<string>): Promise<Reached> {
  const reached: Reached = { blobs: new Set(), layers: new Set(), links: [] };
  const images = [...pinned];
  const pending: string[] = [];
  for (const scope of content.scopes()) {
    for (const { name, digest } of content.names(scope)) {
      if (scope === IMAGES_SCOPE || scope === DANGLING_SCOPE) images.push(digest);
      else if (keepsContent(scope)) pending.push(digest);
      else reached.links.push({ scope, name });
    }
  }
  await follow(content, images, reached, true);
  await follow(content, pending, reached, false);
  return reached;
}

/** @param unpacked  only what the engine runs needs its layers unpacked; what the registry holds is unpacked when it is pulled */
async function follow(content: ContentStore, pending: string[], reached: Reached, unpacked: boolean): Promise<void> {
  for (let digest = pending.pop(); digest !== undefined; digest = pending.pop()) {
    if (reached.blobs.has(digest)) continue;
    reached.blobs.add(digest);
    const document = await readDocument(content, digest);
    if (document === undefined) continue;
    if (unpacked) for (const diffId of diffIds(document)) reached.layers.add(diffId);
    for (const child of descriptors(document, ['layers', 'blobs'])) reached.blobs.add(child);
    pending.push(...descriptors(document, ['manifests', 'config']));
  }
}

type Document = Record<string, unknown>;

/** The blob as a JSON object; undefined for anything else. */
async function readDocument(content: ContentStore, digest: string): Promise<Document | undefined> {
  const info = await content.stat(digest);
  if (info === undefined || info.sizeBytes > LARGEST_DOCUMENT) return undefined;
  const bytes = await content.readAll(digest);
  if (bytes[0] !== 0x7b) return undefined;
  try {
    return JSON.parse(bytes.toString('utf8')) as Document;
  } catch {
    // A blob that only looks like JSON refers to nothing.
    return undefined;
  }
}

function descriptors(document: Document, keys: readonly string[]): string[] {
  const found: string[] = [];
  for (const key of keys) {
    const value = document[key];
    for (const descriptor of Array.isArray(value) ? value : [value]) {
      const digest: unknown = (descriptor as { digest?: unknown } | null | undefined)?.digest;
      if (typeof digest === 'string') found.push(digest);
    }
  }
  return found;
}

function diffIds(document: Document): string[] {
  const ids = (document['rootfs'] as { diff_ids?: unknown } | undefined)?.diff_ids;
  if (!Array.isArray(ids)) return [];
  return ids.flatMap((id) => (typeof id === 'string' ? (parseDigest(id)?.hex ?? []) : []));
}
