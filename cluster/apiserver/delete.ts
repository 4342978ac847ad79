/** delete and deletecollection: at once, after a grace period, or when the last finalizer is gone. */
import { cloneJson } from '#lib/clone-json.ts';
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import type { FieldError } from '../kinds/field-error.ts';
import { invalid, notSupported } from '../kinds/field-errors.ts';
import { StoreError } from '../store/store.ts';
import { readWriteOptions, type WriteOptions } from './admit.ts';
import { type CachedObject, kindPrefix, objectKey, objectOf } from './cache.ts';
import { cachedIn, keptIn } from './conversion.ts';
import type { Core } from './core.ts';
import { admissionOf, storedApiVersion } from './create.ts';
import { timestamp } from './timestamp.ts';
import { badRequest, conflict, invalidObject, notFound, StatusError } from './errors.ts';
import { type Exchange, send, sendJson, success } from './exchange.ts';
import { readOptional } from './read-body.ts';
import { listBytes } from './list.ts';
import { servedBytes, storedBytes } from './object-bytes.ts';
import { respondObject } from './respond.ts';
import type { ResourceRequest } from './route.ts';
import { readSelection } from './selection.ts';
import { storageKind } from './stored-form.ts';
import { removable } from './update.ts';

const ATTEMPTS = 8;
const FOREGROUND = 'foregroundDeletion';
const ORPHAN = 'orphan';

export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: string;
  preconditions?: { uid?: string; resourceVersion?: string };
}

/** Who deletes, and whether it is meant. */
export interface DeleteContext extends Pick<WriteOptions, 'dryRun'>, Partial<Omit<WriteOptions, 'dryRun'>> {
  /** Admission has judged what was sent, which the delete is made of. */
  admitted?: true;
}

export type Deleted =
  | { gone: true; object: ApiObject }
  /** Still there: served as it is now. */
  | { gone: false; bytes: Buffer };

export async function remove(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  request: ResourceRequest,
): Promise<void> {
  const writeOptions = readWriteOptions(exchange, 'DeleteOptions');
  const { options, dryRun } = await readDeleteOptions(exchange);
  writeOptions.dryRun ||= dryRun;
  const stored = storageKind(core, kind);
  if (kind.orphansByDefault === true && options.propagationPolicy === undefined) {
    options.propagationPolicy = 'Orphan';
    writeOptions.warn(
      `child pods are preserved by default when ${kind.resource} are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning`,
    );
  }
  const deleted = await deleteObject(core, stored, request, options, writeOptions);
  if (!deleted.gone) return respondObject(core, exchange, kind, deleted.bytes);
  if (kind.returnsDeleted === true)
    return respondObject(core, exchange, kind, Buffer.from(JSON.stringify(deleted.object)));
  const { name = '', uid = '' } = deleted.object.metadata;
  sendJson(
    exchange,
    200,
    success({ name, ...(kind.group === '' ? {} : { group: kind.group }), kind: kind.resource, uid }),
  );
}

export async function removeCollection(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  request: ResourceRequest,
): Promise<void> {
  const writeOptions = readWriteOptions(exchange, 'DeleteOptions');
  const { options, dryRun } = await readDeleteOptions(exchange);
  writeOptions.dryRun ||= dryRun;
  const selection = readSelection(kind, request.namespace, '', exchange.query);
  const stored = storageKind(core, kind);
  const matched: CachedObject[] = [];
  for (const object of core.cache.resource(kindPrefix(kind)).list(request.namespace))
    if (selection.matches(object)) matched.push(object);
  await Promise.all(
    matched.map((object) =>
      deleteObject(core, stored, object, options, writeOptions).catch((error: unknown) => {
        if (!(error instanceof StatusError && error.reason === 'NotFound')) throw error;
      }),
    ),
  );
  const shown = kind.conversion === undefined ? matched : await cachedIn(core, kind, matched);
  send(exchange, 200, listBytes(core, kind, shown, { resourceVersion: String(core.cache.revision) }));
}

export function deleteObject(
  core: Core,
  kind: KindDefinition,
  where: { namespace: string; name: string },
  options: DeleteOptions,
  context: DeleteContext,
): Promise<Deleted> {
  const key = objectKey(kind, where.namespace, where.name);
  return core.turns.take(key, () => deleteLocked(core, kind, key, where, options, context));
}

async function deleteLocked(
  core: Core,
  kind: KindDefinition,
  key: string,
  { namespace, name }: { namespace: string; name: string },
  options: DeleteOptions,
  context: DeleteContext,
): Promise<Deleted> {
  const { dryRun } = context;
  const resource = core.cache.resource(kindPrefix(kind));
  for (let attempt = 1; ; attempt++) {
    const cached = resource.objects.get(key);
    if (cached === undefined) throw notFound(kind, name);
    const old = await keptIn(core, kind, objectOf(cached));
    checkPreconditions(kind, old, options.preconditions);
    const now = marked(core, kind, old, options);
    const where = { namespace, name, operation: 'DELETE', subresource: '' } as const;
    const judged = context.admitted === true ? undefined : admissionOf(kind, where, context, old, old);
    const settle = judged && (await core.admission.validate(judged));
    try {
      if (removable(now)) {
        if (!dryRun) {
          const entry = await core.store.delete(key, cached.revision);
          await core.cache.reached(entry.revision);
        }
        return { gone: true, object: old };
      }
      now.apiVersion = storedApiVersion(core, kind);
      const value = storedBytes(now);
      const unchanged = servedBytes(value, cached.revision).equals(cached.bytes);
      if (unchanged || dryRun)
        return { gone: false, bytes: unchanged ? cached.bytes : servedBytes(value, cached.revision) };
      const entry = await core.store.update(key, value, cached.revision);
      await core.cache.reached(entry.revision);
      return { gone: false, bytes: servedBytes(value, entry.revision) };
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (error.code === 'not-found') throw notFound(kind, name);
      if (error.code !== 'conflict') throw error;
      if (attempt === ATTEMPTS) throw conflict(kind, name);
      if (error.entry !== undefined) await core.cache.reached(error.entry.revision);
    } finally {
      settle?.();
    }
  }
}

function checkPreconditions(
  kind: KindDefinition,
  { metadata }: ApiObject,
  preconditions: DeleteOptions['preconditions'],
): void {
  const name = metadata.name ?? '';
  if (preconditions?.uid && preconditions.uid !== metadata.uid)
    throw conflict(
      kind,
      name,
      `Precondition failed: UID in precondition: ${preconditions.uid}, UID in object meta: ${metadata.uid}`,
    );
  if (preconditions?.resourceVersion && preconditions.resourceVersion !== metadata.resourceVersion)
    throw conflict(
      kind,
      name,
      `Precondition failed: ResourceVersion in precondition: ${preconditions.resourceVersion}, ResourceVersion in object meta: ${metadata.resourceVersion}`,
    );
}

/** The object as it is while it is being deleted. A second delete can only make the grace shorter. */
function marked(core: Core, kind: KindDefinition, old: ApiObject, options: DeleteOptions): ApiObject {
  const now = cloneJson(old);
  const { metadata } = now;
  const usual = kind.gracePeriod?.(old);
  const grace = usual === undefined ? 0 : Math.max(0, options.gracePeriodSeconds ?? usual);
  const finalizers = new Set(metadata.finalizers);
  if (options.propagationPolicy !== undefined) {
    finalizers.delete(FOREGROUND);
    finalizers.delete(ORPHAN);
    if (options.propagationPolicy === 'Foreground') finalizers.add(FOREGROUND);
    if (options.propagationPolicy === 'Orphan') finalizers.add(ORPHAN);
    if (finalizers.size > 0) metadata.finalizers = [...finalizers];
    else delete metadata.finalizers;
  }
  if (metadata.deletionTimestamp === undefined) {
    metadata.deletionTimestamp = timestamp(core.now() + grace * 1000);
    metadata.deletionGracePeriodSeconds = grace;
    if (kind.generation && metadata.generation !== undefined) metadata.generation++;
  } else if (grace < (metadata.deletionGracePeriodSeconds ?? 0)) {
    const asked = Date.parse(metadata.deletionTimestamp) - (metadata.deletionGracePeriodSeconds ?? 0) * 1000;
    metadata.deletionTimestamp = timestamp(asked + grace * 1000);
    metadata.deletionGracePeriodSeconds = grace;
  }
  if (kind.kind === 'Namespace' && kind.group === '')
    now['status'] = { ...(now['status'] as object), phase: 'Terminating' };
  return now;
}

const POLICIES = ['Foreground', 'Background', 'Orphan'];

async function readDeleteOptions(exchange: Exchange): Promise<{ options: DeleteOptions; dryRun: boolean }> {
  return deleteOptions(await readOptional(exchange), exchange.query);
}

/** Of a body, and of a query where that says nothing. Throws 422. */
export function deleteOptions(
  sent: Record<string, unknown>,
  query: URLSearchParams,
): { options: DeleteOptions; dryRun: boolean } {
  const options: DeleteOptions = {};
  const errors: FieldError[] = [];
  const grace = sent['gracePeriodSeconds'] ?? query.get('gracePeriodSeconds') ?? undefined;
  if (grace !== undefined) {
    options.gracePeriodSeconds = Number(grace);
    if (!Number.isInteger(options.gracePeriodSeconds))
      throw badRequest(`gracePeriodSeconds: Invalid value: "${String(grace)}": must be a whole number`);
    // A negative one means at once, as upstream takes it.
    if (options.gracePeriodSeconds < 0) options.gracePeriodSeconds = 1;
  }
  const orphan = sent['orphanDependents'] ?? query.get('orphanDependents') ?? undefined;
  const policy = sent['propagationPolicy'] ?? query.get('propagationPolicy') ?? undefined;
  if (orphan !== undefined && policy !== undefined)
    errors.push(invalid('propagationPolicy', policy, 'orphanDependents and deletionPropagation cannot be both set'));
  else if (policy !== undefined && !POLICIES.includes(String(policy)))
    errors.push(notSupported('propagationPolicy', policy, [...POLICIES, 'nil']));
  const dryRun = Array.isArray(sent['dryRun']) ? sent['dryRun'] : [];
  if (dryRun.some((value) => value !== 'All')) errors.push(notSupported('dryRun', dryRun, ['All']));
  if (errors.length > 0) throw invalidObject({ group: 'meta.k8s.io', kind: 'DeleteOptions' }, '', errors);
  if (policy !== undefined) options.propagationPolicy = String(policy);
  else if (orphan !== undefined) options.propagationPolicy = String(orphan) === 'true' ? 'Orphan' : 'Background';
  const preconditions = sent['preconditions'];
  if (typeof preconditions === 'object' && preconditions !== null)
    options.preconditions = preconditions as NonNullable<DeleteOptions['preconditions']>;
  return { options, dryRun: dryRun.length > 0 };
}
