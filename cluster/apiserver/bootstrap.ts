/** What a cluster has before anybody asks for it: its own namespaces. */
import type { ApiObject } from '../kinds/kind.ts';
import { kindPrefix, objectKey } from './cache.ts';
import type { Core } from './core.ts';
import { createObject } from './create.ts';
import { SYSTEM_NAMESPACES } from './namespaces.ts';

export async function createSystemNamespaces(core: Core): Promise<void> {
  const kind = core.registry.find('', 'v1', 'namespaces');
  if (kind === undefined) return;
  const options = {
    dryRun: false,
    fieldValidation: 'Ignore' as const,
    fieldManager: 'apiserver',
    warn: () => undefined,
  };
  const { objects } = core.cache.resource(kindPrefix(kind));
  const missing = SYSTEM_NAMESPACES.filter((name) => !objects.has(objectKey(kind, '', name)));
  await Promise.all(
    missing.map((name) => {
      const object: ApiObject = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
      return createObject(core, kind, '', object, options);
    }),
  );
}
