/** update, and the loop that every change of an object goes through. */
import { isDeepStrictEqual } from 'node:util';
import { cloneJson } from '#lib/clone-json.ts';
import { validateEphemeralContainers } from '../kinds/ephemeral-containers.ts';
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { validateMetadata } from '../kinds/metadata.ts';
import { services } from '../kinds/resources.ts';
import type { Pod, Service } from '../kinds/types/core.ts';
import { StoreError } from '../store/store.ts';
import { decode, readWriteOptions, validate, warn, type WriteOptions } from './admit.ts';
import { requireCreate } from './authorize.ts';
import { kindPrefix, objectKey, objectOf } from './cache.ts';
import { keptAs, keptIn } from './conversion.ts';
import type { Core } from './core.ts';
import { admissionOf, createObject, storedApiVersion } from './create.ts';
import { badRequest, conflict, invalidObject, notFound, StatusError } from './errors.ts';
import type { Exchange } from './exchange.ts';
import { readObject } from './read-body.ts';
import { trackUpdate } from './managed-fields.ts';
import { servedBytes, storedBytes } from './object-bytes.ts';
import { dropDuplicateOwners } from './owner-duplicates.ts';
import { respondObject } from './respond.ts';
import type { ResourceRequest } from './route.ts';
import { storageKind } from './stored-form.ts';
import { timestamp } from './timestamp.ts';
import { type Part, writtenPart } from './written-part.ts';

const ATTEMPTS = 8;

export async function update(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  request: ResourceRequest,
): Promise<void> {
  const options = readWriteOptions(exchange, 'UpdateOptions');
  const stored = storageKind(core, kind);
  const sent = await keptAs(
    core,
    kind,
    stored,
    decode(kind, await readObject(exchange, (doubt) => options.doubts?.push(doubt)), options),
  );
  checkIdentity(sent, request.namespace, request.name);
  const part = request.subresource as Part;
  if (kind.createOnUpdate === true && part === '' && !exists(core, stored, request)) {
    const created = await createInstead(core, stored, request, sent, options);
    if (created !== undefined) return respondObject(core, exchange, kind, created, 201);
  }
  const bytes = await changeObject(core, stored, request, options, {
    part,
    wholesale: true,
    change: () => cloneJson(sent),
  });
  await respondObject(core, exchange, kind, bytes);
}

function exists(core: Core, kind: KindDefinition, { namespace, name }: ResourceRequest): boolean {
  return core.cache.resource(kindPrefix(kind)).objects.has(objectKey(kind, namespace, name));
}

/** Undefined when somebody else was faster. What names a revision or an identity means an object that is gone. */
async function createInstead(
  core: Core,
  kind: KindDefinition,
  { namespace, name }: ResourceRequest,
  sent: ApiObject,
  options: WriteOptions,
): Promise<Buffer | undefined> {
  const { resourceVersion, uid } = sent.metadata;
  if (resourceVersion || uid) throw notFound(kind, name);
  requireCreate(core, options.user, kind, { namespace, name });
  const object = cloneJson(sent);
  object.metadata.name = name;
  try {
    return await createObject(core, kind, namespace, object, options);
  } catch (error) {
    if (error instanceof StatusError && error.reason === 'AlreadyExists') return undefined;
    throw error;
  }
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
  /** Written as it is: the change is the server's own, always changes something, and may touch what no client may. */
  unchecked?: boolean;
  /** Admission has judged what was sent, from which the change is made. */
  admitted?: boolean;
  /** The subresource by which managed fields say that it was written, where it is no part of the object. */
  trackedAs?: string;
  /** The whole object was sent, so nobody knows what it was made from but by its resourceVersion. */
  wholesale?: boolean;
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
  return core.turns.take(key, () => changeLocked(core, kind, key, where.name, options, change));
}

async function changeLocked(
  core: Core,
  kind: KindDefinition,
  key: string,
  name: string,
  options: WriteOptions,
  { part, change, tracked, trackedAs, unchecked, admitted, wholesale }: ChangeOptions,
): Promise<Buffer> {
  const resource = core.cache.resource(kindPrefix(kind));
  for (let attempt = 1; ; attempt++) {
    const cached = resource.objects.get(key);
    if (cached === undefined) throw notFound(kind, name);
    const current = await keptIn(core, kind, objectOf(cached));
    // Nothing compares them: one reading will do.
    const old = unchecked === true ? current : cloneJson(current);
    const wanted = await change(current);
    const { resourceVersion, uid } = wanted.metadata;
    if (uid && uid !== old.metadata.uid)
      throw conflict(
        kind,
        name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`,
      );
    if (resourceVersion && resourceVersion !== old.metadata.resourceVersion) throw conflict(kind, name);
    if (kind.needsRevision === true && part === '' && wholesale === true && !resourceVersion)
      throw invalidObject(kind, name, [
        {
          reason: 'FieldValueInvalid',
          field: 'metadata.resourceVersion',
          message: 'Invalid value: 0x0: must be specified for an update',
        },
      ]);
    const byNode = options.user?.groups.includes('system:nodes') === true;
    const time = timestamp(core.now());
    const now = unchecked === true ? wanted : writtenPart(kind, wanted, old, { part, byNode, time });
    const admission = admissionOf(
      kind,
      { namespace: old.metadata.namespace ?? '', name, operation: 'UPDATE', subresource: part },
      options,
      now,
      old,
    );
    if (unchecked !== true) {
      if (wholesale === true) dropDuplicateOwners(now, options, false);
      if (admitted !== true) await core.admission.mutate(admission);
      dropDuplicateOwners(now, options, true);
      validatePart(kind, now, old, part);
      if (part === '') warn(kind, options, now, old);
    }
    const assigned =
      kind.resource === services.resource && kind.group === '' && part === ''
        ? core.addresses.assign(now as Service, key, old as Service)
        : undefined;
    let settle: (() => void) | undefined;
    try {
      if (assigned !== undefined && assigned.errors.length > 0) validate(kind, now, old, assigned.errors);
      if (unchecked !== true && admitted !== true) settle = await core.admission.validate(admission);
      if (tracked !== true)
        trackUpdate(kind, now, old, { ...options, subresource: trackedAs ?? part, time: core.now() });
      if (removable(now)) {
        if (options.dryRun) return servedBytes(storedBytes(now), cached.revision);
        const entry = await core.store.delete(key, cached.revision);
        await core.cache.reached(entry.revision);
        return servedBytes(storedBytes(now), entry.revision);
      }
      if (
        unchecked !== true &&
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
      settle?.();
      assigned?.release();
    }
  }
}

/** Of a subresource: built-in ones were checked by decoding, custom ones have a schema of their own. */
function validatePart(kind: KindDefinition, now: ApiObject, old: ApiObject, part: Part): void {
  if (kind.schema !== undefined || part === '') return validate(kind, now, old);
  const errors = validateMetadata(kind, now.metadata);
  if (part === 'ephemeralcontainers') errors.push(...validateEphemeralContainers(now as Pod, old as Pod));
  if (part === 'finalize') errors.push(...(kind.validate?.(now) ?? []));
  errors.push(...(kind.validateStatus?.(now, old, part) ?? []));
  if (errors.length > 0) throw invalidObject(kind, now.metadata.name ?? '', errors);
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
    return badRequest('the object is nested too deeply, or wrong in too many places');
  if (error instanceof StoreError && error.code === 'unavailable')
    return new StatusError(503, 'ServiceUnavailable', `the store did not take the write: ${error.message}`, undefined, {
      cause: error,
    });
  if (error instanceof StoreError && error.code === 'unknown')
    return new StatusError(
      504,
      'Timeout',
      `Timeout: request did not complete within the allotted time: ${error.message}`,
      undefined,
      { cause: error },
    );
  if (error instanceof StoreError && error.code === 'too-large')
    return new StatusError(413, 'RequestEntityTooLarge', error.message, undefined, { cause: error });
  return new StatusError(
    500,
    'InternalError',
    `Internal error occurred: ${error instanceof Error ? error.message : String(error)}`,
    undefined,
    { cause: error },
  );
}
