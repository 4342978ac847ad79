/** `/Users`: SCIM 1.1 as UAA has it. A user's name is part of its guid and stays; everything else can be changed. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { type User, users } from '../../resources/types.ts';
import type { Guard } from '../guard.ts';
import { checkPassword } from '../password-policy.ts';
import { verifyPassword } from '../passwords.ts';
import { UaaError, USER_SCOPES } from '../uaa.ts';
import { createUser, deleteUser, findAccount, OWN_ORIGIN, readUser, revokeTokens, storePassword } from '../users.ts';
import { bodyOf, optionalText, queryOf, requiredText } from './body.ts';
import { type Listed, scimPage } from './page.ts';

const NAMES = [
  'username',
  'id',
  'origin',
  'active',
  'externalid',
  'emails.value',
  'email',
  'name.givenname',
  'givenname',
  'name.familyname',
  'familyname',
  'groups.display',
];

interface One {
  Params: { id: string };
}

interface UserContext {
  client: Client;
  guard: Guard;
  /** Forgets who has guessed at a user's password. */
  unlock: (username: string) => void;
}

export function userRoutes(app: FastifyInstance, { client, guard, unlock }: UserContext): void {
  const find = async (request: FastifyRequest<One>): Promise<Stored<User>> => {
    const { id } = request.params;
    const user = await readUser(client, id);
    if (!user) throw new UaaError('scim_resource_not_found', `User ${id.slice(0, 60)} does not exist`);
    return user;
  };

  app.get('/Users', async (request) => {
    await guard.scope(request, 'scim.read', 'uaa.admin');
    const { items } = await client.list(users);
    return scimPage(items.map(listed), queryOf(request), NAMES);
  });

  app.post('/Users', async (request, reply) => {
    await guard.scope(request, 'scim.write', 'scim.create', 'uaa.admin');
    const body = bodyOf(request.body);
    const username = requiredText(body, 'userName').trim();
    if (username === '' || [...username].length > 255 || /\p{Cc}/u.test(username)) {
      throw new UaaError('invalid_scim_resource', 'userName must be 1 to 255 characters without control characters');
    }
    const origin = optionalText(body, 'origin') || OWN_ORIGIN;
    const password = optionalText(body, 'password');
    if (origin === OWN_ORIGIN) await checkPassword(client, password ?? '');
    const spec = changed({ username, origin, active: true, groups: [] }, body);
    const user = await createUser(client, spec, origin === OWN_ORIGIN ? password : undefined);
    return reply.code(201).header('etag', etag(user)).send(present(user));
  });

  app.get<One>('/Users/:id', async (request, reply) => {
    const { userId } = await guard.identity(request);
    // Everybody may see themself.
    if (userId !== request.params.id) await guard.scope(request, 'scim.read', 'uaa.admin');
    const user = await find(request);
    return reply.header('etag', etag(user)).send(present(user));
  });

  const change = async (request: FastifyRequest<One>): Promise<Stored<User>> => {
    await guard.scope(request, 'scim.write', 'uaa.admin');
    const user = await find(request);
    const wanted = request.headers['if-match'];
    if (wanted === undefined && request.method === 'PUT') {
      throw new UaaError('invalid_scim_resource', 'Missing If-Match for PUT: give the version, or "*" for any');
    }
    if (wanted !== undefined && wanted.replaceAll('"', '') !== '*' && wanted !== etag(user)) {
      throw new UaaError(
        'scim_resource_already_exists',
        `Attempt to update a user ${user.metadata.name} with wrong version`,
      );
    }
    const body = bodyOf(request.body);
    const name = optionalText(body, 'userName');
    if (name !== undefined && name.toLowerCase() !== user.spec.username.toLowerCase()) {
      throw new UaaError('invalid_scim_resource', 'userName cannot be changed: create another user');
    }
    const stored = await client.update(users, { ...user, spec: changed(user.spec, body) });
    if (user.spec.active && !stored.spec.active) await revokeTokens(client, user.metadata.name);
    return stored;
  };
  app.put<One>('/Users/:id', async (request) => present(await change(request)));
  app.patch<One>('/Users/:id', async (request) => present(await change(request)));

  app.delete<One>('/Users/:id', async (request) => {
    const { userId } = await guard.scope(request, 'scim.write', 'uaa.admin');
    const user = await find(request);
    if (userId === user.metadata.name) {
      throw new UaaError('invalid_scim_resource', 'Users cannot delete themselves: ask another administrator');
    }
    await deleteUser(client, user.metadata.name);
    return present(user);
  });

  app.patch<One>('/Users/:id/status', async (request) => {
    await guard.scope(request, 'scim.write', 'uaa.admin');
    const { spec } = await find(request);
    const { locked, ...more } = bodyOf(request.body);
    const [other] = Object.keys(more);
    if (other !== undefined) throw new UaaError('invalid_scim_resource', `${other.slice(0, 60)} cannot be set here`);
    if (locked !== false) {
      throw new UaaError('invalid_scim_resource', 'locked must be false: names are locked by wrong passwords alone');
    }
    unlock(spec.username);
    return { locked };
  });

  app.put<One>('/Users/:id/password', async (request) => {
    const identity = await guard.identity(request);
    const user = await find(request);
    const guid = user.metadata.name;
    const body = bodyOf(request.body);
    const password = requiredText(body, 'password');
    if (user.spec.origin !== OWN_ORIGIN) {
      throw new UaaError('invalid_scim_resource', `The password of a user of ${user.spec.origin} is not kept here`);
    }
    if (identity.userId === guid) {
      const account = await findAccount(client, guid);
      const right = await verifyPassword(optionalText(body, 'oldPassword') ?? '', account?.passwordHash ?? '');
      if (!right) throw new UaaError('unauthorized', 'Old password is incorrect');
      if (await verifyPassword(password, account?.passwordHash ?? '')) {
        throw new UaaError('invalid_password', 'Your new password cannot be the same as the old password.');
      }
    } else await guard.scope(request, 'uaa.admin', 'password.write.admin');
    await checkPassword(client, password);
    await storePassword(client, guid, password);
    return { status: 'ok', message: 'password updated' };
  });
}

/** What the body says; what it leaves out stays. */
function changed(spec: User['spec'], body: Record<string, unknown>): User['spec'] {
  const name = body['name'] === undefined || body['name'] === null ? {} : bodyOf(body['name']);
  const [first] = Array.isArray(body['emails']) ? body['emails'] : [];
  const email = first === undefined ? undefined : optionalText(bodyOf(first), 'value');
  const givenName = optionalText(name, 'givenName');
  const familyName = optionalText(name, 'familyName');
  const externalId = optionalText(body, 'externalId');
  const { active = spec.active } = body;
  if (typeof active !== 'boolean') throw new UaaError('invalid_scim_resource', 'active must be true or false');
  return {
    ...spec,
    active,
    ...(email === undefined ? {} : { email }),
    ...(givenName === undefined ? {} : { givenName }),
    ...(familyName === undefined ? {} : { familyName }),
    ...(externalId === undefined ? {} : { externalId }),
  };
}

function etag(user: Stored<User>): string {
  return `"${user.metadata.resourceVersion}"`;
}

function groupsOf({ spec }: Stored<User>): string[] {
  return [...new Set([...USER_SCOPES, ...spec.groups, ...(spec.externalGroups ?? [])])];
}

function present(user: Stored<User>): Record<string, unknown> {
  const { metadata, spec } = user;
  return {
    id: metadata.name,
    meta: {
      version: Number(metadata.resourceVersion),
      created: metadata.creationTimestamp,
      lastModified: metadata.creationTimestamp,
    },
    userName: spec.username,
    name: { givenName: spec.givenName ?? '', familyName: spec.familyName ?? '' },
    emails: [{ value: spec.email ?? spec.username, primary: true }],
    groups: groupsOf(user).map((display) => ({ value: display, display, type: 'DIRECT' })),
    approvals: [],
    active: spec.active,
    verified: true,
    origin: spec.origin,
    ...(spec.externalId === undefined ? {} : { externalId: spec.externalId }),
    zoneId: 'uaa',
    schemas: ['urn:scim:schemas:core:1.0'],
  };
}

function listed(user: Stored<User>): Listed {
  const { spec, metadata } = user;
  const email = [spec.email ?? spec.username];
  const given = [spec.givenName ?? ''];
  const family = [spec.familyName ?? ''];
  return {
    json: present(user),
    attributes: {
      id: [metadata.name],
      username: [spec.username],
      origin: [spec.origin],
      active: [spec.active],
      externalid: [spec.externalId ?? ''],
      'emails.value': email,
      email,
      'name.givenname': given,
      givenname: given,
      'name.familyname': family,
      familyname: family,
      'groups.display': groupsOf(user),
    },
  };
}
