import type { Stored } from '#cluster/kinds/kind.ts';
import { nameGuid } from '#lib/name-guid.ts';
import type { Role } from '../../resources/types.ts';
import type { Context } from '../api.ts';

/** Undefined where the user has it already: there is one object for each type, user and place, and a second cannot be made. */
export async function grantRole(context: Context, role: Role['spec']): Promise<Stored<Role> | undefined> {
  const { roles } = context.records;
  const guid = nameGuid(JSON.stringify([role.type, role.user, role.space ?? role.organization]));
  if (roles.get(guid)) return undefined;
  return await roles.create({ metadata: { name: guid }, spec: role });
}
