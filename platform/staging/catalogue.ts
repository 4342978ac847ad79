/**
 * Which buildpacks there are: those that the platform ships, as administrators have placed or turned them off, and those
 * that administrators have uploaded, in the order in which they are tried.
 */
import { nameGuid } from '#lib/name-guid.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Buildpack, CatalogEntry } from '../resources/types.ts';
import { DOCKERFILE_BUILDPACK } from './dockerfiles/dockerfiles.ts';

/** One that the platform ships, with its place among those. */
export interface Shipped {
  name: string;
  version: string;
  position: number;
  stack: string;
}

export interface CatalogueBuildpack {
  guid: string;
  name: string;
  position: number;
  enabled: boolean;
  shipped?: Shipped;
  uploaded?: Stored<Buildpack>;
}

export interface CatalogueSource {
  shipped: readonly Shipped[];
  entry: (guid: string) => Stored<CatalogEntry> | undefined;
  uploaded: readonly Stored<Buildpack>[];
}

export function shippedGuid(name: string): string {
  return nameGuid(`buildpack\n${name}`);
}

export function catalogueOf({ shipped, entry, uploaded }: CatalogueSource): CatalogueBuildpack[] {
  const all: CatalogueBuildpack[] = [
    ...uploaded.map((item) => {
      const { displayName: name, position, enabled } = item.spec;
      return { guid: item.metadata.name, name, position, enabled, uploaded: item };
    }),
    ...shipped.map((item) => {
      const guid = shippedGuid(item.name);
      const { position = item.position, enabled = true } = entry(guid)?.spec ?? {};
      return { guid, name: item.name, position, enabled, shipped: item };
    }),
  ];
  return all
    .sort(
      (left, right) => left.position - right.position || rank(left) - rank(right) || (left.guid < right.guid ? -1 : 1),
    )
    .map((item, index) => ({ ...item, position: index + 1 }));
}

/** Of two at one place the one that somebody put there comes first. */
function rank({ uploaded }: CatalogueBuildpack): number {
  return uploaded === undefined ? 1 : 0;
}

/** The Dockerfile that a name among buildpacks stands for: `dockerfile` for the one at the top, or `dockerfile:PATH`. */
export function dockerfileOf(name: string): { path: string } | { problem: string } | undefined {
  if (name.toLowerCase() === DOCKERFILE_BUILDPACK) return { path: 'Dockerfile' };
  if (!name.toLowerCase().startsWith(`${DOCKERFILE_BUILDPACK}:`)) return undefined;
  const path = name.slice(DOCKERFILE_BUILDPACK.length + 1).replace(/^(\.\/+)+/, '');
  const parts = path.split('/');
  if (path.length > 1000 || /[\0-\x1f\x7f]/.test(path) || parts.some((part) => part === '' || part === '..'))
    return { problem: 'the path of a Dockerfile is relative to the source, and does not lead out of it' };
  return { path };
}

/** A builder image of Cloud Native Buildpacks, as Cloud Foundry's clients name it: `docker://registry.example.com/team/builder:1`. */
export function builderOf(name: string): { image: string } | { problem: string } | undefined {
  if (!/^docker:\/\//i.test(name)) return undefined;
  const image = name.slice('docker://'.length);
  if (image.length <= 500 && /^[A-Za-z0-9[][A-Za-z0-9._:/@[\]-]*$/.test(image)) return { image };
  return { problem: 'docker:// is followed by the name of an image' };
}

/** Of another's, by address. Those with a password are refused: who may see the app would see it. */
export function buildpackAddress(name: string): { url: string } | { problem: string } | undefined {
  if (!/^[a-z][a-z0-9+.-]*:\/\/|^git@/i.test(name)) return undefined;
  if (!/^https?:\/\//i.test(name) || !URL.canParse(name)) {
    return {
      problem: 'only https:// and http:// addresses of git repositories, .zip, .tgz and .tar.gz files can be fetched',
    };
  }
  const { username, password } = new URL(name);
  if (username !== '' || password !== '')
    return {
      problem: 'an address with a login in it would be shown to all who may see the app: upload the buildpack instead',
    };
  return { url: name };
}
