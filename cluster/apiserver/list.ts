/** list: from the cache, or as it was at an older revision from the store (API concepts, "Retrieving large results sets"). */
import type { KindDefinition } from '../kinds/kind.ts';
import { StoreError } from '../store/store.ts';
import { type CachedObject, kindPrefix, objectOf, type ResourceCache } from './cache.ts';
import { cachedIn } from './conversion.ts';
import type { Core } from './core.ts';
import { badRequest, expired, StatusError } from './errors.ts';
import { type Exchange, send, sendJson, sendParts } from './exchange.ts';
import { type ListOptions, readListOptions } from './list-options.ts';
import { negotiate, PROTOBUF } from './negotiate.ts';
import { listInProtobuf } from './protobuf-bytes.ts';
import { apiVersionOf } from './registry.ts';
import type { ResourceRequest } from './route.ts';
import { readSelection, type Selection } from './selection.ts';
import { shownBytes } from './stored-form.ts';
import { partialMetadata, table, tableRow } from './views.ts';

const PAGE = 500;
/** How long a list in pages is of one moment, as upstream where etcd is compacted: also where nothing changed since. */
const PAGES_WITHIN = 300_000;

/** When the first page was given out, in milliseconds since the epoch, and of which revision all of them are. */
interface Moment {
  revision: number;
  at: number;
}

interface Page {
  objects: CachedObject[];
  revision: number;
  continueToken?: string;
  remaining?: number;
}

export async function list(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  request: ResourceRequest,
): Promise<void> {
  const view = negotiate(exchange, kind, true);
  const selection = readSelection(kind, request.namespace, '', exchange.query);
  const page = await readPage(core, kind, selection, readListOptions(exchange.query, false));
  if (kind.conversion !== undefined && view.as !== 'metadata') page.objects = await cachedIn(core, kind, page.objects);
  const metadata = {
    resourceVersion: String(page.revision),
    ...(page.continueToken === undefined ? {} : { continue: page.continueToken }),
    ...(page.remaining === undefined ? {} : { remainingItemCount: page.remaining }),
  };
  if (view.as === 'table') {
    const includeObject = readIncludeObject(exchange.query);
    const options = { apiVersion: view.apiVersion, includeObject };
    const rows = page.objects.map((object) => tableRow(kind, objectOf(object), options, core.now()));
    sendJson(exchange, 200, table(kind, rows, metadata, view.apiVersion));
  } else if (view.as === 'metadata') {
    const items = page.objects.map((object) => partialMetadata(objectOf(object), view.apiVersion));
    sendJson(exchange, 200, { kind: 'PartialObjectMetadataList', apiVersion: view.apiVersion, metadata, items });
  } else if (view.protobuf === true) {
    const shown = { apiVersion: apiVersionOf(kind), kind: kind.listKind };
    const items = itemsOf(core, kind, page.objects);
    send(exchange, 200, listInProtobuf(shown, metadata, items), PROTOBUF);
  } else sendParts(exchange, listParts(core, kind, page.objects, metadata));
}

export function listBytes(core: Core, kind: KindDefinition, objects: CachedObject[], metadata: object): Buffer {
  return Buffer.concat(listParts(core, kind, objects, metadata));
}

function listParts(core: Core, kind: KindDefinition, objects: CachedObject[], metadata: object): Buffer[] {
  const apiVersion = apiVersionOf(kind);
  const head = JSON.stringify({ kind: kind.listKind, apiVersion, metadata }).slice(0, -1);
  const parts: Buffer[] = [Buffer.from(`${head},"items":[`)];
  for (const [index, bytes] of itemsOf(core, kind, objects).entries()) {
    if (index > 0) parts.push(COMMA);
    parts.push(bytes);
  }
  parts.push(END);
  return parts;
}

function itemsOf(core: Core, kind: KindDefinition, objects: CachedObject[]): Buffer[] {
  const stored = core.registry.keepsAs(kind);
  return objects.map(({ bytes }) => (stored ? bytes : shownBytes(kind, bytes)));
}

const COMMA = Buffer.from(',');
const END = Buffer.from(']}\n');

export function readIncludeObject(query: URLSearchParams): 'None' | 'Metadata' | 'Object' {
  const value = query.get('includeObject') ?? 'Metadata';
  if (value === 'None' || value === 'Metadata' || value === 'Object') return value;
  throw badRequest(`unrecognized includeObject value: ${value}`);
}

async function readPage(core: Core, kind: KindDefinition, selection: Selection, options: ListOptions): Promise<Page> {
  const { limit, continueToken } = options;
  const resource = core.cache.resource(kindPrefix(kind));
  let { revision } = options;
  let after = '';
  let at = core.now();
  if (continueToken !== '') {
    if (revision !== undefined) throw badRequest('specifying resource version is not allowed when using continue');
    ({ revision, after, at = at } = readToken(continueToken, resource));
    if (revision !== undefined && core.now() - at >= PAGES_WITHIN) throw tooOld(after, resource);
  } else if (revision !== undefined && revision > core.cache.revision) throw tooLarge(revision, core.cache.revision);
  // A page of a certain revision is of exactly that one; a whole list may be newer.
  else if (options.match === 'NotOlderThan' || (options.match === undefined && limit === Number.POSITIVE_INFINITY))
    revision = undefined;
  if (revision === undefined || unchangedSince(resource, revision)) {
    const moment = { revision: revision ?? core.cache.revision, at };
    return take(resource.list(selection.namespace, after), selection, limit, moment, resource);
  }
  return takeOld(core, resource, selection, { limit, moment: { revision, at }, after });
}

function tooLarge(asked: number, current: number): StatusError {
  return new StatusError(504, 'Timeout', `Timeout: Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
}

function unchangedSince(resource: ResourceCache, revision: number): boolean {
  const last = resource.history.at(-1)?.revision ?? resource.historyStart;
  return last <= revision;
}

function take(
  objects: Iterable<CachedObject>,
  selection: Selection,
  limit: number,
  moment: Moment,
  resource: ResourceCache,
): Page {
  const found: CachedObject[] = [];
  let remaining = 0;
  for (const object of objects) {
    if (!selection.matches(object)) continue;
    if (found.length < limit) found.push(object);
    else if (selection.all) remaining++;
    else {
      remaining = 1;
      break;
    }
  }
  return finish(found, remaining, selection, moment, resource);
}

function finish(
  found: CachedObject[],
  remaining: number,
  selection: Selection,
  moment: Moment,
  resource: ResourceCache,
): Page {
  const last = found.at(-1);
  const { revision } = moment;
  if (remaining === 0 || last === undefined) return { objects: found, revision };
  return {
    objects: found,
    revision,
    continueToken: makeToken(moment, last.key, resource),
    // With a selector the number is not known without looking at all of them.
    ...(selection.all ? { remaining } : {}),
  };
}

async function takeOld(
  core: Core,
  resource: ResourceCache,
  selection: Selection,
  { limit, moment, after }: { limit: number; moment: Moment; after: string },
): Promise<Page> {
  const { revision } = moment;
  const prefix = selection.namespace === '' ? resource.prefix : `${resource.prefix}${selection.namespace}/`;
  const found: CachedObject[] = [];
  let startAfter = after;
  try {
    for (;;) {
      const { entries, remaining } = await core.store.list(prefix, {
        limit: Math.min(limit, PAGE),
        revision,
        ...(startAfter === '' ? {} : { startAfter }),
      });
      for (const [index, entry] of entries.entries()) {
        const object = resource.read(entry.key, entry.value, entry.revision);
        if (selection.matches(object)) found.push(object);
        if (found.length === limit)
          return finish(found, remaining + entries.length - index - 1, selection, moment, resource);
      }
      startAfter = entries.at(-1)?.key ?? '';
      if (remaining === 0 || startAfter === '') return finish(found, 0, selection, moment, resource);
    }
  } catch (error) {
    if (error instanceof StoreError && error.code === 'compacted') throw tooOld(after, resource);
    if (error instanceof StoreError && error.code === 'future') throw tooLarge(revision, core.cache.revision);
    throw error;
  }
}

/** Pages can go on, no longer of one revision: the answer says with which token. */
function tooOld(after: string, resource: ResourceCache): StatusError {
  if (after === '') return expired('The resourceVersion for the provided list is too old.');
  const error = expired(
    'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.',
  );
  error.continueToken = makeToken({ revision: ANY_REVISION }, after, resource);
  return error;
}

/** In a token: whatever is there now. */
const ANY_REVISION = -1;

function makeToken({ revision, at }: { revision: number; at?: number }, key: string, resource: ResourceCache): string {
  const token = JSON.stringify({ v: 'meta.k8s.io/v1', rv: revision, start: key.slice(resource.prefix.length), at });
  return Buffer.from(token).toString('base64url');
}

function readToken(
  token: string,
  resource: ResourceCache,
): { revision: number | undefined; after: string; at?: number } {
  try {
    const { v, rv, start, at } = JSON.parse(Buffer.from(token, 'base64url').toString()) as Record<string, unknown>;
    if (v === 'meta.k8s.io/v1' && Number.isSafeInteger(rv) && typeof start === 'string')
      return {
        revision: rv === ANY_REVISION ? undefined : (rv as number),
        after: resource.prefix + start,
        ...(Number.isSafeInteger(at) && { at: at as number }),
      };
  } catch {
    // Falls through: a token that we did not make.
  }
  throw badRequest('continue key is not valid: start a new list without the continue parameter');
}
