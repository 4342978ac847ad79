/**
 * Between the form in which a client names an object's kind and the one in which it is kept: another version of the group
 * with the same fields, or a kind with fields of its own (`StoredForm`).
 */
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { kindPrefix } from './cache.ts';
import type { Core } from './core.ts';
import { parseObject, underVersion } from './object-bytes.ts';
import { apiVersionOf } from './registry.ts';

/** The kind by whose rules objects are checked and kept; itself for all but a few. */
export function storageKind(core: Core, kind: KindDefinition): KindDefinition {
  if (kind.conversion !== undefined) return core.registry.ofPrefix(kindPrefix(kind)) ?? kind;
  if (kind.stored === undefined) return kind;
  const { group, version, resource } = kind.stored.as;
  return core.registry.find(group, version, resource) ?? kind;
}

/** What a client sent, decoded, as it is kept. */
export function toStoredForm(kind: KindDefinition, object: ApiObject): ApiObject {
  if (kind.stored === undefined) return object;
  return { ...kind.stored.write(object), apiVersion: apiVersionOf(kind.stored.as), kind: kind.stored.as.kind };
}

/** A kept object as its client knows it. */
export function toShownForm(kind: KindDefinition, stored: ApiObject): ApiObject {
  const shown = kind.stored === undefined ? stored : kind.stored.read(stored);
  return { ...shown, apiVersion: apiVersionOf(kind), kind: kind.kind };
}

/** The served bytes of an object, for most kinds those that lie there. */
export function shownBytes(kind: KindDefinition, bytes: Buffer): Buffer {
  if (kind.stored === undefined) return underVersion(bytes, apiVersionOf(kind));
  return Buffer.from(JSON.stringify(toShownForm(kind, parseObject(bytes))));
}
