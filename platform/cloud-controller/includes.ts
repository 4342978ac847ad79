/** What `include=` adds to an answer. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ClientObject } from '#cluster/client/client.ts';
import type { Organization, Space } from '../resources/types.ts';
import type { Context, Json } from './api.ts';
import { presentOrganization, presentSpace } from './present/tenancy.ts';
import type { Collection } from './records.ts';

export function spacesOf(context: Context, items: Stored<ClientObject>[]): Stored<Space>[] {
  return unique(items.map((item) => context.records.spaceOf(item)));
}

export function organizationsOf(context: Context, spaces: Stored<Space>[]): Stored<Organization>[] {
  return named(
    context.records.organizations,
    spaces.map((space) => space.spec.organization),
  );
}

/** `space` and `space.organization` of things that are in a space. */
export function spaceIncludes<T extends ClientObject>(context: Context): Record<string, (items: Stored<T>[]) => Json> {
  const space = (items: Stored<T>[]) => ({
    spaces: spacesOf(context, items).map((item) => presentSpace(context.urls, item)),
  });
  const both = (items: Stored<T>[]) => {
    const spaces = spacesOf(context, items);
    return {
      spaces: spaces.map((item) => presentSpace(context.urls, item)),
      organizations: organizationsOf(context, spaces).map((item) => presentOrganization(context.urls, item)),
    };
  };
  return { space, 'space.organization': both, org: both };
}

/** Those of a page of thousands are often a few: each is looked for once. */
export function named<T extends ClientObject>(collection: Collection<T>, guids: string[]): Stored<T>[] {
  return [...new Set(guids)].map((guid) => collection.get(guid)).filter((item) => item !== undefined);
}

export function unique<T extends ClientObject>(items: (Stored<T> | undefined)[]): Stored<T>[] {
  const known = new Map<string, Stored<T>>();
  for (const item of items) if (item) known.set(item.metadata.name, item);
  return [...known.values()];
}
