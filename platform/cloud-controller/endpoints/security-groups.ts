/** Security groups: an administrator says what is in them and which count everywhere; managers bind them to their spaces. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { ruleProblems } from '../../network/rules.ts';
import type { SecurityGroup, SecurityRule } from '../../resources/types.ts';
import { type ApiRequest, accepted, type Context, created, type Endpoint, type Json, ok } from '../api.ts';
import { notAuthorized, notFound, unprocessable } from '../errors.ts';
import { type ListOptions, listReply } from '../listing.ts';
import {
  bindSpaces,
  changeSecurityGroup,
  createSecurityGroup,
  deleteSecurityGroup,
  type GroupSpec,
  spacesField,
  unbindSpace,
  type Way,
} from '../operations/security-groups.ts';
import { base, link } from '../present/base.ts';
import { readGuids, Reader } from '../validate.ts';
import { readSpace } from './spaces.ts';

const WAYS: Way[] = ['running', 'staging'];

export function securityGroupEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  /** Those bound spaces that the caller may see. */
  const spacesOf = (request: ApiRequest, { spec }: Stored<SecurityGroup>, way: Way): string[] =>
    spec[spacesField(way)].filter((guid) => {
      const space = records.spaces.get(guid);
      return space !== undefined && access.readsSpace(request.identity, space);
    });
  const reads = (request: ApiRequest, group: Stored<SecurityGroup>): boolean =>
    request.identity.reads !== 'own' ||
    group.spec.globallyRunning ||
    group.spec.globallyStaging ||
    WAYS.some((way) => spacesOf(request, group, way).length > 0);
  const read = (request: ApiRequest): Stored<SecurityGroup> => {
    const group = records.securityGroups.get(request.params.guid ?? '');
    if (!group || !reads(request, group)) throw notFound('Security group');
    return group;
  };
  const write = (request: ApiRequest): Stored<SecurityGroup> => {
    const group = read(request);
    if (!request.identity.admin) throw notAuthorized();
    return group;
  };
  const data = (guids: string[]) => ({ data: guids.map((guid) => ({ guid })) });
  const present = (request: ApiRequest, group: Stored<SecurityGroup>): Json => ({
    ...base(group),
    name: group.spec.displayName,
    rules: group.spec.rules,
    globally_enabled: { running: group.spec.globallyRunning, staging: group.spec.globallyStaging },
    relationships: {
      running_spaces: data(spacesOf(request, group, 'running')),
      staging_spaces: data(spacesOf(request, group, 'staging')),
    },
    links: { self: link(`${urls.api}/v3/security_groups/${group.metadata.name}`) },
  });
  const list = (request: ApiRequest, items: Stored<SecurityGroup>[], filters: ListOptions<SecurityGroup>['filters']) =>
    listReply(context, request, {
      items,
      present: (group) => present(request, group),
      ...(filters ? { filters } : {}),
    });
  const names = (item: Stored<SecurityGroup>, values: string[]) => values.includes(item.spec.displayName);
  /** Spaces that the caller may bind it to, or 422 and 403. */
  const bindable = (request: ApiRequest, guids: string[]): string[] => {
    const unknown = guids.filter((guid) => {
      const space = records.spaces.get(guid);
      return !space || !access.readsSpace(request.identity, space);
    });
    if (unknown.length > 0) {
      throw unprocessable(
        `Spaces with guids ${JSON.stringify(unknown.map((guid) => guid.slice(0, 80)))} do not exist, or you do not have access to them.`,
      );
    }
    for (const guid of guids) {
      const space = records.spaces.get(guid);
      if (!space || !access.managesSpace(request.identity, space)) throw notAuthorized();
    }
    return guids;
  };
  return [
    {
      method: 'GET',
      path: '/v3/security_groups',
      auth: 'user',
      summary: 'List security groups.',
      handle: (request) =>
        list(
          request,
          records.securityGroups.all().filter((group) => reads(request, group)),
          {
            names,
            running_space_guids: (item, values) => item.spec.runningSpaces.some((guid) => values.includes(guid)),
            staging_space_guids: (item, values) => item.spec.stagingSpaces.some((guid) => values.includes(guid)),
            globally_enabled_running: (item, values) => values.includes(String(item.spec.globallyRunning)),
            globally_enabled_staging: (item, values) => values.includes(String(item.spec.globallyStaging)),
          },
        ),
    },
    {
      method: 'POST',
      path: '/v3/security_groups',
      auth: 'admin',
      summary: 'Create a security group.',
      handle: async (request) => {
        const spec = readGroup(request, ['relationships']);
        const relationships = new Reader(request.body)
          .object('relationships')
          ?.only('running_spaces', 'staging_spaces');
        const reader = relationships ?? new Reader({});
        const running = readGuids(reader, reader.body['running_spaces']);
        const staging = readGuids(reader, reader.body['staging_spaces']);
        reader.done();
        const group = await createSecurityGroup(context, {
          displayName: spec.displayName ?? '',
          rules: spec.rules ?? [],
          globallyRunning: spec.globallyRunning ?? false,
          globallyStaging: spec.globallyStaging ?? false,
          runningSpaces: bindable(request, running),
          stagingSpaces: bindable(request, staging),
        });
        return created(present(request, group));
      },
    },
    {
      method: 'GET',
      path: '/v3/security_groups/:guid',
      auth: 'user',
      summary: 'Get a security group.',
      handle: (request) => ok(present(request, read(request))),
    },
    {
      method: 'PATCH',
      path: '/v3/security_groups/:guid',
      auth: 'user',
      summary: 'Change a security group; it counts at once, for what runs too.',
      handle: async (request) => {
        const group = write(request);
        return ok(present(request, await changeSecurityGroup(context, group, readGroup(request, []))));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/security_groups/:guid',
      auth: 'user',
      summary: 'Delete a security group.',
      handle: (request) => {
        const group = write(request);
        const job = context.jobs.start('security_group.delete', () => deleteSecurityGroup(context, group), {
          target: group.metadata.name,
        });
        return accepted(context, job);
      },
    },
    ...WAYS.flatMap((way): Endpoint[] => [
      {
        method: 'POST',
        path: `/v3/security_groups/:guid/relationships/${way}_spaces`,
        auth: 'user',
        summary: `Bind a security group to spaces, for what is ${way === 'running' ? 'running' : 'staged'} there.`,
        handle: async (request) => {
          const group = read(request);
          const reader = new Reader(request.body).only('data');
          const guids = readGuids(reader, request.body);
          if (guids.length === 0) reader.fail('Data must be structured like this: "data": [{"guid": "valid-guid"}]');
          reader.done();
          const bound = await bindSpaces(context, group, way, bindable(request, guids));
          return ok({
            ...data(spacesOf(request, bound, way)),
            links: {
              self: link(`${urls.api}/v3/security_groups/${group.metadata.name}/relationships/${way}_spaces`),
            },
          });
        },
      },
      {
        method: 'DELETE',
        path: `/v3/security_groups/:guid/relationships/${way}_spaces/:space`,
        auth: 'user',
        summary: 'Take a security group from a space.',
        handle: async (request) => {
          const group = read(request);
          const guid = request.params.space ?? '';
          const space = records.spaces.get(guid);
          const seen = space !== undefined && access.readsSpace(request.identity, space);
          if (!seen || !group.spec[spacesField(way)].includes(guid)) {
            throw unprocessable(
              `Unable to unbind security group from space with guid '${guid.slice(0, 80)}'. Ensure the space is bound to this security group.`,
            );
          }
          if (!access.managesSpace(request.identity, space)) throw notAuthorized();
          await unbindSpace(context, group, way, guid);
          return { status: 204 };
        },
      },
      {
        method: 'GET',
        path: `/v3/spaces/:guid/${way}_security_groups`,
        auth: 'user',
        summary: `List the security groups that count for what is ${way === 'running' ? 'running' : 'staged'} in a space.`,
        handle: (request) => {
          const { name } = readSpace(context, request, request.params.guid ?? '').metadata;
          const everywhere = way === 'running' ? 'globallyRunning' : 'globallyStaging';
          const groups = records.securityGroups
            .all()
            .filter(({ spec }) => spec[everywhere] || spec[spacesField(way)].includes(name));
          return list(request, groups, { names });
        },
      },
    ]),
  ];
}

function readGroup(request: ApiRequest, others: string[]): Partial<GroupSpec> {
  const reader = new Reader(request.body).only('name', 'rules', 'globally_enabled', ...others);
  const displayName = reader.name('name', { required: request.method === 'POST' });
  const { rules } = reader.body;
  if (rules !== undefined) for (const problem of ruleProblems(rules)) reader.fail(problem);
  const enabled = reader.object('globally_enabled')?.only('running', 'staging');
  const globallyRunning = enabled?.boolean('running');
  const globallyStaging = enabled?.boolean('staging');
  reader.done();
  return {
    ...(displayName === undefined ? {} : { displayName }),
    ...(rules === undefined ? {} : { rules: rules as SecurityRule[] }),
    ...(globallyRunning === undefined ? {} : { globallyRunning }),
    ...(globallyStaging === undefined ? {} : { globallyStaging }),
  };
}
