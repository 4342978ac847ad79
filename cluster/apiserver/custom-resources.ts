/** Follows CustomResourceDefinitions: serves what they define at once, and removes its objects before they go. */
import { CUSTOM_RESOURCE_CLEANUP } from '../kinds/custom-resource-definition.ts';
import { customResourceDefinitions } from '../kinds/resources.ts';
import type { CustomResourceDefinition } from '../kinds/types/apiextensions.ts';
import { type CachedObject, kindPrefix, objectOf } from './cache.ts';
import type { Core } from './core.ts';
import { deleteObject } from './delete.ts';
import { StatusError } from './errors.ts';
import { changeObject } from './update.ts';

/** Call once, when the cache is filled. */
export function followDefinitions(core: Core): void {
  const resource = core.cache.resource(kindPrefix(customResourceDefinitions));
  const apply = (object: CachedObject) => {
    const definition = objectOf(object) as unknown as CustomResourceDefinition;
    core.registry.define(definition);
    if (definition.metadata.deletionTimestamp !== undefined) cleanUp(core, definition);
  };
  for (const object of resource.objects.values()) apply(object);
  resource.listeners.add((change) => {
    if (change.type === 'delete') core.registry.undefine(change.object.name);
    else apply(change.object);
  });
}

const running = new WeakMap<Core, Set<string>>();

/** Objects with finalizers of their own hold the definition until they are gone. */
function cleanUp(core: Core, definition: CustomResourceDefinition): void {
  const name = definition.metadata.name ?? '';
  const names = running.get(core) ?? new Set();
  running.set(core, names);
  if (names.has(name) || !definition.metadata.finalizers?.includes(CUSTOM_RESOURCE_CLEANUP)) return;
  names.add(name);
  removeAll(core, definition)
    .catch((error: unknown) => {
      core.log('error', 'the objects of a custom resource definition could not be removed', {
        name,
        error: String(error),
      });
    })
    .finally(() => names.delete(name));
}

async function removeAll(core: Core, definition: CustomResourceDefinition): Promise<void> {
  const prefix = kindPrefix({ group: definition.spec.group, resource: definition.spec.names.plural });
  const resource = core.cache.resource(prefix);
  const kind = core.registry.ofPrefix(prefix);
  if (kind !== undefined) {
    for (const object of resource.objects.values())
      await ignoreNotFound(deleteObject(core, kind, object, {}, { dryRun: false }));
    if (resource.objects.size > 0) await emptied(resource);
  }
  const definitionKind = core.registry.find('apiextensions.k8s.io', 'v1', 'customresourcedefinitions');
  if (definitionKind === undefined) return;
  const options = {
    dryRun: false,
    fieldValidation: 'Ignore' as const,
    fieldManager: 'apiserver',
    warn: () => undefined,
  };
  await ignoreNotFound(
    changeObject(core, definitionKind, { namespace: '', name: definition.metadata.name ?? '' }, options, {
      part: '',
      change: (current) => {
        current.metadata.finalizers = (current.metadata.finalizers ?? []).filter(
          (one) => one !== CUSTOM_RESOURCE_CLEANUP,
        );
        delete current.metadata.resourceVersion;
        return current;
      },
    }),
  );
}

function emptied(resource: ReturnType<Core['cache']['resource']>): Promise<void> {
  return new Promise((resolve) => {
    const listener = () => {
      if (resource.objects.size > 0) return;
      resource.listeners.delete(listener);
      resolve();
    };
    resource.listeners.add(listener);
  });
}

async function ignoreNotFound(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof StatusError && error.reason === 'NotFound')) throw error;
  }
}
