/** The parameters that a binding gives its policy (Kubernetes "Parameter resources"). */
import type { ApiObject, KindDefinition } from '../../kinds/kind.ts';
import { matchesLabelSelector } from '../../kinds/selector.ts';
import type { ParamKind, ParamRef } from '../../kinds/types/admissionregistration.ts';
import { kindPrefix, objectKey } from '../cache.ts';
import { shownIn } from '../conversion.ts';
import type { Core } from '../core.ts';
import { apiVersionOf } from '../registry.ts';
import { read } from './lookup.ts';

export interface Params {
  kind: KindDefinition;
  /** Each is judged by alone. */
  objects: ApiObject[];
}

/** Throws an Error whose message is a failure of the policy. */
export async function paramsOf(
  core: Core,
  { apiVersion, kind }: ParamKind,
  ref: ParamRef,
  namespace: string,
): Promise<Params> {
  const found = core.registry.all().find((one) => one.kind === kind && apiVersionOf(one) === apiVersion);
  if (found === undefined) throw new Error('failed to find resource referenced by paramKind: the kind is not served');
  const kept = objectsOf(core, found, ref, namespace);
  const objects = await Promise.all(kept.map((object) => shownIn(core, found, object)));
  if (objects.length === 0 && ref.parameterNotFoundAction === 'Deny')
    throw new Error('no params found for policy binding with `Deny` parameterNotFoundAction');
  return { kind: found, objects };
}

function objectsOf(core: Core, kind: KindDefinition, ref: ParamRef, requested: string): ApiObject[] {
  const namespace = kind.namespaced ? (ref.namespace ?? requested) : '';
  if (kind.namespaced && namespace === '')
    throw new Error('cannot use namespaced paramRef in policy binding that matches cluster-scoped resources');
  const resource = core.cache.resource(kindPrefix(kind));
  if (ref.name !== undefined) {
    const object = resource.objects.get(objectKey(kind, namespace, ref.name));
    return object === undefined ? [] : [read<ApiObject>(object)];
  }
  const { selector } = ref;
  if (selector === undefined) return [];
  return [...resource.list(namespace)]
    .filter(({ labels }) => matchesLabelSelector(selector, labels))
    .map((object) => read<ApiObject>(object));
}
