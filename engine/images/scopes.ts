/**
 * The scopes of the content store's names. A repository's own name is the scope of its tags; every other scope starts
 * with a colon, which no repository name can hold.
 *
 *   <repository>              tag → manifest digest
 *   :manifests/<repository>   digest → itself: every manifest that was pushed, tagged or not
 *   :links/<repository>       digest → itself: every blob that may be read through this repository. Access, not
 *                             possession: links keep nothing from collection, and go when their blob has gone
 *   :referrers/<repository>   `<subject>@<manifest>` → manifest: manifests that point at another one
 *   :mirrored/<repository>    digest → itself: manifests that came from an upstream registry, with or without their
 *                             blobs; keeps nothing, as links
 *   :images                   an image's reference → manifest digest of the node's platform
 *   :dangling                 manifest digest → itself: images whose last name moved to another image
 *   :build-cache              what a build's step was made from → manifest digest of what it made
 */
import { isDigest } from '#lib/digest.ts';
import type { ContentStore } from './store.ts';

export const IMAGES_SCOPE = ':images';
export const DANGLING_SCOPE = ':dangling';
export const BUILD_CACHE_SCOPE = ':build-cache';

export function manifestsScope(repository: string): string {
  return `:manifests/${repository}`;
}

export function linksScope(repository: string): string {
  return `:links/${repository}`;
}

export function referrersScope(repository: string): string {
  return `:referrers/${repository}`;
}

export function mirroredScope(repository: string): string {
  return `:mirrored/${repository}`;
}

/** Whether names of this scope keep content from collection. */
export function keepsContent(scope: string): boolean {
  return !scope.startsWith(':links/') && !scope.startsWith(':mirrored/');
}

/** The repository whose manifests the scope lists. */
export function repositoryOfManifests(scope: string): string | undefined {
  return scope.startsWith(':manifests/') ? scope.slice(':manifests/'.length) : undefined;
}

/** The repository whose manifests from upstream the scope lists. */
export function repositoryOfMirrored(scope: string): string | undefined {
  return scope.startsWith(':mirrored/') ? scope.slice(':mirrored/'.length) : undefined;
}

/** The repository whose blobs the scope lists. */
export function repositoryOfLinks(scope: string): string | undefined {
  return scope.startsWith(':links/') ? scope.slice(':links/'.length) : undefined;
}

/**
 * The digest of the repository's manifest by tag or digest. What a tag leads to belongs to the repository also where a
 * crash came between the names of one push.
 */
export function findManifest(content: ContentStore, repository: string, reference: string): string | undefined {
  if (!isDigest(reference)) return content.getName(repository, reference);
  const pushed = content.getName(manifestsScope(repository), reference);
  return pushed ?? content.names(repository).find(({ digest }) => digest === reference)?.digest;
}
