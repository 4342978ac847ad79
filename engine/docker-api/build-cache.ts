/** The steps of earlier builds that are remembered: `/build/prune`, and their part of `/system/df`. */
import type { Image } from '../engine.ts';
import type { NodeImages } from '../images/open.ts';
import { BUILD_CACHE_SCOPE } from '../images/scopes.ts';
import { answerJson, type Call } from './call.ts';
import { time } from './container-view.ts';
import { parseFilters } from './filters.ts';
import { momentBefore } from './lifecycle.ts';

const FILTERS = ['until', 'id', 'parent', 'type', 'description', 'inuse', 'shared', 'private', 'unused-for'];

interface RememberedStep {
  /** Under which it is found; several where several ways lead to it. */
  keys: string[];
  image: Image | undefined;
  /** Of layers that no image of a list has, and no step before this one in the list. */
  ownBytes: number;
}

function rememberedSteps(images: NodeImages): RememberedStep[] {
  const counted = new Set(images.list().flatMap(({ config }) => config.layers));
  const steps = new Map<string, RememberedStep>();
  for (const { name, digest } of images.content.names(BUILD_CACHE_SCOPE)) {
    const known = steps.get(digest);
    if (known === undefined) steps.set(digest, { keys: [name], image: images.get(digest), ownBytes: 0 });
    else known.keys.push(name);
  }
  const sorted = [...steps.values()].sort(
    (left, right) => (left.image?.createdAt ?? 0) - (right.image?.createdAt ?? 0),
  );
  for (const step of sorted) {
    const sizes = step.image === undefined ? [] : images.layerSizes(step.image);
    for (const [index, layer] of (step.image?.config.layers ?? []).entries()) {
      if (!counted.has(layer)) step.ownBytes += sizes[index] ?? 0;
      counted.add(layer);
    }
  }
  return sorted;
}

function idOf({ image, keys }: RememberedStep): string {
  return (image?.id ?? keys[0] ?? '').replace('sha256:', '');
}

/** Every step, or those that were made before `until`. Their content goes when it is collected. */
export async function pruneBuilds(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), FILTERS);
  const until = filters.get('until')?.[0] ?? filters.get('unused-for')?.[0];
  const before = until === undefined ? Number.POSITIVE_INFINITY : momentBefore(until);
  const images = call.engine.images as NodeImages;
  const removed: string[] = [];
  let bytes = 0;
  for (const step of rememberedSteps(images)) {
    if (step.image !== undefined && step.image.createdAt >= before) continue;
    for (const key of step.keys) await images.content.setName(BUILD_CACHE_SCOPE, key, undefined);
    removed.push(idOf(step));
    bytes += step.ownBytes;
  }
  answerJson(call, { CachesDeleted: removed, SpaceReclaimed: bytes });
}

export function buildCacheUsage(call: Call): Record<string, unknown>[] {
  return rememberedSteps(call.engine.images as NodeImages).map((step) => ({
    ID: idOf(step),
    Type: 'regular',
    Description: '',
    InUse: false,
    Shared: false,
    Size: step.ownBytes,
    CreatedAt: time(step.image?.createdAt),
    LastUsedAt: null,
    UsageCount: 1,
  }));
}
