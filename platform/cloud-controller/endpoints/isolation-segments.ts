/**
 * Isolation segments: nodes that only some organizations' apps run on. A segment is a name; its nodes have a label and a taint with that name
 * (`resources/segments.ts`). An administrator entitles organizations to it, who then may choose it (`segment-choices.ts`).
 */
import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { SHARED_SEGMENT } from '../../resources/segments.ts';
import type { IsolationSegment, Organization } from '../../resources/types.ts';
import { type ApiRequest, type Context, created, type Endpoint, type Json, ok } from '../api.ts';
import { notFound, unprocessable } from '../errors.ts';
import { listReply } from '../listing.ts';
import { tell } from '../operations/tell.ts';
import { base, link, metadata } from '../present/base.ts';
import { presentOrganization } from '../present/tenancy.ts';
import { mergeMetadata, readGuids, Reader } from '../validate.ts';

const SHARED_NAME = 'shared';
/** It is the value of a label. */
const NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

export async function ensureSharedSegment({ records }: Context): Promise<void> {
  if (records.isolationSegments.get(SHARED_SEGMENT)) return;
  await records.isolationSegments.create({
    metadata: { name: SHARED_SEGMENT },
    spec: { displayName: SHARED_NAME, organizations: [] },
  });
}

export function isolationSegmentEndpoints(context: Context): Endpoint[] {
  return [...segmentEndpoints(context), ...entitlementEndpoints(context)];
}

function readSegment(context: Context, request: ApiRequest): Stored<IsolationSegment> {
  const segment = context.records.isolationSegments.get(request.params.guid ?? '');
  if (!segment || !reads(context, request, segment)) throw notFound('Isolation segment');
  return segment;
}

function reads(context: Context, request: ApiRequest, segment: Stored<IsolationSegment>): boolean {
  return request.identity.reads !== 'own' || visibleOrganizations(context, request, segment).length > 0;
}

function visibleOrganizations(
  { records, access }: Context,
  { identity }: ApiRequest,
  { spec }: Stored<IsolationSegment>,
): Stored<Organization>[] {
  return spec.organizations
    .filter((guid) => access.readsOrganization(identity, guid))
    .flatMap((guid) => records.organizations.get(guid) ?? []);
}

function present({ urls }: Context, segment: Stored<IsolationSegment>): Json {
  const self = `${urls.api}/v3/isolation_segments/${segment.metadata.name}`;
  return {
    ...base(segment),
    name: segment.spec.displayName,
    metadata: metadata(segment),
    links: { self: link(self), organizations: link(`${self}/organizations`) },
  };
}

function requireOther(segment: Stored<IsolationSegment>): void {
  if (segment.metadata.name === SHARED_SEGMENT)
    throw unprocessable(`Cannot update or delete the ${SHARED_NAME} Isolation Segment.`);
}

/** @throws CloudFoundryError when it is somebody's already */
async function takeName(context: Context, guid: string, name: string): Promise<void> {
  const holder = { resource: 'isolationsegments', name: guid };
  if (name.toLowerCase() !== SHARED_NAME && (await context.reservations.take('segment', [name.toLowerCase()], holder)))
    return;
  throw unprocessable('Isolation Segment names are case insensitive and must be unique');
}

const releaseName = (context: Context, guid: string, name: string): Promise<void> =>
  context.reservations.release('segment', [name.toLowerCase()], { resource: 'isolationsegments', name: guid });

function readName(reader: Reader, required: boolean): string | undefined {
  const name = reader.name('name', { required });
  if (name !== undefined && !NAME.test(name))
    reader.fail('Name must be 1 to 63 letters, digits, ".", "_" and "-": nodes have it as a label');
  return name;
}

function segmentEndpoints(context: Context): Endpoint[] {
  const { records } = context;
  const told = (request: ApiRequest, what: string, object: Stored<IsolationSegment>) =>
    tell(context, request, { type: `audit.isolation_segment.${what}`, kind: 'isolation_segment', object });
  return [
    {
      method: 'GET',
      path: '/v3/isolation_segments',
      auth: 'user',
      summary: 'List isolation segments.',
      handle: (request) =>
        listReply(context, request, {
          items: records.isolationSegments.all().filter((segment) => reads(context, request, segment)),
          present: (segment) => present(context, segment),
          filters: {
            names: ({ spec }, values) => values.some((value) => value.toLowerCase() === spec.displayName.toLowerCase()),
            organization_guids: (segment, values) =>
              visibleOrganizations(context, request, segment).some(({ metadata: { name } }) => values.includes(name)),
          },
          orders: { name: ({ spec }) => spec.displayName },
          userLabels: ({ spec }) => spec.userMetadata?.labels ?? {},
        }),
    },
    {
      method: 'POST',
      path: '/v3/isolation_segments',
      auth: 'admin',
      summary: 'Create an isolation segment.',
      handle: async (request) => {
        const reader = new Reader(request.body).only('name', 'metadata');
        const name = readName(reader, true) ?? '';
        const userMetadata = mergeMetadata(undefined, reader.metadata());
        reader.done();
        const guid = randomUUID();
        await takeName(context, guid, name);
        const segment = await records.isolationSegments.create({
          metadata: { name: guid },
          spec: { displayName: name, organizations: [], userMetadata },
        });
        await told(request, 'create', segment);
        return created(present(context, segment));
      },
    },
    {
      method: 'GET',
      path: '/v3/isolation_segments/:guid',
      auth: 'user',
      summary: 'Get an isolation segment.',
      handle: (request) => ok(present(context, readSegment(context, request))),
    },
    {
      method: 'PATCH',
      path: '/v3/isolation_segments/:guid',
      auth: 'admin',
      summary: 'Rename an isolation segment, or change its metadata.',
      handle: async (request) => {
        const segment = readSegment(context, request);
        requireOther(segment);
        const reader = new Reader(request.body).only('name', 'metadata');
        const name = readName(reader, false);
        const given = reader.metadata();
        reader.done();
        const { name: guid } = segment.metadata;
        const old = segment.spec.displayName;
        const renamed = name !== undefined && name.toLowerCase() !== old.toLowerCase();
        if (renamed) await takeName(context, guid, name);
        const changed = await records.isolationSegments.modify(guid, ({ spec, ...current }) => ({
          ...current,
          spec: {
            ...spec,
            displayName: name ?? spec.displayName,
            userMetadata: mergeMetadata(spec.userMetadata, given),
          },
        }));
        if (renamed) await releaseName(context, guid, old);
        await told(request, 'update', changed);
        return ok(present(context, changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/isolation_segments/:guid',
      auth: 'admin',
      summary: 'Delete an isolation segment that no organization is entitled to.',
      handle: async (request) => {
        const segment = readSegment(context, request);
        requireOther(segment);
        if (segment.spec.organizations.length > 0)
          throw unprocessable('Revoke the Organization entitlements for your Isolation Segment.');
        await records.isolationSegments.delete(segment.metadata.name);
        await releaseName(context, segment.metadata.name, segment.spec.displayName);
        await told(request, 'delete', segment);
        return { status: 204 };
      },
    },
  ];
}

function entitlementEndpoints(context: Context): Endpoint[] {
  const { records, urls } = context;
  const toMany = (segment: Stored<IsolationSegment>, guids: string[], to: string): Json => {
    const self = `${urls.api}/v3/isolation_segments/${segment.metadata.name}`;
    return {
      data: guids.map((guid) => ({ guid })),
      links: { self: link(`${self}/relationships/${to}`), related: link(`${self}/${to}`) },
    };
  };
  const guidsOf = (organizations: Stored<Organization>[]): string[] =>
    organizations.map(({ metadata: { name } }) => name);
  return [
    {
      method: 'GET',
      path: '/v3/isolation_segments/:guid/organizations',
      auth: 'user',
      summary: 'List the organizations that are entitled to an isolation segment.',
      handle: (request) => {
        const segment = readSegment(context, request);
        return listReply(context, request, {
          items: visibleOrganizations(context, request, segment),
          present: (organization) => presentOrganization(urls, organization),
          filters: { names: (item, values) => values.includes(item.spec.displayName) },
          orders: { name: ({ spec }) => spec.displayName },
        });
      },
    },
    {
      method: 'GET',
      path: '/v3/isolation_segments/:guid/relationships/organizations',
      auth: 'user',
      summary: 'Get which organizations are entitled to an isolation segment.',
      handle: (request) => {
        const segment = readSegment(context, request);
        return ok(toMany(segment, guidsOf(visibleOrganizations(context, request, segment)), 'organizations'));
      },
    },
    {
      method: 'GET',
      path: '/v3/isolation_segments/:guid/relationships/spaces',
      auth: 'user',
      summary: 'Get which spaces are in an isolation segment by their own choice.',
      handle: (request) => {
        const segment = readSegment(context, request);
        const spaces = records.spaces
          .all()
          .filter(
            (space) =>
              space.spec.segment === segment.metadata.name && context.access.readsSpace(request.identity, space),
          );
        return ok(
          toMany(
            segment,
            spaces.map(({ metadata: { name } }) => name),
            'spaces',
          ),
        );
      },
    },
    {
      method: 'POST',
      path: '/v3/isolation_segments/:guid/relationships/organizations',
      auth: 'admin',
      summary: 'Entitle organizations to an isolation segment.',
      handle: async (request) => {
        const segment = readSegment(context, request);
        requireOther(segment);
        const reader = new Reader(request.body).only('data');
        const guids = readGuids(reader, reader.body);
        reader.done();
        const missing = guids.filter((guid) => !records.organizations.get(guid));
        if (missing.length > 0)
          throw unprocessable(
            `Unable to entitle organizations [${missing.map((guid) => `'${guid.slice(0, 60)}'`).join(', ')}] for isolation segment '${segment.spec.displayName}'.`,
          );
        const changed = await records.isolationSegments.modify(segment.metadata.name, ({ spec, ...current }) => ({
          ...current,
          spec: { ...spec, organizations: [...new Set([...spec.organizations, ...guids])] },
        }));
        return ok(toMany(changed, changed.spec.organizations, 'organizations'));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/isolation_segments/:guid/relationships/organizations/:organization',
      auth: 'admin',
      summary: 'Take the entitlement back from an organization that does not use it.',
      handle: async (request) => {
        const segment = readSegment(context, request);
        const { name } = segment.metadata;
        const organization = records.organizations.get(request.params.organization ?? '');
        if (!organization) throw notFound('Organization');
        const guid = organization.metadata.name;
        if (organization.spec.segment === name)
          throw unprocessable(
            `Cannot remove the entitlement while '${segment.spec.displayName}' is the organization's default isolation segment.`,
          );
        if (records.spaces.all().some(({ spec }) => spec.organization === guid && spec.segment === name))
          throw unprocessable(
            'Cannot remove the entitlement while spaces of the organization are in the isolation segment.',
          );
        await records.isolationSegments.modify(name, ({ spec, ...current }) => ({
          ...current,
          spec: { ...spec, organizations: spec.organizations.filter((one) => one !== guid) },
        }));
        return { status: 204 };
      },
    },
  ];
}
