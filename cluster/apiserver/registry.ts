/** The kinds that are served now: the built-in ones, and those of CustomResourceDefinitions as they come and go. */
import { builtinKinds } from '../kinds/builtin.ts';
import { type CustomKind, customKinds } from '../kinds/custom.ts';
import type { KindDefinition } from '../kinds/kind.ts';
import type { CustomResourceDefinition } from '../kinds/types/apiextensions.ts';
import { kindPrefix } from './cache.ts';

/** As they are named, which is not always where they are kept. */
const BUILTIN = new Set(builtinKinds.map(({ group, resource }) => kindPrefix({ group, resource })));

export class Registry {
  /** By `group/version/resource`. */
  private readonly kinds = new Map<string, KindDefinition>();
  private readonly byPrefix = new Map<string, KindDefinition>();
  private readonly definitions = new Map<string, { kinds: CustomKind[]; terminating: boolean }>();
  /** Changes whenever the set of kinds does. */
  generation = 1;

  constructor() {
    for (const kind of builtinKinds) this.add(kind);
  }

  find(group: string, version: string, resource: string): KindDefinition | undefined {
    return this.kinds.get(`${group}/${version}/${resource}`);
  }

  /** Any version of a resource. */
  ofPrefix(prefix: string): KindDefinition | undefined {
    return this.byPrefix.get(prefix);
  }

  all(): KindDefinition[] {
    return [...this.kinds.values()];
  }

  /** The version in which a kind's objects are stored. */
  storageVersion(kind: KindDefinition): string {
    return this.byPrefix.get(kindPrefix(kind))?.version ?? kind.version;
  }

  /** Are all its objects kept just as this version shows them? */
  keepsAs(kind: KindDefinition): boolean {
    return kind.stored === undefined && kind.mixedVersions !== true && this.storageVersion(kind) === kind.version;
  }

  /** Is its definition being deleted? Then nothing new is created. */
  terminating(kind: KindDefinition): boolean {
    return this.definitions.get(`${kind.resource}.${kind.group}`)?.terminating ?? false;
  }

  define(definition: CustomResourceDefinition): void {
    const name = definition.metadata.name ?? '';
    this.undefine(name);
    // What is built in stays what it is.
    const kinds = customKinds(definition).filter((kind) => !BUILTIN.has(kindPrefix(kind)));
    this.definitions.set(name, { kinds, terminating: definition.metadata.deletionTimestamp !== undefined });
    for (const kind of kinds) this.add(kind);
    this.generation++;
  }

  undefine(name: string): void {
    for (const kind of this.definitions.get(name)?.kinds ?? []) {
      this.kinds.delete(`${kind.group}/${kind.version}/${kind.resource}`);
      this.byPrefix.delete(kindPrefix(kind));
    }
    this.definitions.delete(name);
    this.generation++;
  }

  private add(kind: KindDefinition): void {
    const custom = kind as Partial<CustomKind>;
    if (custom.served !== false) this.kinds.set(`${kind.group}/${kind.version}/${kind.resource}`, kind);
    if (kind.stored !== undefined) return;
    const prefix = kindPrefix(kind);
    if (custom.storage !== false || !this.byPrefix.has(prefix)) this.byPrefix.set(prefix, kind);
  }
}

export function apiVersionOf(kind: { group: string; version: string }): string {
  return kind.group === '' ? kind.version : `${kind.group}/${kind.version}`;
}
