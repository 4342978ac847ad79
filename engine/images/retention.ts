/**
 * Which manifests of the registry's repositories nobody means any more: no tag leads to them, directly or through an
 * index; they refer to none that stays (signatures and the like stay with their subject); the engine has no image of
 * them; and nobody has pushed, pulled or untagged them for the grace period.
 *
 * A tag that came from another registry counts only while somebody pulls it: the cache would grow without end.
 *
 * The last look at each and the removal of its name are synchronous, as are the check and the touch of a push, so a
 * push either finds the manifest and keeps it, or does not find it.
 */
import { statSync } from 'node:fs';
import { parseManifest } from './manifest.ts';
import {
  DANGLING_SCOPE,
  IMAGES_SCOPE,
  manifestsScope,
  mirroredScope,
  referrersScope,
  repositoryOfManifests,
} from './scopes.ts';
import type { ContentStore } from './store.ts';

/** @returns how many were forgotten; their bytes go with the next sweep */
export async function forgetUntagged(
  content: ContentStore,
  options: { before: number; pinned: Iterable<string> },
): Promise<number> {
  const wanted = new Set(options.pinned);
  for (const scope of [IMAGES_SCOPE, DANGLING_SCOPE]) for (const { digest } of content.names(scope)) wanted.add(digest);
  let forgotten = 0;
  for (const scope of content.scopes()) {
    const repository = repositoryOfManifests(scope);
    if (repository === undefined) continue;
    await forgetMirroredTags(content, repository, options.before);
    const kept = await keptBy(
      content,
      repository,
      (digest) => wanted.has(digest) || !isOlder(content, digest, options.before),
    );
    forgotten += await forget(
      content,
      repository,
      (digest) => !kept.has(digest) && isOlder(content, digest, options.before),
    );
  }
  return forgotten;
}

async function forgetMirroredTags(content: ContentStore, repository: string, before: number): Promise<void> {
  for (const { name, digest } of content.names(repository)) {
    const isMirrored = content.getName(mirroredScope(repository), digest) !== undefined;
    if (isMirrored && isOlder(content, digest, before)) await content.setName(repository, name, undefined);
  }
}

async function keptBy(
  content: ContentStore,
  repository: string,
  isRoot: (digest: string) => boolean,
): Promise<Set<string>> {
  const kept = new Set<string>();
  const referrers = Map.groupBy(content.names(referrersScope(repository)), ({ name }) =>
    name.slice(0, name.indexOf('@')),
  );
  const pending = content.names(repository).map(({ digest }) => digest);
  for (const { digest } of content.names(manifestsScope(repository))) if (isRoot(digest)) pending.push(digest);
  for (let digest = pending.pop(); digest !== undefined; digest = pending.pop()) {
    if (kept.has(digest)) continue;
    kept.add(digest);
    pending.push(...(await childrenOf(content, digest)));
    for (const { digest: referrer } of referrers.get(digest) ?? []) pending.push(referrer);
  }
  return kept;
}

async function childrenOf(content: ContentStore, digest: string): Promise<string[]> {
  if (content.path(digest) === undefined) return [];
  const manifest = parseManifest(await content.readAll(digest));
  return manifest.kind === 'index' ? manifest.manifests.map((child) => child.digest) : [];
}

async function forget(
  content: ContentStore,
  repository: string,
  isUnwanted: (digest: string) => boolean,
): Promise<number> {
  const tagged = new Set(content.names(repository).map(({ digest }) => digest));
  const gone = new Set<string>();
  const removals: Promise<void>[] = [];
  for (const { digest } of content.names(manifestsScope(repository))) {
    if (tagged.has(digest) || !isUnwanted(digest)) continue;
    gone.add(digest);
    removals.push(content.setName(manifestsScope(repository), digest, undefined));
  }
  for (const { name, digest } of gone.size === 0 ? [] : content.names(referrersScope(repository))) {
    if (gone.has(digest)) removals.push(content.setName(referrersScope(repository), name, undefined));
  }
  await Promise.all(removals);
  return gone.size;
}

/** A manifest whose blob is not here is as old as can be. */
function isOlder(content: ContentStore, digest: string, before: number): boolean {
  const path = content.path(digest);
  const found = path === undefined ? undefined : statSync(path, { throwIfNoEntry: false });
  return found === undefined || found.mtimeMs < before;
}
