/** Stacks and buildpacks: the platform brings them itself, and keeps only what people write on them. */
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { nameGuid } from '#lib/name-guid.ts';
import { type Context, type Endpoint, type Json, ok } from '../api.ts';
import { notFound } from '../errors.ts';
import { type ListOptions, listReply } from '../listing.ts';
import { tell } from '../operations/tell.ts';
import { link } from '../present/base.ts';
import { mergeMetadata, Reader } from '../validate.ts';

const EPOCH = '2026-01-01T00:00:00Z';

type Kind = 'stacks' | 'buildpacks';

export interface CatalogItem extends Json {
  guid: string;
  name: string;
}

/** As lists take them. */
type Listed = ClientObject & { spec: CatalogItem };

export function catalog(context: Context, kind: Kind): CatalogItem[] {
  return kind === 'stacks' ? [stack(context)] : buildpacks(context);
}

function item(context: Context, kind: Kind, name: string, facts: Json): CatalogItem {
  const guid = nameGuid(`${kind.slice(0, -1)}\n${name}`);
  const { labels = {}, annotations = {} } = context.records.catalogEntries.get(guid)?.spec.userMetadata ?? {};
  return {
    guid,
    created_at: EPOCH,
    updated_at: EPOCH,
    name,
    ...facts,
    metadata: { labels, annotations },
    links: { self: link(`${context.urls.api}/v3/${kind}/${guid}`) },
  };
}

function stack(context: Context): CatalogItem {
  const name = context.defaults.stack;
  return item(context, 'stacks', name, {
    description: 'Debian, made from its packages',
    build_rootfs_image: name,
    run_rootfs_image: name,
    default: true,
  });
}

function buildpacks(context: Context): CatalogItem[] {
  return context.staging.buildpacks().map(({ name, version, stack: of, position }) =>
    item(context, 'buildpacks', name, {
      stack: of,
      state: 'READY',
      position,
      lifecycle: 'buildpack',
      filename: `${name}-${version}`,
      enabled: true,
      locked: true,
      version,
    }),
  );
}

export function catalogEndpoints(context: Context): Endpoint[] {
  return [
    ...endpointsOf(context, 'stacks', {
      what: 'Stack',
      list: 'List stacks.',
      filters: { default: (entry, values) => values.includes(String(entry.spec.default)) },
      orders: {},
      changed: "Change a stack's metadata.",
    }),
    ...endpointsOf(context, 'buildpacks', {
      what: 'Buildpack',
      list: 'List buildpacks in the order in which they are tried.',
      filters: {
        stacks: (entry, values) => values.includes(String(entry.spec.stack)),
        lifecycle: (entry, values) => values.includes(String(entry.spec.lifecycle)),
      },
      orders: { position: (entry) => Number(entry.spec.position) },
      defaultOrder: 'position',
      changed: "Change a buildpack's metadata.",
      partial: "the rest of it is the platform's own",
    }),
  ];
}

interface CatalogOptions extends Pick<ListOptions<Listed>, 'filters' | 'orders' | 'defaultOrder'> {
  what: string;
  list: string;
  changed: string;
  /** What cannot be changed. */
  partial?: string;
}

function endpointsOf(context: Context, kind: Kind, options: CatalogOptions): Endpoint[] {
  const { what, filters, orders, defaultOrder, partial } = options;
  const find = (guid: string | undefined): CatalogItem => {
    const found = catalog(context, kind).find((entry) => entry.guid === guid);
    if (!found) throw notFound(what);
    return found;
  };
  return [
    {
      method: 'GET',
      path: `/v3/${kind}`,
      auth: 'user',
      summary: options.list,
      handle: (request) =>
        listReply<Listed>(context, request, {
          items: catalog(context, kind).map(listed),
          present: ({ spec }) => spec,
          filters: { names: ({ spec }, values) => values.includes(spec.name), ...filters },
          orders: { name: ({ spec }) => spec.name, ...orders },
          ...(defaultOrder === undefined ? {} : { defaultOrder }),
          userLabels: ({ spec }) => (spec.metadata as { labels: Record<string, string> }).labels,
        }),
    },
    {
      method: 'GET',
      path: `/v3/${kind}/:guid`,
      auth: 'user',
      summary: `Get a ${what.toLowerCase()}.`,
      handle: (request) => ok(find(request.params.guid)),
    },
    {
      method: 'PATCH',
      path: `/v3/${kind}/:guid`,
      auth: 'admin',
      summary: options.changed,
      ...(partial === undefined ? {} : { partial }),
      handle: async (request) => {
        const { guid } = find(request.params.guid);
        const reader = new Reader(request.body);
        if (Object.keys(request.body).some((name) => name !== 'metadata')) {
          reader.fail(`${what}s are the platform's own: only their metadata can be changed`);
        }
        const metadata = reader.metadata();
        reader.done();
        const { catalogEntries } = context.records;
        const spec = { userMetadata: mergeMetadata(catalogEntries.get(guid)?.spec.userMetadata, metadata) };
        if (catalogEntries.get(guid)) await catalogEntries.modify(guid, (current) => ({ ...current, spec }));
        else await catalogEntries.create({ metadata: { name: guid }, spec });
        const kindOf = kind.slice(0, -1);
        const object = listed(find(guid));
        const about = { kind: kindOf, object: { ...object, spec: { displayName: object.spec.name } } };
        await tell(context, request, { type: `audit.${kindOf}.update`, ...about });
        return ok(find(guid));
      },
    },
  ];
}

function listed(spec: CatalogItem): Stored<Listed> {
  const metadata = { name: spec.guid, uid: spec.guid, resourceVersion: '0', creationTimestamp: EPOCH };
  return { metadata, spec };
}
