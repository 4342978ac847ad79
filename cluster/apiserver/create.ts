/** create: a new object, with a generated name where it has none. */
import { randomBytes, randomUUID } from 'node:crypto';
import { cloneJson } from '#lib/clone-json.ts';
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { services } from '../kinds/resources.ts';
import type { Service } from '../kinds/types/core.ts';
import { StoreError } from '../store/store.ts';
import type { AdmissionRequest } from './admission/plugin.ts';
import { decode, readWriteOptions, validate, warn, type WriteOptions } from './admit.ts';
import { kindPrefix, objectKey } from './cache.ts';
import { keptAs } from './conversion.ts';
import type { Core } from './core.ts';
import { alreadyExists, badRequest, methodNotAllowed, StatusError } from './errors.ts';
import type { Exchange } from './exchange.ts';
import { readObject } from './read-body.ts';
import { trackCreation } from './managed-fields.ts';
import { checkNamespace } from './namespaces.ts';
import { servedBytes, storedBytes } from './object-bytes.ts';
import { dropDuplicateOwners } from './owner-duplicates.ts';
import { apiVersionOf } from './registry.ts';
import { respondObject } from './respond.ts';
import type { ResourceRequest } from './route.ts';
import { storageKind } from './stored-form.ts';
import { timestamp } from './timestamp.ts';

const GENERATED_ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';
const GENERATED_BASE_LIMIT = 58;
const GENERATE_ATTEMPTS = 8;
/** Who writes what nobody asked for. */
const SERVER = { name: 'system:apiserver', groups: ['system:masters'] };

export async function create(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  request: ResourceRequest,
): Promise<void> {
  const options = readWriteOptions(exchange, 'CreateOptions');
  const stored = storageKind(core, kind);
  const object = await keptAs(
    core,
    kind,
    stored,
    decode(kind, await readObject(exchange, (doubt) => options.doubts?.push(doubt)), options),
  );
  delete object.metadata.managedFields;
  const bytes = await createObject(core, stored, request.namespace, object, options);
  await respondObject(core, exchange, kind, bytes, 201);
}

/** Returns the served bytes, in the storage version. */
export async function createObject(
  core: Core,
  kind: KindDefinition,
  namespace: string,
  object: ApiObject,
  options: WriteOptions,
): Promise<Buffer> {
  const { metadata } = object;
  if (metadata.resourceVersion) throw badRequest('resourceVersion should not be set on objects to be created');
  if (kind.namespaced) {
    if (namespace === '') throw methodNotAllowed();
    if (metadata.namespace && metadata.namespace !== namespace)
      throw badRequest(
        `the namespace of the provided object does not match the namespace sent on the request (${metadata.namespace} != ${namespace})`,
      );
    metadata.namespace = namespace;
  } else delete metadata.namespace;
  if (core.registry.terminating(kind))
    throw new StatusError(
      405,
      'MethodNotAllowed',
      'create not allowed while custom resource definition is terminating',
    );
  const generated = !metadata.name && Boolean(metadata.generateName);
  for (let attempt = 1; ; attempt++) {
    if (generated) metadata.name = generateName(metadata.generateName ?? '');
    try {
      return await createOnce(core, kind, namespace, cloneJson(object), options);
    } catch (error) {
      const taken = error instanceof StatusError && error.reason === 'AlreadyExists';
      if (!generated || !taken || attempt === GENERATE_ATTEMPTS) throw error;
    }
  }
}

async function createOnce(
  core: Core,
  kind: KindDefinition,
  namespace: string,
  object: ApiObject,
  options: WriteOptions,
): Promise<Buffer> {
  const { metadata } = object;
  const name = metadata.name ?? '';
  if (kind.namespaced) checkNamespace(core, kind, namespace, name);
  metadata.uid = randomUUID();
  metadata.creationTimestamp = timestamp(core.now());
  delete metadata.deletionTimestamp;
  delete metadata.deletionGracePeriodSeconds;
  delete metadata.resourceVersion;
  delete metadata.selfLink;
  if (kind.generation) metadata.generation = 1;
  else delete metadata.generation;
  kind.defaults?.(object);
  const admission = admissionOf(kind, { namespace, name, operation: 'CREATE', subresource: '' }, options, object);
  dropDuplicateOwners(object, options, false);
  await core.admission.mutate(admission);
  dropDuplicateOwners(object, options, true);
  kind.prepareForCreate?.(object, options.user ?? SERVER);
  validate(kind, object);
  warn(kind, options, object);
  const key = objectKey(kind, namespace, name);
  if (core.cache.resource(kindPrefix(kind)).objects.has(key)) throw alreadyExists(kind, name);
  const assigned =
    kind.resource === services.resource && kind.group === ''
      ? core.addresses.assign(object as Service, key)
      : undefined;
  let settle: (() => void) | undefined;
  try {
    if (assigned !== undefined && assigned.errors.length > 0) validate(kind, object, undefined, assigned.errors);
    settle = await core.admission.validate(admission);
    trackCreation(kind, object, options.fieldManager, core.now());
    object.apiVersion = storedApiVersion(core, kind);
    const value = storedBytes(object);
    if (options.dryRun) return value;
    const entry = await core.store.create(key, value);
    await core.cache.reached(entry.revision);
    return servedBytes(value, entry.revision);
  } catch (error) {
    if (error instanceof StoreError && error.code === 'exists') throw alreadyExists(kind, name);
    throw error;
  } finally {
    settle?.();
    assigned?.release();
  }
}

/** A request to admission, from what a write knows. */
export function admissionOf(
  kind: KindDefinition,
  where: Pick<AdmissionRequest, 'namespace' | 'name' | 'operation' | 'subresource'>,
  { user, dryRun, warn, annotate }: Pick<WriteOptions, 'dryRun'> & Partial<WriteOptions>,
  object: ApiObject,
  old?: ApiObject,
): AdmissionRequest {
  const nothing = () => undefined;
  return { ...where, kind, user, dryRun, warn: warn ?? nothing, annotate: annotate ?? nothing, object, old };
}

export function storedApiVersion(core: Core, kind: KindDefinition): string {
  return apiVersionOf({ group: kind.group, version: core.registry.storageVersion(kind) });
}

function generateName(base: string): string {
  let suffix = '';
  for (const byte of randomBytes(5)) suffix += GENERATED_ALPHABET[byte % GENERATED_ALPHABET.length];
  return base.slice(0, GENERATED_BASE_LIMIT) + suffix;
}
