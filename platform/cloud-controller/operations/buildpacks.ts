/** Buildpacks as administrators arrange them: one order over those that the platform ships and those that were uploaded. */
import type { Buildpack, CatalogEntry } from '../../resources/types.ts';
import { type CatalogueBuildpack, catalogueOf } from '../../staging/catalogue.ts';
import type { Context } from '../api.ts';
import { serially } from './serially.ts';

export function catalogue(context: Pick<Context, 'records' | 'staging'>): CatalogueBuildpack[] {
  const { records, staging } = context;
  return catalogueOf({
    shipped: staging.buildpacks(),
    entry: (guid) => records.catalogEntries.get(guid),
    uploaded: records.buildpacks.all(),
  });
}

/** Changes of places and names are made one after another: each is of all. */
export function oneAtATime<Result>(work: () => Promise<Result>): Promise<Result> {
  return serially('buildpacks', work);
}

/** Puts one at its place (from 1; beyond the last is the last), and the others around it. */
export async function moveTo(context: Context, guid: string, position: number): Promise<void> {
  const all = catalogue(context);
  const moved = all.find((item) => item.guid === guid);
  if (moved === undefined) return;
  const order = all.filter((item) => item !== moved);
  order.splice(Math.min(position - 1, order.length), 0, moved);
  for (const [index, item] of order.entries()) await changeShared(context, item, { position: index + 1 });
}

type Shared = Pick<CatalogEntry['spec'], 'position' | 'enabled' | 'userMetadata'>;

/** What can be changed of every buildpack, and is kept at different places. */
export async function changeShared(context: Context, item: CatalogueBuildpack, change: Shared): Promise<void> {
  const { buildpacks, catalogEntries } = context.records;
  const changed = <T extends { spec: Shared }>(current: T): T | undefined => {
    const spec = { ...current.spec, ...change };
    return JSON.stringify(spec) === JSON.stringify(current.spec) ? undefined : { ...current, spec };
  };
  if (item.uploaded !== undefined) await buildpacks.modify(item.guid, (current) => changed<Buildpack>(current));
  else if (catalogEntries.get(item.guid)) await catalogEntries.modify(item.guid, (current) => changed(current));
  else await catalogEntries.create({ metadata: { name: item.guid }, spec: change });
}

/** Another one that has the name for the same stack; one of the platform's counts for any. */
export function sameName(
  context: Context,
  wanted: { guid?: string; name: string; stack: string | undefined },
): CatalogueBuildpack | undefined {
  return catalogue(context).find(
    ({ guid, name, uploaded }) =>
      guid !== wanted.guid && name === wanted.name && (uploaded === undefined || uploaded.spec.stack === wanted.stack),
  );
}
