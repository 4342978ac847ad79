import { createHash } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Role } from '../../resources/types.ts';
import type { Context } from '../api.ts';

/** Undefined where the user has it already: there is one object for each type, user and place, and a second cannot be made. */
export async function grantRole(context: Context, role: Role['spec']): Promise<Stored<Role> | undefined> {
  const { roles } = context.records;
  const key = JSON.stringify([role.type, role.user, role.space ?? role.organization]);
  const hex = createHash('sha256').update(key).digest('hex');
  const guid = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
  if (roles.get(guid)) return undefined;
  return await roles.create({ metadata: { name: guid }, spec: role });
}
