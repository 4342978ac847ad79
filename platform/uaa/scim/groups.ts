/** `/Groups`: each is a scope that the tokens of its members have. Those that the platform knows are there without having been made. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ApiError, type Client } from '#cluster/client/client.ts';
import { nameGuid } from '#lib/name-guid.ts';
import { groups, users } from '../../resources/types.ts';
import type { Guard } from '../guard.ts';
import { KNOWN_GROUPS, UaaError, USER_SCOPES } from '../uaa.ts';
import { readUser } from '../users.ts';
import { bodyOf, optionalText, queryOf, requiredText } from './body.ts';
import { scimPage } from './page.ts';

const NAMES = ['displayname', 'id', 'description'];
const READ = ['scim.read', 'uaa.admin'];
const WRITE = ['scim.write', 'uaa.admin'];

interface Group {
  displayName: string;
  description: string;
}

interface One {
  Params: { id: string };
}

export function groupRoutes(app: FastifyInstance, { client, guard }: { client: Client; guard: Guard }): void {
  const all = async (): Promise<Map<string, Group>> => {
    const { items } = await client.list(groups);
    const made = items.map(({ spec }) => ({ displayName: spec.displayName, description: spec.description ?? '' }));
    const known = KNOWN_GROUPS.map((displayName) => ({ displayName, description: '' }));
    return new Map([...known, ...made].map((group) => [groupId(group.displayName), group]));
  };
  const find = async (request: FastifyRequest<One>): Promise<Group> => {
    const group = (await all()).get(request.params.id);
    if (!group) throw new UaaError('scim_resource_not_found', `Group ${request.params.id.slice(0, 60)} does not exist`);
    return group;
  };
  const membersOf = async ({ displayName }: Group): Promise<string[]> => {
    const { items } = await client.list(users);
    const everybody = USER_SCOPES.includes(displayName);
    return items
      .filter(({ spec }) => everybody || spec.groups.includes(displayName))
      .map(({ metadata }) => metadata.name);
  };
  const present = async (group: Group): Promise<Record<string, unknown>> => ({
    ...facts(group),
    members: (await membersOf(group)).map((value) => ({ value, type: 'USER', origin: 'uaa' })),
  });
  const setMember = async (group: Group, guid: string, member: boolean): Promise<void> => {
    const user = await readUser(client, guid);
    if (!user) throw new UaaError('scim_resource_not_found', `Member ${guid.slice(0, 60)} does not exist`);
    const others = user.spec.groups.filter((name) => name !== group.displayName);
    if (member === user.spec.groups.includes(group.displayName)) return;
    await client.update(users, {
      ...user,
      spec: { ...user.spec, groups: member ? [...others, group.displayName] : others },
    });
  };

  app.get('/Groups', async (request) => {
    await guard.scope(request, ...READ);
    const listed = [...(await all()).values()].map((group) => ({
      json: facts(group),
      attributes: {
        displayname: [group.displayName],
        id: [groupId(group.displayName)],
        description: [group.description],
      },
    }));
    return scimPage(listed, queryOf(request), NAMES);
  });

  app.post('/Groups', async (request, reply) => {
    await guard.scope(request, ...WRITE);
    const body = bodyOf(request.body);
    const displayName = requiredText(body, 'displayName');
    // It is a scope (RFC 6749, section 3.3).
    if (!/^[\x21\x23-\x5b\x5d-\x7e]{1,255}$/.test(displayName)) {
      throw new UaaError(
        'invalid_scim_resource',
        'displayName must be printable ASCII without spaces, quotation marks and backslashes',
      );
    }
    const group: Group = { displayName, description: optionalText(body, 'description') ?? '' };
    if ((await all()).has(groupId(displayName))) throw exists(displayName);
    try {
      await client.create(groups, { metadata: { name: groupId(displayName) }, spec: { ...group } });
    } catch (error) {
      if (error instanceof ApiError && error.reason === 'AlreadyExists') throw exists(displayName);
      throw error;
    }
    for (const guid of memberGuids(body['members'])) await setMember(group, guid, true);
    return reply.code(201).send(await present(group));
  });

  app.get<One>('/Groups/:id', async (request) => {
    await guard.scope(request, ...READ);
    return present(await find(request));
  });

  app.put<One>('/Groups/:id', async (request) => {
    await guard.scope(request, ...WRITE);
    const group = await find(request);
    const wanted = new Set(memberGuids(bodyOf(request.body)['members']));
    const now = await membersOf(group);
    for (const guid of wanted) await setMember(group, guid, true);
    for (const guid of now) if (!wanted.has(guid)) await setMember(group, guid, false);
    return present(group);
  });

  app.delete<One>('/Groups/:id', async (request) => {
    await guard.scope(request, ...WRITE);
    const group = await find(request);
    if (KNOWN_GROUPS.includes(group.displayName)) {
      throw new UaaError(
        'invalid_scim_resource',
        `The group ${group.displayName} is the platform's own and cannot be deleted`,
      );
    }
    const before = await present(group);
    for (const guid of await membersOf(group)) await setMember(group, guid, false);
    await client.delete(groups, groupId(group.displayName));
    return before;
  });

  app.get<One>('/Groups/:id/members', async (request) => {
    await guard.scope(request, ...READ);
    const members = await membersOf(await find(request));
    return members.map((value) => ({ value, type: 'USER', origin: 'uaa' }));
  });

  app.post<One>('/Groups/:id/members', async (request, reply) => {
    await guard.scope(request, ...WRITE);
    const value = requiredText(bodyOf(request.body), 'value');
    await setMember(await find(request), value, true);
    return reply.code(201).send({ value, type: 'USER', origin: 'uaa' });
  });

  app.delete<{ Params: { id: string; member: string } }>('/Groups/:id/members/:member', async (request) => {
    await guard.scope(request, ...WRITE);
    const value = request.params.member;
    await setMember(await find(request), value, false);
    return { value, type: 'USER', origin: 'uaa' };
  });
}

function exists(name: string): UaaError {
  return new UaaError('scim_resource_already_exists', `A group with displayName: ${name} already exists.`);
}

/** The same for the same name. */
export function groupId(displayName: string): string {
  return nameGuid(`group\n${displayName}`);
}

function facts({ displayName, description }: Group): Record<string, unknown> {
  return {
    id: groupId(displayName),
    meta: { version: 0 },
    displayName,
    ...(description === '' ? {} : { description }),
    zoneId: 'uaa',
    schemas: ['urn:scim:schemas:core:1.0'],
  };
}

function memberGuids(members: unknown): string[] {
  if (members === undefined || members === null) return [];
  if (!Array.isArray(members))
    throw new UaaError('invalid_scim_resource', 'members must be a list of {"value": "guid of a user"}');
  return members.map((member) => requiredText(bodyOf(member), 'value'));
}
