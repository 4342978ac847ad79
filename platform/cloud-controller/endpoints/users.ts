import type { Stored } from '#cluster/kinds/kind.ts';
import type { Role, User } from '../../resources/types.ts';
import { userGuid } from '../../uaa/users.ts';
import { type ApiRequest, accepted, type Context, created, type Endpoint, ok, type Reply } from '../api.ts';
import { CloudFoundryError, notAuthorized, notFound, unprocessable } from '../errors.ts';
import { named } from '../includes.ts';
import { listReply } from '../listing.ts';
import { grantRole } from '../operations/roles.ts';
import { tell } from '../operations/tell.ts';
import { presentOrganization, presentRole, presentSpace, presentUser } from '../present/tenancy.ts';
import { presented } from '../presented.ts';
import { listUsers } from '../user-list.ts';
import { isObject, mergeMetadata, Reader } from '../validate.ts';

const ORGANIZATION_ROLES = [
  'organization_user',
  'organization_auditor',
  'organization_manager',
  'organization_billing_manager',
];
const SPACE_ROLES = ['space_auditor', 'space_developer', 'space_manager', 'space_supporter'];

const GUID = /^[0-9a-f-]{36}$/;

export function userEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const bytes = presented<Role>((role) => presentRole(urls, role));
  /** A user sees themself, and who shares an organization with them. */
  const seesUser = (request: ApiRequest, user: Stored<User>): boolean =>
    request.identity.reads !== 'own' ||
    user.metadata.name === request.identity.userId ||
    records.roles
      .all()
      .some(
        (role) =>
          role.spec.user === user.metadata.name &&
          role.spec.organization !== undefined &&
          access.readsOrganization(request.identity, role.spec.organization),
      );
  const seesRole = (request: ApiRequest, role: Stored<Role>): boolean => {
    if (request.identity.reads !== 'own' || role.spec.user === request.identity.userId) return true;
    const space = records.spaces.get(role.spec.space ?? '');
    if (space) return access.readsSpace(request.identity, space);
    return role.spec.organization !== undefined && access.readsOrganization(request.identity, role.spec.organization);
  };
  return [
    {
      method: 'GET',
      path: '/v3/users',
      auth: 'user',
      summary: 'List users.',
      handle: (request) =>
        listUsers(
          context,
          request,
          records.users.all().filter((user) => seesUser(request, user)),
        ),
    },
    {
      method: 'GET',
      path: '/v3/users/:guid',
      auth: 'user',
      summary: 'Get a user.',
      handle: (request) => {
        const user = records.users.get(request.params.guid ?? '');
        if (!user || !seesUser(request, user)) throw notFound('User');
        return ok(presentUser(urls, user));
      },
    },
    {
      method: 'POST',
      path: '/v3/users',
      auth: 'admin',
      summary: 'Make a user of UAA known here: every user of it is known already.',
      handle: async (request) => {
        const reader = new Reader(request.body).only('guid', 'username', 'origin', 'metadata');
        const username = reader.string('username');
        const guid = username === undefined ? reader.string('guid') : userGuid(username, reader.string('origin'));
        if (guid === undefined) reader.fail("Guid can't be blank: give it, or username and origin");
        reader.done();
        // UAA wrote it, perhaps just now.
        const user = guid !== undefined && GUID.test(guid) ? await records.users.find(guid) : undefined;
        if (!user)
          throw unprocessable(
            `User with guid '${(guid ?? '').slice(0, 60)}' does not exist in UAA. Create it there first.`,
          );
        return created(presentUser(urls, user));
      },
    },
    {
      method: 'PATCH',
      path: '/v3/users/:guid',
      auth: 'admin',
      summary: "Change a user's metadata.",
      handle: async (request) => {
        const reader = new Reader(request.body).only('metadata');
        const metadata = reader.metadata();
        reader.done();
        const user = records.users.get(request.params.guid ?? '');
        if (!user) throw notFound('User');
        const changed = await records.users.modify(user.metadata.name, (current) => ({
          ...current,
          spec: { ...current.spec, userMetadata: mergeMetadata(current.spec.userMetadata, metadata) },
        }));
        return ok(presentUser(urls, changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/users/:guid',
      auth: 'admin',
      summary: 'Take all roles from a user; UAA deletes the user.',
      handle: (request) => {
        const user = records.users.get(request.params.guid ?? '');
        if (!user) throw notFound('User');
        const { name } = user.metadata;
        const job = context.jobs.start('user.forget', async () => {
          for (const role of records.roles.all()) {
            if (role.spec.user === name) await records.roles.delete(role.metadata.name);
          }
        });
        return accepted(context, job);
      },
    },
    {
      method: 'GET',
      path: '/whoami',
      auth: 'user',
      summary: 'Say who the caller is.',
      handle: (request) => ok({ name: request.identity.userName, kind: 'User' }),
    },
    {
      method: 'GET',
      path: '/v3/roles',
      auth: 'user',
      summary: 'List roles.',
      handle: (request) =>
        listReply(context, request, {
          items: records.roles.all().filter((role) => seesRole(request, role)),
          present: bytes,
          filters: {
            types: (item, values) => values.includes(item.spec.type),
            user_guids: (item, values) => values.includes(item.spec.user),
            organization_guids: (item, values) => values.includes(item.spec.organization ?? ''),
            space_guids: (item, values) => values.includes(item.spec.space ?? ''),
          },
          includes: {
            user: (items) => ({
              users: named(
                records.users,
                items.map((item) => item.spec.user),
              ).map((user) => presentUser(urls, user)),
            }),
            organization: (items) => ({
              organizations: named(
                records.organizations,
                items.map((item) => item.spec.organization ?? ''),
              ).map((organization) => presentOrganization(urls, organization)),
            }),
            space: (items) => ({
              spaces: named(
                records.spaces,
                items.map((item) => item.spec.space ?? ''),
              ).map((space) => presentSpace(urls, space)),
            }),
          },
        }),
    },
    {
      method: 'POST',
      path: '/v3/roles',
      auth: 'user',
      summary: 'Give a user a role in an organization or space.',
      handle: (request) => postRole(context, request),
    },
    {
      method: 'GET',
      path: '/v3/roles/:guid',
      auth: 'user',
      summary: 'Get a role.',
      handle: (request) => {
        const role = records.roles.get(request.params.guid ?? '');
        if (!role || !seesRole(request, role)) throw notFound('Role');
        return ok(presentRole(urls, role));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/roles/:guid',
      auth: 'user',
      summary: 'Take a role away.',
      handle: (request) => {
        const role = records.roles.get(request.params.guid ?? '');
        if (!role || !seesRole(request, role)) throw notFound('Role');
        if (!mayGrant(context, request, role.spec)) throw notAuthorized();
        const work = async () => {
          await records.roles.delete(role.metadata.name);
          await tellRole(context, request, role, 'remove');
        };
        return accepted(context, context.jobs.start('role.delete', work, { target: role.metadata.name }));
      },
    },
  ];
}

function mayGrant(context: Context, request: ApiRequest, role: Pick<Role['spec'], 'organization' | 'space'>): boolean {
  const { access, records } = context;
  if (role.space !== undefined) {
    const space = records.spaces.get(role.space);
    return space !== undefined && access.managesSpace(request.identity, space);
  }
  return role.organization !== undefined && access.managesOrganization(request.identity, role.organization);
}

async function postRole(context: Context, request: ApiRequest): Promise<Reply> {
  const { records } = context;
  const reader = new Reader(request.body).only('type', 'relationships');
  const type = reader.string('type') ?? '';
  const inSpace = SPACE_ROLES.includes(type);
  if (!inSpace && !ORGANIZATION_ROLES.includes(type)) {
    reader.fail(`Type must be one of the allowed types: ${[...ORGANIZATION_ROLES, ...SPACE_ROLES].join(', ')}`);
  }
  const target = reader.relationship(inSpace ? 'space' : 'organization', { required: true });
  const user = userOf(context, request);
  reader.done();
  const place = inSpace ? { space: target ?? '' } : { organization: target ?? '' };
  const exists = inSpace ? records.spaces.get(target ?? '') : records.organizations.get(target ?? '');
  if (!exists)
    throw unprocessable(
      `Invalid ${inSpace ? 'space' : 'organization'}. Ensure that it exists and you have access to it.`,
    );
  if (!mayGrant(context, request, place)) throw notAuthorized();
  if (!records.users.get(user))
    throw unprocessable('Invalid user. Ensure that the user exists and you have access to it.');
  const role = await grantRole(context, { type, user, ...place });
  if (!role) {
    const username = records.users.get(user)?.spec.username ?? user;
    throw new CloudFoundryError('UnprocessableEntity', `User '${username}' already has '${type}' role there.`);
  }
  await tellRole(context, request, role, 'add');
  return created(presentRole(context.urls, role));
}

/** The event is about the user. */
async function tellRole(
  context: Context,
  request: ApiRequest,
  { spec }: Stored<Role>,
  what: 'add' | 'remove',
): Promise<void> {
  const user = context.records.users.get(spec.user);
  if (!user) return;
  await tell(context, request, {
    type: `audit.user.${spec.type}_${what}`,
    kind: 'user',
    object: { ...user, spec: { displayName: user.spec.username } },
    space: context.records.spaces.get(spec.space ?? ''),
    ...(spec.organization === undefined ? {} : { organization: spec.organization }),
    data: what === 'add' ? { request: request.body } : {},
  });
}

/** By guid, or by name as `cf set-space-role` does. */
function userOf(context: Context, request: ApiRequest): string {
  const relationships = isObject(request.body.relationships) ? request.body.relationships : {};
  const user = isObject(relationships.user) ? relationships.user : {};
  const data = isObject(user.data) ? user.data : {};
  if (typeof data.guid === 'string') return data.guid;
  if (typeof data.username === 'string') {
    context.flags.require(request.identity, 'set_roles_by_username');
    return userGuid(data.username, typeof data.origin === 'string' ? data.origin : undefined);
  }
  throw unprocessable('Relationships User must be structured like this: "user: {"data": {"guid": "valid-guid"}}"');
}
