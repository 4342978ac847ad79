/** Who blocks the deletion of an owner must have the right to hold that owner (`update` of its `finalizers`). */
import type { OwnerReference } from '../../kinds/types/meta.ts';
import { mayAccess } from '../authorize.ts';
import type { Core } from '../core.ts';
import { forbidden } from '../errors.ts';
import { apiVersionOf } from '../registry.ts';
import type { AdmissionPlugin } from './plugin.ts';

export function ownerReferences(core: Core): AdmissionPlugin {
  return {
    name: 'OwnerReferencesPermissionEnforcement',
    validate(request) {
      const { user, object, old, operation } = request;
      if (user === undefined || operation === 'DELETE' || object.metadata.ownerReferences === undefined) return;
      const before = new Set(old?.metadata.ownerReferences?.filter(isBlocking).map(({ uid }) => uid));
      const added = object.metadata.ownerReferences.filter((one) => isBlocking(one) && !before.has(one.uid));
      for (const owner of added) {
        const kind = core.registry
          .all()
          .find((one) => one.kind === owner.kind && apiVersionOf(one) === owner.apiVersion);
        // What is not served cannot be held: garbage collection will see to it.
        if (kind === undefined) continue;
        const access = {
          verb: 'update',
          group: kind.group,
          resource: kind.resource,
          subresource: 'finalizers',
          namespace: kind.namespaced ? request.namespace : '',
          name: owner.name,
        };
        if (!mayAccess(core, user, access))
          throw forbidden(
            request.kind,
            request.name,
            "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: ",
          );
      }
    },
  };
}

function isBlocking({ blockOwnerDeletion }: OwnerReference): boolean {
  return blockOwnerDeletion === true;
}
