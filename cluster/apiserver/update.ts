/** update, and the loop that every change of an object goes through. */
import { isDeepStrictEqual } from 'node:util';
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { services } from '../kinds/resources.ts';
import type { Service } from '../kinds/types/core.ts';
import { StoreError } from '../store/store.ts';
import { decode, readWriteOptions, validate, type WriteOptions } from './admit.ts';
import { kindPrefix, objectKey, objectOf } from './cache.ts';
import type { Core } from './core.ts';
import { storedApiVersion } from './create.ts';
import { badRequest, conflict, notFound, StatusError } from './errors.ts';
import { type Exchange, header, readJson } from './exchange.ts';
import { trackUpdate } from './managed-fields.ts';
import { servedBytes, storedBytes } from './object-bytes.ts';
import { apiVersionOf } from './registry.ts';
import { respondObject } from './respond.ts';
import type { ResourceRequest } from './route.ts';

const ATTEMPTS = 8;

/** Which part of an object a write may change. */
export type Part = '' | 'status' | 'finalize';

export async function update(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  request: ResourceRequest,
): Promise<void> {
  const options = readWriteOptions(exchange.query, header(exchange, 'user-agent'), exchange.warnings);
  const sent = decode(kind, await readJson(exchange), options);
  checkIdentity(sent, request.namespace, request.name);
  const bytes = await changeObject(core, kind, request, options, {
    part: request.subresource as Part,
    change: () => structuredClone(sent),
  });
  respondObject(core, exchange, kind, bytes);
}

export function checkIdentity(sent: ApiObject, namespace: string, name: string): void {
  const { metadata } = sent;
  if (metadata.name !== undefined && metadata.name !== '' && metadata.name !== name)
    throw badRequest(`the name of the object (${metadata.name}) does not match the name on the URL (${name})`);
  if (metadata.namespace && namespace !== '' && metadata.namespace !== namespace)
    throw badRequest(
      `the namespace of the object (${metadata.namespace}) does not match the namespace on the request (${namespace})`,
    );
}

export interface ChangeOptions {
  part: Part;
  /** From the current object (its own copy) to the wanted one, decoded. Its resourceVersion, if any, must be current. */
  change: (current: ApiObject) => ApiObject | Promise<ApiObject>;
  /** Who manages which fields was already worked out (server-side apply). */
  tracked?: boolean;
  /** Written as it is: the change is the server's own and may touch what no client may. */
  unchecked?: boolean;
}

/** Returns the served bytes. Tries again when others write at the same time, unless the client named a revision. */
export function changeObject(
  core: Core,
  kind: KindDefinition,
  where: { namespace: string; name: string },
  options: WriteOptions,
  change: ChangeOptions,
): Promise<Buffer> {
  const key = objectKey(kind, where.namespace, where.name);
  return core.locks.run(key, () => changeLocked(core, kind, key, where.name, options, change));
}

async function changeLocked(
  core: Core,
  kind: KindDefinition,
  key: string,
  name: string,
  options: WriteOptions,
  { part, change, tracked, unchecked }: ChangeOptions,
): Promise<Buffer> {
  const resource = core.cache.resource(kindPrefix(kind));
  for (let attempt = 1; ; attempt++) {
    const cached = resource.objects.get(key);
    if (cached === undefined) throw notFound(kind, name);
    const old = objectOf(cached);
    old.apiVersion = apiVersionOf(kind);
    const current = objectOf(cached);
    current.apiVersion = old.apiVersion;
    const wanted = await change(current);
    const { resourceVersion, uid } = wanted.metadata;
    if (uid && uid !== old.metadata.uid)
      throw conflict(
        kind,
        name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`,
      );
    if (resourceVersion && resourceVersion !== old.metadata.resourceVersion) throw conflict(kind, name);
    const now = unchecked === true ? wanted : merge(kind, wanted, old, part);
    if (part === 'status') validateStatus(kind, now);
    else if (unchecked !== true) validate(kind, now, old);
    const assigned =
      kind.resource === services.resource && kind.group === '' && part === ''
        ? core.addresses.assign(now as Service, key)
        : undefined;
    try {
      if (assigned !== undefined && assigned.errors.length > 0) validate(kind, now, old, assigned.errors);
      if (tracked !== true) trackUpdate(kind, now, old, options.fieldManager, part, core.now());
      if (removable(now)) {
        if (options.dryRun) return servedBytes(storedBytes(now), cached.revision);
        const entry = await core.store.delete(key, cached.revision);
        await core.cache.reached(entry.revision);
        return servedBytes(storedBytes(now), entry.revision);
      }
      if (
        isDeepStrictEqual(
          { ...now, metadata: { ...now.metadata, resourceVersion } },
          { ...old, metadata: { ...old.metadata, resourceVersion } },
        )
      )
        return cached.bytes;
      now.apiVersion = storedApiVersion(core, kind);
      const value = storedBytes(now);
      if (options.dryRun) return servedBytes(value, cached.revision);
      const entry = await core.store.update(key, value, cached.revision);
      await core.cache.reached(entry.revision);
      return servedBytes(value, entry.revision);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (error.code === 'not-found') throw notFound(kind, name);
      if (error.code !== 'conflict') throw error;
      if (resourceVersion || attempt === ATTEMPTS) throw conflict(kind, name);
      if (error.entry !== undefined) await core.cache.reached(error.entry.revision);
    } finally {
      assigned?.release();
    }
  }
}

/** What is written of what was sent: only the part that this write may change, and never what the server holds. */
function merge(kind: KindDefinition, wanted: ApiObject, old: ApiObject, part: Part): ApiObject {
  if (part === 'status') {
    const now = { ...structuredClone(old) };
    if (wanted['status'] === undefined) delete now['status'];
    else now['status'] = wanted['status'];
    if (wanted.metadata.managedFields !== undefined) now.metadata.managedFields = wanted.metadata.managedFields;
    return now;
  }
  if (part === 'finalize') {
    const now = structuredClone(old);
    now['spec'] = wanted['spec'] ?? {};
    return now;
  }
  const now = wanted;
  const { metadata } = now;
  metadata.name ||= old.metadata.name ?? '';
  if (kind.namespaced && old.metadata.namespace !== undefined) metadata.namespace ||= old.metadata.namespace;
  if (!kind.namespaced) delete metadata.namespace;
  keep(metadata, old.metadata, [
    'uid',
    'creationTimestamp',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
    'generation',
    'generateName',
  ]);
  delete metadata.selfLink;
  if (metadata.managedFields === undefined && old.metadata.managedFields !== undefined)
    metadata.managedFields = old.metadata.managedFields;
  if (kind.subresources.status) {
    if (old['status'] === undefined) delete now['status'];
    else now['status'] = structuredClone(old['status']);
  }
  kind.defaults?.(now);
  kind.prepareForUpdate?.(now, structuredClone(old));
  if (kind.generation && !isDeepStrictEqual(desired(now), desired(old)))
    metadata.generation = (old.metadata.generation ?? 0) + 1;
  return now;
}

function keep<T extends object>(now: T, old: T, fields: (keyof T)[]): void {
  for (const field of fields) {
    if (old[field] === undefined) delete now[field];
    else now[field] = old[field];
  }
}

function desired(object: ApiObject): object {
  const { metadata: _metadata, status: _status, ...rest } = object;
  return rest;
}

function validateStatus(kind: KindDefinition, object: ApiObject): void {
  // Built-in statuses were checked by decoding; custom ones have a schema of their own.
  if (kind.schema !== undefined) validate(kind, object);
}

/** Being deleted, and nothing holds it any more. */
export function removable(object: ApiObject): boolean {
  const { deletionTimestamp, finalizers, deletionGracePeriodSeconds } = object.metadata;
  if (deletionTimestamp === undefined || (finalizers ?? []).length > 0) return false;
  if (object.kind === 'Namespace' && object.apiVersion === 'v1') {
    const { finalizers: held } = (object['spec'] ?? {}) as { finalizers?: string[] };
    if ((held ?? []).length > 0) return false;
  }
  return (deletionGracePeriodSeconds ?? 0) === 0;
}

export function asStatusError(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  if (error instanceof RangeError && /call stack/i.test(error.message))
    return badRequest('the object is nested too deeply');
  if (error instanceof StoreError && error.code === 'unavailable')
    return new StatusError(503, 'ServiceUnavailable', `the store did not take the write: ${error.message}`, undefined, {
      cause: error,
    });
  return new StatusError(
    500,
    'InternalError',
    `Internal error occurred: ${error instanceof Error ? error.message : String(error)}`,
    undefined,
    { cause: error },
  );
}
