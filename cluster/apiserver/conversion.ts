/**
 * Versions of custom resources that differ in their fields: their definition's webhook makes one of the other (Kubernetes
 * "Webhook conversion"). An object is kept in the storage version of its time; what is read of it in another version is made
 * once for each of its revisions.
 */
import { randomUUID } from 'node:crypto';
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import type { CachedObject } from './cache.ts';
import type { Core } from './core.ts';
import { StatusError } from './errors.ts';
import { parseObject } from './object-bytes.ts';
import { apiVersionOf } from './registry.ts';
import { shownBytes, toShownForm, toStoredForm } from './stored-form.ts';
import { postToWebhook } from './webhook-post.ts';

const TIMEOUT = 30;
/** Of one review: many small objects, or few great ones. */
const BATCH = 500;

const made = new WeakMap<Buffer, Map<string, Buffer>>();

/** Objects as the kind's version has them. */
export async function bytesIn(core: Core, kind: KindDefinition, all: readonly Buffer[]): Promise<Buffer[]> {
  if (kind.conversion === undefined) return all.map((bytes) => shownBytes(kind, bytes));
  const wanted = apiVersionOf(kind);
  const missing = all.filter((bytes) => !hasVersion(bytes, wanted) && made.get(bytes)?.has(wanted) !== true);
  for (let at = 0; at < missing.length; at += BATCH) {
    const some = missing.slice(at, at + BATCH);
    for (const [index, object] of (await review(core, kind, some.map(parseObject))).entries()) {
      const bytes = some[index];
      if (bytes === undefined) continue;
      const versions = made.get(bytes) ?? new Map<string, Buffer>();
      made.set(bytes, versions.set(wanted, Buffer.from(JSON.stringify(object))));
    }
  }
  return all.map((bytes) => made.get(bytes)?.get(wanted) ?? bytes);
}

/** An object of any version of the kind, as this version has it. Built-in kinds: their other form. */
export async function shownIn(core: Core, kind: KindDefinition, object: ApiObject): Promise<ApiObject> {
  if (kind.conversion === undefined) return toShownForm(kind, object);
  if (object.apiVersion === apiVersionOf(kind)) return object;
  return (await review(core, kind, [object]))[0] ?? object;
}

/** What a client sent as `kind`, as it is kept: as `stored`, which `storageKind` gives. */
export async function keptAs(
  core: Core,
  kind: KindDefinition,
  stored: KindDefinition,
  object: ApiObject,
): Promise<ApiObject> {
  return kind.conversion === undefined ? toStoredForm(kind, object) : shownIn(core, stored, object);
}

/** A kept object, as it would be kept now: its definition may have had another storage version then. */
export async function keptIn(core: Core, stored: KindDefinition, object: ApiObject): Promise<ApiObject> {
  if (stored.conversion !== undefined) return shownIn(core, stored, object);
  object.apiVersion = apiVersionOf(stored);
  return object;
}

/** The same objects of the cache, with the bytes of the version. */
export async function cachedIn(
  core: Core,
  kind: KindDefinition,
  objects: readonly CachedObject[],
): Promise<CachedObject[]> {
  const bytes = await bytesIn(
    core,
    kind,
    objects.map((object) => object.bytes),
  );
  return objects.map((object, index) => ({ ...object, bytes: bytes[index] ?? object.bytes }));
}

/** Serialized objects begin with it. */
function hasVersion(bytes: Buffer, apiVersion: string): boolean {
  const head = `{"apiVersion":${JSON.stringify(apiVersion)},`;
  return bytes.toString('utf8', 0, Buffer.byteLength(head)) === head;
}

async function review(core: Core, kind: KindDefinition, objects: ApiObject[]): Promise<ApiObject[]> {
  const wanted = apiVersionOf(kind);
  const fail = (why: string) =>
    new StatusError(500, 'InternalError', `conversion webhook for ${wanted}, Kind=${kind.kind} failed: ${why}`);
  const { clientConfig, conversionReviewVersions } = kind.conversion ?? { conversionReviewVersions: [] };
  if (clientConfig === undefined || !conversionReviewVersions.includes('v1'))
    throw fail('it has no client configuration for apiextensions.k8s.io/v1');
  const uid = randomUUID();
  const request = { uid, desiredAPIVersion: wanted, objects };
  const apiVersion = 'apiextensions.k8s.io/v1';
  const body = Buffer.from(JSON.stringify({ kind: 'ConversionReview', apiVersion, request }));
  let answer: {
    response?: { uid?: string; result?: { status?: string; message?: string }; convertedObjects?: ApiObject[] };
  };
  try {
    answer = JSON.parse(await postToWebhook(core, clientConfig, body, TIMEOUT)) as typeof answer;
  } catch (error) {
    throw fail((error as Error).message);
  }
  const { response } = answer;
  if (response?.uid !== uid)
    throw fail(`expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response?.uid)}`);
  if (response.result?.status !== 'Success') throw fail(response.result?.message ?? 'it gave no reason');
  const converted = response.convertedObjects ?? [];
  if (converted.length !== objects.length)
    throw fail(`expected ${objects.length} converted objects, got ${converted.length}`);
  return converted.map((object, index) => checked(object, objects[index], wanted, fail));
}

/** Of the metadata, labels and annotations alone are the webhook's to change. */
function checked(
  object: ApiObject,
  original: ApiObject | undefined,
  wanted: string,
  fail: (why: string) => StatusError,
): ApiObject {
  if (object?.apiVersion !== wanted) throw fail(`expected an object of ${wanted}, got ${object?.apiVersion}`);
  if (original === undefined || object.kind !== original.kind)
    throw fail(`expected an object of kind ${original?.kind}, got ${object.kind}`);
  const { labels, annotations } = object.metadata ?? {};
  const { labels: _labels, annotations: _annotations, ...kept } = original.metadata;
  const metadata = {
    ...kept,
    ...(labels === undefined ? {} : { labels }),
    ...(annotations === undefined ? {} : { annotations }),
  };
  const { apiVersion: _version, kind: _kind, metadata: _metadata, ...rest } = object;
  return { apiVersion: wanted, kind: original.kind ?? '', metadata, ...rest };
}
