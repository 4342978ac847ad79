/** An owner that is named twice alike is named once, and whoever wrote it is told, in upstream's words. */
import { isDeepStrictEqual } from 'node:util';
import type { ApiObject } from '../kinds/kind.ts';
import type { WriteOptions } from './admit.ts';

/** @param isAdmitted  by then others may have named them, not only who asked */
export function dropDuplicateOwners(
  { metadata }: ApiObject,
  { warn }: Pick<WriteOptions, 'warn'>,
  isAdmitted: boolean,
): void {
  const owners = metadata.ownerReferences ?? [];
  const isFirst = (index: number): boolean =>
    owners.findIndex((one) => isDeepStrictEqual(one, owners[index])) === index;
  const twice = owners.filter((_owner, index) => !isFirst(index));
  if (twice.length === 0) return;
  metadata.ownerReferences = owners.filter((_owner, index) => isFirst(index));
  warn(
    `.metadata.ownerReferences contains duplicate entries${isAdmitted ? ' after mutating admission happens' : ''}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: ${twice.map(({ uid }) => uid).join(', ')}`,
  );
}
