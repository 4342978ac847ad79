/** Follows CustomResourceDefinitions: serves what they define at once, and removes its objects before they go. */
import { CUSTOM_RESOURCE_CLEANUP } from '../kinds/custom-resource-definition.ts';
import type { ApiObject } from '../kinds/kind.ts';
import { customResourceDefinitions } from '../kinds/resources.ts';
import type { Schema } from '../kinds/schema.ts';
import { prune } from '../kinds/structural.ts';
import type { CustomResourceDefinition } from '../kinds/types/apiextensions.ts';
import { kindPrefix, objectOf } from './cache.ts';
import type { Core } from './core.ts';
import { deleteObject } from './delete.ts';
import { StatusError } from './errors.ts';
import { apiVersionOf } from './registry.ts';
import { timestamp } from './timestamp.ts';
import { changeObject } from './update.ts';

const OWN_WRITE = {
  dryRun: false,
  fieldValidation: 'Ignore' as const,
  fieldManager: 'apiserver',
  warn: () => undefined,
};

/** Call once, when the cache is filled. */
export function followDefinitions(core: Core): void {
  const resource = core.cache.resource(kindPrefix(customResourceDefinitions));
  const all = () =>
    [...resource.objects.values()].map((object) => objectOf(object) as unknown as CustomResourceDefinition);
  const shapes = new Map<string, string>();
  const apply = (definition: CustomResourceDefinition, others: CustomResourceDefinition[]) => {
    const conflict = nameConflict(definition, others);
    if (conflict === undefined) {
      core.registry.define(definition);
      showAsDefined(core, definition, shapes);
    } else core.registry.undefine(definition.metadata.name ?? '');
    if (conflict?.text !== said(definition)) writeNames(core, definition, conflict);
    if (definition.metadata.deletionTimestamp !== undefined) cleanUp(core, definition);
  };
  const applyAll = () => {
    const definitions = all();
    for (const definition of definitions) apply(definition, definitions);
  };
  applyAll();
  resource.listeners.add((change) => {
    // Names that it had may be another's now.
    if (change.type === 'delete') {
      core.registry.undefine(change.object.name);
      shapes.delete(change.object.name);
    }
    applyAll();
  });
}

/** Objects may be older than the schema: what it drops or fills in is so whenever they are read. */
function showAsDefined(core: Core, { metadata, spec }: CustomResourceDefinition, shapes: Map<string, string>): void {
  const { name = '', uid, generation } = metadata;
  const shape = `${uid} ${generation}`;
  const prefix = kindPrefix({ group: spec.group, resource: spec.names.plural });
  const kind = core.registry.ofPrefix(prefix);
  if (shapes.get(name) === shape || kind?.schema === undefined) return;
  shapes.set(name, shape);
  const { schema } = kind;
  core.cache.resource(prefix).reshape((object) => {
    // Of another version, whose fields are others.
    if (kind.conversion !== undefined && object.apiVersion !== apiVersionOf(kind)) return;
    prune(object, schema as Schema);
    kind.defaults?.(object);
  });
}

interface NameConflict {
  reason: string;
  text: string;
}

/** With a definition of the same group that is older. */
function nameConflict(
  definition: CustomResourceDefinition,
  others: CustomResourceDefinition[],
): NameConflict | undefined {
  const { group, names } = definition.spec;
  const taken = { resources: new Set<string>(), kinds: new Set<string>() };
  for (const other of others) {
    if (other.spec.group !== group || !isOlder(other, definition, others)) continue;
    const { plural, singular, shortNames, kind, listKind } = other.spec.names;
    for (const name of [plural, singular, ...(shortNames ?? [])]) if (name) taken.resources.add(name);
    for (const name of [kind, listKind]) if (name) taken.kinds.add(name);
  }
  const { plural, singular, shortNames, kind, listKind } = names;
  const asked: [string, string | undefined, Set<string>][] = [
    ['PluralConflict', plural, taken.resources],
    ['SingularConflict', singular, taken.resources],
    ...(shortNames ?? []).map((name): [string, string, Set<string>] => ['ShortNamesConflict', name, taken.resources]),
    ['KindConflict', kind, taken.kinds],
    ['ListKindConflict', listKind, taken.kinds],
  ];
  const found = asked.find(([, name, names]) => name !== undefined && names.has(name));
  return found === undefined ? undefined : { reason: found[0], text: `${JSON.stringify(found[1])} is already in use` };
}

/** Times have seconds: of two of one second the one that has its names keeps them, else the first that came. */
function isOlder(
  one: CustomResourceDefinition,
  other: CustomResourceDefinition,
  all: CustomResourceDefinition[],
): boolean {
  const place = (definition: CustomResourceDefinition) => [
    definition.metadata.creationTimestamp ?? '',
    said(definition) === undefined ? 0 : 1,
    all.indexOf(definition),
  ];
  const [left, right] = [place(one), place(other)];
  const differs = left.findIndex((value, index) => value !== right[index]);
  return differs >= 0 && (left[differs] ?? 0) < (right[differs] ?? 0);
}

function said({ status }: CustomResourceDefinition): string | undefined {
  const names = status?.conditions?.find(({ type }) => type === 'NamesAccepted');
  return names?.status === 'False' ? names.message : undefined;
}

function writeNames(core: Core, definition: CustomResourceDefinition, conflict: NameConflict | undefined): void {
  const kind = core.registry.find('apiextensions.k8s.io', 'v1', 'customresourcedefinitions');
  if (kind === undefined) return;
  const change = (current: ApiObject) => {
    const { status } = current as unknown as CustomResourceDefinition;
    const set = (type: string, holds: boolean, reason: string, message: string) => {
      const condition = status?.conditions?.find((one) => one.type === type);
      if (condition === undefined) return;
      Object.assign(condition, { status: holds ? 'True' : 'False', reason, message });
      condition.lastTransitionTime = timestamp(core.now());
    };
    set(
      'NamesAccepted',
      conflict === undefined,
      conflict?.reason ?? 'NoConflicts',
      conflict?.text ?? 'no conflicts found',
    );
    if (conflict === undefined)
      set('Established', true, 'InitialNamesAccepted', 'the initial names have been accepted');
    else set('Established', false, 'NotAccepted', 'not all names are accepted');
    delete current.metadata.resourceVersion;
    return current;
  };
  const where = { namespace: '', name: definition.metadata.name ?? '' };
  ignoreNotFound(changeObject(core, kind, where, OWN_WRITE, { part: 'status', change })).catch((error: unknown) => {
    core.log('error', 'the status of a custom resource definition could not be written', {
      name: where.name,
      error: String(error),
    });
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
  await ignoreNotFound(
    changeObject(core, definitionKind, { namespace: '', name: definition.metadata.name ?? '' }, OWN_WRITE, {
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
