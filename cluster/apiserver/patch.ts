/** patch, in its four forms. */
import { ownField } from '#lib/own-field.ts';
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { schemaOf } from '../kinds/schema.ts';
import { decode, decodeApplied, readWriteOptions, withoutEmpty, type WriteOptions } from './admit.ts';
import { applyTo } from './apply.ts';
import { requireCreate } from './authorize.ts';
import { kindPrefix, objectKey } from './cache.ts';
import { keptAs, shownIn } from './conversion.ts';
import type { Core } from './core.ts';
import { createObject } from './create.ts';
import { badRequest, notFound, StatusError } from './errors.ts';
import type { Exchange } from './exchange.ts';
import { applyJsonPatch, JsonPatchError } from './json-patch.ts';
import { APPLY_PATCH, mediaType, objectIn, type OnDoubt, parseJson, parseYaml, unknownFormat } from './read-body.ts';
import { mergePatch } from './merge-patch.ts';
import { respondObject } from './respond.ts';
import { isTrue, type ResourceRequest } from './route.ts';
import { strategicMerge } from './strategic-merge.ts';
import { storageKind } from './stored-form.ts';
import { changeObject, checkIdentity } from './update.ts';
import type { Part } from './written-part.ts';

const JSON_PATCH_LIMIT = 10_000;
const PATCHES = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
];

export type Patcher = (current: ApiObject) => Promise<Record<string, unknown>>;

export async function patch(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  request: ResourceRequest,
): Promise<void> {
  const options = readWriteOptions(exchange, 'PatchOptions');
  if (mediaType(exchange) === APPLY_PATCH) return apply(core, exchange, kind, request, options);
  const patcher = await readPatch(exchange, kind, (doubt) => options.doubts?.push(doubt));
  const stored = storageKind(core, kind);
  const bytes = await changeObject(core, stored, request, options, {
    part: request.subresource as Part,
    change: async (current) => {
      const managed = current.metadata.managedFields;
      const sent = decode(kind, await patcher(await shownIn(core, kind, current)), options);
      const patched = await keptAs(core, kind, stored, sent);
      checkIdentity(patched, request.namespace, request.name);
      if (patched.metadata.managedFields === undefined && managed !== undefined)
        patched.metadata.managedFields = managed;
      return patched;
    },
  });
  await respondObject(core, exchange, kind, bytes);
}

/** The patch of the body, as a function. A resourceVersion in it must be the current one; without, none is compared. */
export async function readPatch(
  exchange: Exchange,
  kind: KindDefinition | undefined,
  doubt?: OnDoubt,
): Promise<Patcher> {
  const type = mediaType(exchange);
  if (!PATCHES.includes(type)) throw unknownFormat([...PATCHES, APPLY_PATCH]);
  const body = parseJson(await exchange.body(), doubt);
  switch (type) {
    case 'application/json-patch+json': {
      const operations = body;
      if (!Array.isArray(operations)) throw badRequest('a JSON patch must be an array of operations');
      if (operations.length > JSON_PATCH_LIMIT)
        throw new StatusError(
          413,
          'RequestEntityTooLarge',
          `the allowed maximum operations in a JSON patch is ${JSON_PATCH_LIMIT}, got ${operations.length}`,
        );
      return async (current) => jsonPatch(current, operations);
    }
    case 'application/merge-patch+json': {
      const change = objectIn(body);
      return async (current) => mergePatch(withoutRevision(current, change), change) as Record<string, unknown>;
    }
    case 'application/strategic-merge-patch+json': {
      if (kind?.schema !== undefined)
        throw unknownFormat(['application/json-patch+json', 'application/merge-patch+json', APPLY_PATCH]);
      const change = objectIn(body);
      const schema = kind === undefined ? undefined : schemaOf(kind);
      return async (current) =>
        (strategicMerge(withoutRevision(current, change), change, schema) ?? {}) as Record<string, unknown>;
    }
    default:
      throw unknownFormat([...PATCHES, APPLY_PATCH]);
  }
}

/** So that a revision is only compared when the patch brings one. */
function withoutRevision(current: ApiObject, _change: Record<string, unknown>): ApiObject {
  const { resourceVersion: _revision, ...metadata } = current.metadata;
  return { ...current, metadata };
}

function jsonPatch(current: ApiObject, operations: unknown[]): Record<string, unknown> {
  const revision = current.metadata.resourceVersion;
  let patched: unknown;
  try {
    patched = applyJsonPatch(current, operations);
  } catch (cause) {
    if (!(cause instanceof JsonPatchError)) throw cause;
    const { at, code, message } = cause;
    const what = `operation ${at} ${JSON.stringify(operations[at]).slice(0, 256)}`;
    if (code === 'malformed') throw badRequest(`the JSON patch is malformed: ${what}: ${message}`);
    throw new StatusError(
      422,
      'Invalid',
      `the server rejected our request due to an error in our request: ${what} failed: ${message}`,
      {},
    );
  }
  const target = objectIn(patched);
  const metadata = ownField(target, 'metadata');
  if (typeof metadata === 'object' && metadata !== null && ownField(metadata, 'resourceVersion') === revision)
    delete (metadata as ApiObject['metadata']).resourceVersion;
  return target;
}

async function apply(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  request: ResourceRequest,
  options: WriteOptions,
): Promise<void> {
  const manager = exchange.query.get('fieldManager') ?? '';
  const sent = objectIn(await parseYaml(await exchange.body(), (doubt) => options.doubts?.push(doubt)));
  if (sent['apiVersion'] === undefined || sent['kind'] === undefined)
    throw badRequest('an applied configuration must have apiVersion and kind');
  const stored = storageKind(core, kind);
  const applied = await keptAs(core, kind, stored, decodeApplied(kind, sent, options));
  checkIdentity(applied, request.namespace, request.name);
  if (applied.metadata.managedFields !== undefined) throw badRequest('metadata.managedFields must be nil');
  const part = request.subresource as Part;
  applied.metadata.name = request.name;
  if (kind.namespaced) applied.metadata.namespace = request.namespace;
  const { resourceVersion, uid } = applied.metadata;
  delete applied.metadata.resourceVersion;
  delete applied.metadata.uid;
  const applyOptions = {
    manager,
    force: isTrue(exchange.query.get('force') ?? 'false'),
    subresource: part,
    time: core.now(),
  };
  const key = objectKey(kind, request.namespace, request.name);
  if (!core.cache.resource(kindPrefix(kind)).objects.has(key)) {
    if (part !== '') throw notFound(kind, request.name);
    if (uid) throw notFound(kind, request.name);
    requireCreate(core, options.user, kind, request);
    const object = withoutEmpty(stored, applyTo(stored, undefined, applied, applyOptions));
    const created = await createObject(core, stored, request.namespace, object, options);
    return respondObject(core, exchange, kind, created, 201);
  }
  const bytes = await changeObject(core, stored, request, options, {
    part,
    tracked: true,
    change: (current) => {
      const merged = withoutEmpty(stored, applyTo(stored, current, structuredClone(applied), applyOptions));
      delete merged.metadata.resourceVersion;
      if (resourceVersion) merged.metadata.resourceVersion = resourceVersion;
      return merged;
    },
  });
  await respondObject(core, exchange, kind, bytes);
}
