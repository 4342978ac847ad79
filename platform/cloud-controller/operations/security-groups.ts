/** Security groups: made, bound to spaces, and taken from them. What they mean for packets is `platform/network`'s. */
import { randomUUID } from 'node:crypto';
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { DEFAULT_GROUPS } from '../../network/network.ts';
import { configMaps } from '../../resources/kubernetes.ts';
import { type SecurityGroup, systemNamespace } from '../../resources/types.ts';
import type { Context } from '../api.ts';
import { CloudFoundryError } from '../errors.ts';

export type GroupSpec = SecurityGroup['spec'];

const RESERVATION = 'securitygroup';

function taken(name: string): CloudFoundryError {
  return new CloudFoundryError('UnprocessableEntity', `Security group with name '${name}' already exists.`);
}

export async function createSecurityGroup(context: Context, spec: GroupSpec): Promise<Stored<SecurityGroup>> {
  const name = randomUUID();
  const holder = { resource: 'securitygroups', name };
  const key = [spec.displayName];
  if (!(await context.reservations.take(RESERVATION, key, holder))) throw taken(spec.displayName);
  try {
    return await context.records.securityGroups.create({ metadata: { name }, spec });
  } catch (error) {
    await context.reservations.release(RESERVATION, key, holder);
    throw error;
  }
}

export async function changeSecurityGroup(
  context: Context,
  group: Stored<SecurityGroup>,
  change: Partial<GroupSpec>,
): Promise<Stored<SecurityGroup>> {
  const { name } = group.metadata;
  const holder = { resource: 'securitygroups', name };
  const old = group.spec.displayName;
  const renamed = change.displayName !== undefined && change.displayName !== old;
  if (renamed && !(await context.reservations.take(RESERVATION, [change.displayName ?? ''], holder))) {
    throw taken(change.displayName ?? '');
  }
  const changed = await context.records.securityGroups.modify(name, (current) => ({
    ...current,
    spec: { ...current.spec, ...change },
  }));
  if (renamed) await context.reservations.release(RESERVATION, [old], holder);
  return changed;
}

export async function deleteSecurityGroup(context: Context, group: Stored<SecurityGroup>): Promise<void> {
  const { name } = group.metadata;
  await context.records.securityGroups.delete(name);
  await context.reservations.release(RESERVATION, [group.spec.displayName], { resource: 'securitygroups', name });
}

export type Way = 'running' | 'staging';

export function spacesField(way: Way): 'runningSpaces' | 'stagingSpaces' {
  return way === 'running' ? 'runningSpaces' : 'stagingSpaces';
}

export function bindSpaces(
  context: Context,
  group: Stored<SecurityGroup>,
  way: Way,
  spaces: readonly string[],
): Promise<Stored<SecurityGroup>> {
  const field = spacesField(way);
  return context.records.securityGroups.modify(group.metadata.name, (current) => {
    const bound = [...new Set([...current.spec[field], ...spaces])];
    return bound.length === current.spec[field].length
      ? undefined
      : { ...current, spec: { ...current.spec, [field]: bound } };
  });
}

export async function unbindSpace(
  context: Context,
  group: Stored<SecurityGroup>,
  way: Way,
  space: string,
): Promise<void> {
  const field = spacesField(way);
  await context.records.securityGroups.modify(group.metadata.name, (current) => ({
    ...current,
    spec: { ...current.spec, [field]: current.spec[field].filter((guid) => guid !== space) },
  }));
}

/** Once in the life of a platform: those that an administrator takes away stay away. */
export async function ensureDefaultGroups(context: Context): Promise<void> {
  const { client, records } = context;
  const mark = { metadata: { name: 'default-security-groups', namespace: systemNamespace } };
  const made = await orUndefined(client.get(configMaps, mark.metadata.name, systemNamespace));
  if (made) return;
  const known = new Set(records.securityGroups.all().map(({ spec }) => spec.displayName));
  for (const { name, rules } of DEFAULT_GROUPS.filter((group) => !known.has(group.name))) {
    const everywhere = { globallyRunning: true, globallyStaging: true, runningSpaces: [], stagingSpaces: [] };
    await createSecurityGroup(context, { displayName: name, rules, ...everywhere });
  }
  await client.create(configMaps, mark);
}
