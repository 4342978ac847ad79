/**
 * Who is in which isolation segment: an organization has a default for its spaces, and a space may have another. What a space has counts
 * for instances, tasks and builds that start from then on.
 */
import type { Stored } from '#cluster/kinds/kind.ts';
import { SHARED_SEGMENT } from '../../resources/segments.ts';
import type { Organization, Space } from '../../resources/types.ts';
import { type ApiRequest, type Context, type Endpoint, type Json, ok } from '../api.ts';
import { notAuthorized, unprocessable } from '../errors.ts';
import { tell } from '../operations/tell.ts';
import { link, toOne } from '../present/base.ts';
import type { Collection } from '../records.ts';
import { isObject } from '../validate.ts';
import { readOrganization } from './organizations.ts';
import { readSpace } from './spaces.ts';

/** Organizations, or spaces. */
interface Choosers<T extends Organization | Space> {
  kind: 'organization' | 'space';
  path: (guid: string) => string;
  summaries: { get: string; patch: string };
  collection: Collection<T>;
  /** @throws CloudFoundryError unless it is there for who asks */
  read: (request: ApiRequest) => Stored<T>;
  /** Which organization must be entitled; its managers choose. */
  organization: (chooser: Stored<T>) => string;
  /** Of the audit event. */
  place: (chooser: Stored<T>) => { organization: string } | { space: Stored<Space> };
}

export function segmentChoiceEndpoints(context: Context): Endpoint[] {
  const { organizations, spaces } = context.records;
  return [
    ...endpointsOf(context, {
      kind: 'organization',
      path: (guid) => `/v3/organizations/${guid}/relationships/default_isolation_segment`,
      summaries: {
        get: 'Get the isolation segment of spaces that say none.',
        patch: 'Choose the isolation segment of spaces that say none; it counts for what starts from then on.',
      },
      collection: organizations,
      read: (request) => readOrganization(context, request, request.params.guid ?? ''),
      organization: ({ metadata }) => metadata.name,
      place: ({ metadata }) => ({ organization: metadata.name }),
    }),
    ...endpointsOf(context, {
      kind: 'space',
      path: (guid) => `/v3/spaces/${guid}/relationships/isolation_segment`,
      summaries: {
        get: 'Get the isolation segment that a space says; without one its organization’s counts.',
        patch: 'Choose the isolation segment of a space; it counts for what starts from then on.',
      },
      collection: spaces,
      read: (request) => readSpace(context, request, request.params.guid ?? ''),
      organization: ({ spec }) => spec.organization,
      place: (space) => ({ space }),
    }),
  ];
}

function endpointsOf<T extends Organization | Space>(context: Context, choosers: Choosers<T>): Endpoint[] {
  const { kind, path, summaries, collection, read, organization, place } = choosers;
  const { access, urls } = context;
  const present = ({ metadata, spec: { segment } }: Stored<T>): Json => ({
    ...toOne(segment),
    links: {
      self: link(`${urls.api}${path(metadata.name)}`),
      ...(segment === undefined ? {} : { related: link(`${urls.api}/v3/isolation_segments/${segment}`) }),
    },
  });
  return [
    {
      method: 'GET',
      path: path(':guid'),
      auth: 'user',
      summary: summaries.get,
      handle: (request) => ok(present(read(request))),
    },
    {
      method: 'PATCH',
      path: path(':guid'),
      auth: 'user',
      summary: summaries.patch,
      handle: async (request) => {
        const chooser = read(request);
        const entitled = organization(chooser);
        if (!access.managesOrganization(request.identity, entitled)) throw notAuthorized();
        const segment = readChoice(context, request, { organization: entitled, kind });
        const changed = await collection.modify(chooser.metadata.name, (current) => {
          if (segment === undefined) delete current.spec.segment;
          else current.spec.segment = segment;
          return current;
        });
        await tell(context, request, { type: `audit.${kind}.update`, kind, object: changed, ...place(changed) });
        return ok(present(changed));
      },
    },
  ];
}

/** `{"data": {"guid": …}}` or `{"data": null}`. @throws CloudFoundryError unless the organization is entitled to it */
function readChoice(
  { records }: Context,
  { body }: ApiRequest,
  { organization, kind }: { organization: string; kind: 'organization' | 'space' },
): string | undefined {
  const { data } = body;
  if (data === null) return undefined;
  const guid = isObject(data) ? data['guid'] : undefined;
  if (typeof guid !== 'string')
    throw unprocessable('Data must be structured like this: "data": {"guid": "valid-guid"}');
  const segment = records.isolationSegments.get(guid);
  if (segment && (guid === SHARED_SEGMENT || segment.spec.organizations.includes(organization))) return guid;
  const whose = kind === 'space' ? 'the organization that this space belongs to' : 'the organization';
  throw unprocessable(
    `Unable to assign isolation segment with guid '${guid.slice(0, 60)}'. Ensure it has been entitled to ${whose}.`,
  );
}
