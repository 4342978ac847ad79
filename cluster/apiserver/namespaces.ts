/** Namespace lifecycle: nothing is created where no namespace is, or where one is going away. */
import { namespaces } from '../kinds/resources.ts';
import { kindPrefix, objectOf } from './cache.ts';
import type { Core } from './core.ts';
import { forbidden, notFound, type ResourceName } from './errors.ts';

export const SYSTEM_NAMESPACES = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];

export function checkNamespace(core: Core, where: ResourceName, namespace: string, name: string): void {
  const prefix = kindPrefix(namespaces);
  const found = core.cache.resource(prefix).objects.get(prefix + namespace);
  if (found === undefined) throw notFound(namespaces, namespace);
  // Only a terminating one has the word in its bytes; the parse is left out for all others.
  if (!found.bytes.includes('"deletionTimestamp"')) return;
  if (objectOf(found).metadata.deletionTimestamp === undefined) return;
  throw forbidden(
    where,
    name,
    `unable to create new content in namespace ${namespace} because it is being terminated`,
    [
      {
        reason: 'NamespaceTerminating',
        message: `namespace ${namespace} is being terminated`,
        field: 'metadata.namespace',
      },
    ],
  );
}
