/**
 * What a builder image has: buildpacks below `/cnb/buildpacks/<id>/<version>`, and the order in which its groups are tried, with those
 * that are made of others taken apart (buildpack specification, "Order Resolution").
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { type Buildpack, LifecycleError, type OrderEntry, readBuildpack } from './buildpack.ts';
import { isDirectory, names, text } from './environment.ts';
import { exitCodes } from './protocol.ts';

interface Entry {
  id: string;
  version?: string;
  optional?: boolean;
}

type Order = { group: Entry[] }[];

interface File {
  order?: Order;
  buildpack?: { id?: string; version?: string };
}

const MOST_GROUPS = 2000;

export function builderOrder(
  root: string,
  orderFile: string,
): { buildpacks: Map<string, Buildpack>; groups: OrderEntry[][]; chosen: false } {
  const places = placesOf(root);
  const buildpacks = new Map<string, Buildpack>();

  const keyOf = ({ id, version }: Entry): string => {
    const own = places.get(id);
    const found = version === undefined ? [...(own?.keys() ?? [])].at(-1) : version;
    if (own?.get(found ?? '') === undefined)
      throw new LifecycleError(
        exitCodes.detectError,
        `the builder's order names ${id}@${version ?? ''}, which it lacks`,
      );
    return `${id}@${found}`;
  };
  /** Ways in which an entry can be carried out: a buildpack itself, or the groups of one that is made of others. */
  const waysOf = (entry: Entry, inside: readonly string[]): OrderEntry[][] => {
    const key = keyOf(entry);
    const place = places.get(entry.id)?.get(key.slice(entry.id.length + 1)) ?? '';
    const { order } = fileAt(place);
    if (order === undefined) {
      if (!buildpacks.has(key)) buildpacks.set(key, readBuildpack(place, entry.id));
      return [[entry.optional === true ? { id: key, optional: true } : { id: key }]];
    }
    if (inside.includes(key))
      throw new LifecycleError(exitCodes.detectError, `buildpack ${key} of the builder is made of itself`);
    const groups = groupsOf(order, [...inside, key]);
    return entry.optional === true ? [...groups, []] : groups;
  };
  const groupsOf = (order: Order, inside: readonly string[]): OrderEntry[][] =>
    order.flatMap(({ group }) => {
      let ways: OrderEntry[][] = [[]];
      for (const entry of group) {
        const own = waysOf(entry, inside);
        ways = ways.flatMap((before) => own.map((after) => [...before, ...after]));
        if (ways.length > MOST_GROUPS)
          throw new LifecycleError(exitCodes.detectError, `the builder's order has more than ${MOST_GROUPS} groups`);
      }
      return ways;
    });

  const { order } = parse(readFileSync(orderFile, 'utf8')) as File;
  const groups = groupsOf(order ?? [], [])
    .map(eachOnce)
    .filter((group) => group.length > 0);
  return { buildpacks, groups, chosen: false };
}

/** The first of those that a group has twice, whatever its version. */
function eachOnce(group: readonly OrderEntry[]): OrderEntry[] {
  const seen = new Set<string>();
  return group.filter(({ id }) => {
    const plain = id.slice(0, id.lastIndexOf('@'));
    return seen.has(plain) ? false : seen.add(plain);
  });
}

/** Directories by id and version, versions in the order of their names. */
function placesOf(root: string): Map<string, Map<string, string>> {
  const found = new Map<string, Map<string, string>>();
  for (const id of names(root)) {
    if (!isDirectory(join(root, id))) continue;
    for (const version of names(join(root, id))) {
      const place = join(root, id, version);
      const { buildpack } = fileAt(place);
      if (buildpack?.id === undefined) continue;
      const own = found.get(buildpack.id) ?? new Map<string, string>();
      found.set(buildpack.id, own.set(String(buildpack.version ?? version), place));
    }
  }
  return found;
}

function fileAt(place: string): File {
  return parse(text(join(place, 'buildpack.toml'))) as File;
}
