/** Which objects belong to a controller's object: adopts those without an owner that match, lets go of own ones that match no more. */
import { orUndefined } from '../client/api-errors.ts';
import type { Client, ClientObject, Informer } from '../client/client.ts';
import type { Stored, TypedResource } from '../kinds/kind.ts';
import { matchesLabelSelector } from '../kinds/selector.ts';
import type { LabelSelector } from '../kinds/types/meta.ts';
import { type PodOwner, referenceTo } from './pod-control.ts';

interface Claim<T extends ClientObject> {
  client: Client;
  resource: TypedResource<T>;
  /** Has `controllerIndex`. */
  objects: Informer<T>;
  owner: PodOwner;
  selector: LabelSelector | undefined;
  /** What an object has for as long as it is the owner's. */
  finalizer?: string | undefined;
  /** Of an orphan that matches: is it one to take? Default: every one. */
  adopts?: (object: Stored<T>) => boolean;
}

/** Undefined where the object is gone, or another under its name: not ours to change any more. */
async function changeOwners<T extends ClientObject>(
  { client, resource }: Claim<T>,
  object: Stored<T>,
  change: Record<string, unknown[]>,
): Promise<Stored<T> | undefined> {
  const lists = Object.entries(change).map(([name, list]) => [name, list.length > 0 ? list : null]);
  const { uid, resourceVersion, name, namespace = '' } = object.metadata;
  const body = { metadata: { uid, resourceVersion, ...Object.fromEntries(lists) } };
  return await orUndefined(client.patch(resource, name, { type: 'merge', body }, { namespace }), 404, 422);
}

export async function claim<T extends ClientObject>(options: Claim<T>): Promise<Stored<T>[]> {
  const { objects, owner, selector, finalizer, adopts } = options;
  const { uid, namespace = '', deletionTimestamp } = owner.metadata;
  const selects = ({ metadata }: Stored<T>): boolean =>
    selector !== undefined && matchesLabelSelector(selector, metadata.labels);
  const owned = objects.byIndex('controller', uid);
  const ours = owned.filter(selects);
  if (deletionTimestamp !== undefined) return ours;
  for (const object of owned) {
    if (ours.includes(object) || object.metadata.deletionTimestamp !== undefined) continue;
    const ownerReferences = object.metadata.ownerReferences?.filter((reference) => reference.uid !== uid) ?? [];
    const finalizers = object.metadata.finalizers?.filter((one) => one !== finalizer) ?? [];
    await changeOwners(options, object, { ownerReferences, ...(finalizer !== undefined && { finalizers }) });
  }
  for (const object of objects.byIndex('controller', `orphan:${namespace}`)) {
    if (object.metadata.deletionTimestamp !== undefined || !selects(object) || adopts?.(object) === false) continue;
    const ownerReferences = [...(object.metadata.ownerReferences ?? []), referenceTo(owner)];
    const finalizers = [...new Set([...(object.metadata.finalizers ?? []), ...(finalizer ? [finalizer] : [])])];
    const adopted = await changeOwners(options, object, {
      ownerReferences,
      ...(finalizer !== undefined && { finalizers }),
    });
    if (adopted) ours.push(adopted);
  }
  return ours;
}
