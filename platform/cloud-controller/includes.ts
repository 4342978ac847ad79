/** What `include=` adds to an answer. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ClientObject } from '#cluster/client/client.ts';
import type { Organization, Space } from '../resources/types.ts';
import type { Context, Json } from './api.ts';
import { presentOrganization, presentSpace } from './present/tenancy.ts';

export function spacesOf(context: Context, items: Stored<ClientObject>[]): Stored<Space>[] {
  return unique(items.map((item) => context.records.spaceOf(item)));
}

export function organizationsOf(context: Context, spaces: Stored<Space>[]): Stored<Organization>[] {
  return unique(spaces.map((space) => context.records.organizations.get(space.spec.organization)));
}

/** `space` and `space.organization` of things that are in a space. */
export function spaceIncludes<T extends ClientObject>(context: Context): Record<string, (items: Stored<T>[]) => Json> {
  const space = (items: Stored<T>[]) => ({
    spaces: spacesOf(context, items).map((item) => presentSpace(context.urls, item)),
  });
  const organization = (items: Stored<T>[]) => ({
    organizations: organizationsOf(context, spacesOf(context, items)).map((item) =>
      presentOrganization(context.urls, item),
    ),
  });
  return {
    space,
    'space.organization': (items) => ({ ...space(items), ...organization(items) }),
    org: (items) => ({ ...space(items), ...organization(items) }),
  };
}

export function unique<T extends ClientObject>(items: (Stored<T> | undefined)[]): Stored<T>[] {
  const known = new Map<string, Stored<T>>();
  for (const item of items) if (item) known.set(item.metadata.name, item);
  return [...known.values()];
}
