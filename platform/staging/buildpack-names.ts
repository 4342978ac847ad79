/** How users name buildpacks: as `cf buildpacks` lists them, `nodejs`, the id `sampan/nodejs`, or by an address. */
import type { BuildpackInfo } from './builder/builder.ts';
import { buildpackAddress, builderOf, type CatalogueBuildpack, dockerfileOf } from './catalogue.ts';
import { DOCKERFILE_BUILDPACK } from './dockerfiles/dockerfiles.ts';
import type { OrderEntry } from './lifecycle/buildpack.ts';
import type { WantedBuildpack, WantedBuildpacks } from './lifecycle/protocol.ts';
import { StagingError } from './staging.ts';

export function listedName(id: string): string {
  return `${id.slice(id.indexOf('/') + 1)}_buildpack`;
}

export interface KnownBuildpacks {
  catalogue: readonly CatalogueBuildpack[];
  shipped: readonly BuildpackInfo[];
  /** Groups of shipped ones, as they are tried where nobody changed that. */
  order: readonly (readonly OrderEntry[])[];
}

export interface BuildChoice {
  wanted: WantedBuildpacks;
  /** Built where it is there and none of the first `after` groups fits. */
  dockerfile?: { path: string; after: number };
  /** All of the build is this image's. */
  builder?: string;
}

/** @throws StagingError `no-app-detected` that lists what there is */
export function wantedBuildpacks(
  { buildpacks, stack }: { buildpacks: readonly string[]; stack: string },
  known: KnownBuildpacks,
): BuildChoice {
  const usable = known.catalogue.filter((item) => isUsable(item, stack));
  const idOf = (name: string) => known.shipped.find(({ id }) => listedName(id) === name)?.id ?? name;
  if (buildpacks.length === 0) {
    const groups = usable.map((item) => groupsOf(item, usable, known));
    const place = usable.findIndex(isDockerfile);
    const wanted: WantedBuildpacks = { chosen: false, groups: groups.flat() };
    if (place < 0) return { wanted };
    const after = groups.slice(0, place).flat().length;
    return { wanted: { ...wanted, fallback: true }, dockerfile: { path: 'Dockerfile', after } };
  }
  const builder = chosenAlone(buildpacks, builderOf, 'a builder image');
  if (builder !== undefined) return { wanted: { chosen: true, groups: [] }, builder: builder.image };
  const dockerfile = chosenDockerfile(buildpacks, usable);
  if (dockerfile !== undefined)
    return { wanted: { chosen: true, groups: [] }, dockerfile: { ...dockerfile, after: 0 } };
  const group = buildpacks.map((name): WantedBuildpack => {
    const address = buildpackAddress(name);
    if (address !== undefined && 'url' in address) return address;
    const lower = name.toLowerCase();
    const found =
      usable.find((item) => item.name.toLowerCase() === lower) ??
      usable.find(({ name: listed, shipped }) => {
        const id = idOf(listed);
        return shipped !== undefined && (id === lower || id.slice(id.indexOf('/') + 1) === lower);
      });
    if (found !== undefined) return wantedOf(found, idOf);
    const what = address?.problem ?? 'there is no such buildpack';
    const names = usable.map((item) => item.name).join(', ');
    throw new StagingError('no-app-detected', `buildpack ${JSON.stringify(name)}: ${what}; there are ${names}`);
  });
  return { wanted: { chosen: true, groups: [group] } };
}

function isDockerfile({ name, shipped }: CatalogueBuildpack): boolean {
  return shipped !== undefined && name === DOCKERFILE_BUILDPACK;
}

function chosenDockerfile(
  buildpacks: readonly string[],
  usable: readonly CatalogueBuildpack[],
): { path: string } | undefined {
  // Turned off, it is a buildpack that is not there.
  return usable.some(isDockerfile) ? chosenAlone(buildpacks, dockerfileOf, 'a Dockerfile') : undefined;
}

/** What stands for the whole build, and has no buildpacks beside it. */
function chosenAlone<Found extends object>(
  buildpacks: readonly string[],
  read: (name: string) => Found | { problem: string } | undefined,
  what: string,
): Found | undefined {
  const found = buildpacks.map(read).find((each) => each !== undefined);
  if (found === undefined) return undefined;
  if ('problem' in found) throw new StagingError('no-app-detected', found.problem);
  if (buildpacks.length > 1)
    throw new StagingError('no-app-detected', `${what} builds alone, without other buildpacks`);
  return found;
}

function isUsable({ enabled, uploaded }: CatalogueBuildpack, stack: string): boolean {
  if (uploaded === undefined) return enabled;
  const { filename, stack: own } = uploaded.spec;
  return enabled && filename !== undefined && (own === undefined || own === stack);
}

function wantedOf({ guid, name, uploaded }: CatalogueBuildpack, idOf: (name: string) => string): WantedBuildpack {
  return uploaded === undefined ? { id: idOf(name) } : { directory: guid, name };
}

/** A shipped one stands for the groups that it begins; of those that were turned off nothing is tried. */
function groupsOf(
  item: CatalogueBuildpack,
  usable: readonly CatalogueBuildpack[],
  { shipped, order }: KnownBuildpacks,
): WantedBuildpack[][] {
  if (item.uploaded !== undefined) return [[{ directory: item.guid, name: item.name }]];
  const id = shipped.find((info) => listedName(info.id) === item.name)?.id;
  const isOn = (entry: OrderEntry) => usable.some(({ name }) => name === listedName(entry.id));
  return order
    .filter((group) => group[0]?.id === id && group.every((entry) => entry.optional === true || isOn(entry)))
    .map((group) => group.filter(isOn));
}
