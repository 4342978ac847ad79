/** `/Groups/External`: which groups of an identity provider are which groups here. They count from each user's next login on. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ApiError, type Client } from '#cluster/client/client.ts';
import { groups, type IdentityProvider, identityProviders } from '../../resources/types.ts';
import type { Guard } from '../guard.ts';
import { bodyOf, optionalText, queryOf, requiredText } from '../scim/body.ts';
import { groupId } from '../scim/groups.ts';
import { scimPage } from '../scim/page.ts';
import { KNOWN_GROUPS, UaaError } from '../uaa.ts';
import { findProvider, listProviders } from './providers.ts';

const NAMES = ['displayname', 'groupid', 'externalgroup', 'origin'];
const MAX_ATTEMPTS = 5;

interface Mapping {
  origin: string;
  external: string;
  group: string;
}

interface Named {
  Params: { by: string; group: string; external: string; origin: string };
}

export function externalGroupRoutes(app: FastifyInstance, { client, guard }: { client: Client; guard: Guard }): void {
  const named = async (field: string, value: string): Promise<string> => {
    const { items } = await client.list(groups);
    const all = [...KNOWN_GROUPS, ...items.map(({ spec }) => spec.displayName)];
    const found = all.find((name) => (field === 'displayName' ? name : groupId(name)) === value);
    if (found === undefined)
      throw new UaaError('scim_resource_not_found', `Group ${value.slice(0, 60)} does not exist`);
    return found;
  };
  const change = async (origin: string, changed: (old: IdentityProvider['spec']['groupMappings']) => typeof old) => {
    for (let attempt = 1; ; attempt++) {
      const provider = await findProvider(client, origin);
      if (!provider) throw new UaaError('scim_resource_not_found', `The origin ${origin.slice(0, 60)} is not known`);
      const groupMappings = changed(provider.spec.groupMappings);
      try {
        await client.update(identityProviders, { ...provider, spec: { ...provider.spec, groupMappings } });
        return;
      } catch (error) {
        if (!(error instanceof ApiError) || error.reason !== 'Conflict' || attempt >= MAX_ATTEMPTS) throw error;
      }
    }
  };

  app.get('/Groups/External', async (request) => {
    await guard.scope(request, 'scim.read', 'uaa.admin');
    const all = (await listProviders(client)).flatMap(({ spec: { origin, groupMappings } }) =>
      groupMappings.map(({ external, group }) => ({ origin, external, group })),
    );
    const listed = all.map((mapping) => ({
      json: present(mapping),
      attributes: {
        displayname: [mapping.group],
        groupid: [groupId(mapping.group)],
        externalgroup: [mapping.external],
        origin: [mapping.origin],
      },
    }));
    return scimPage(listed, queryOf(request), NAMES);
  });

  app.post('/Groups/External', async (request, reply) => {
    await guard.scope(request, 'scim.write', 'uaa.admin');
    const body = bodyOf(request.body);
    const id = optionalText(body, 'groupId');
    const group = await (id === undefined
      ? named('displayName', requiredText(body, 'displayName'))
      : named('groupId', id));
    const mapping = { origin: requiredText(body, 'origin'), external: requiredText(body, 'externalGroup'), group };
    await change(mapping.origin, (old) => {
      if (old.some((known) => same(known, mapping)))
        throw new UaaError('scim_resource_already_exists', 'The mapping is there already');
      return [...old, { external: mapping.external, group }];
    });
    return reply.code(201).send(present(mapping));
  });

  app.delete<Named>('/Groups/External/:by/:group/externalGroup/:external/origin/:origin', async (request) => {
    await guard.scope(request, 'scim.write', 'uaa.admin');
    return remove(request);
  });

  async function remove(request: FastifyRequest<Named>): Promise<Record<string, unknown>> {
    const { by, external, origin } = request.params;
    if (by !== 'displayName' && by !== 'groupId') throw new UaaError('not_found', 'Say displayName or groupId');
    const mapping = { origin, external, group: await named(by, request.params.group) };
    await change(origin, (old) => {
      const rest = old.filter((known) => !same(known, mapping));
      if (rest.length === old.length) throw new UaaError('scim_resource_not_found', 'There is no such mapping');
      return rest;
    });
    return present(mapping);
  }
}

function same(left: Omit<Mapping, 'origin'>, right: Omit<Mapping, 'origin'>): boolean {
  return left.external === right.external && left.group === right.group;
}

function present({ origin, external, group }: Mapping): Record<string, unknown> {
  return {
    groupId: groupId(group),
    displayName: group,
    externalGroup: external,
    origin,
    schemas: ['urn:scim:schemas:core:1.0'],
  };
}
