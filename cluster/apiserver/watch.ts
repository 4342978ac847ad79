/** watch: changes as JSON lines, or as frames of protobuf (API concepts, "Efficient detection of changes"). */
import { timerOf } from '#lib/longest-timer.ts';
import type { KindDefinition } from '../kinds/kind.ts';
import { StoreError } from '../store/store.ts';
import { type CachedObject, type Change, kindPrefix, objectOf } from './cache.ts';
import { cachedIn } from './conversion.ts';
import type { Core } from './core.ts';
import { expired, StatusError } from './errors.ts';
import type { Exchange } from './exchange.ts';
import { readIncludeObject } from './list.ts';
import { readListOptions } from './list-options.ts';
import { OrderedFrames } from './ordered-frames.ts';
import { negotiate, PROTOBUF, type View } from './negotiate.ts';
import { eventInProtobuf, type ShownKind } from './protobuf-bytes.ts';
import { apiVersionOf } from './registry.ts';
import type { ResourceRequest } from './route.ts';
import { readSelection, type Selection } from './selection.ts';
import { shownBytes } from './stored-form.ts';
import { asStatusError } from './update.ts';
import { partialMetadata, table, tableRow } from './views.ts';
import { WatchStream } from './watch-stream.ts';

const BOOKMARK_INTERVAL = 60_000;
/** Upstream ends a watch without a timeout after 30 to 60 minutes; so do we, that clients spread anew. */
const DEFAULT_TIMEOUT = 30 * 60_000;

type EventType = 'ADDED' | 'MODIFIED' | 'DELETED';

export async function watch(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  request: ResourceRequest,
): Promise<void> {
  const { query } = exchange;
  const selection = readSelection(kind, request.namespace, request.name, query);
  const view = negotiate(exchange, kind, false);
  const renderer = new Renderer(core, kind, view, query);
  const start = () =>
    exchange.responder.head(200, { 'content-type': renderer.contentType, 'cache-control': 'no-cache, private' });
  const resource = core.cache.resource(kindPrefix(kind));
  const { bookmarks, sendInitial, revision, timeoutSeconds } = readListOptions(query, true);
  if (revision !== undefined && revision > core.cache.revision && sendInitial === true)
    throw new StatusError(
      504,
      'Timeout',
      `Timeout: Too large resource version: ${revision}, current: ${core.cache.revision}`,
    );

  // All at once, rather than one by one when their turn comes.
  if (kind.conversion !== undefined && view.as !== 'metadata' && (revision === undefined || sendInitial === true))
    await cachedIn(
      core,
      kind,
      [...resource.list(selection.namespace)].filter((object) => selection.matches(object)),
    );
  const stream = new WatchStream(exchange.responder, core.metrics);
  const frames = new OrderedFrames(stream, (error) => {
    exchange.responder.end(renderer.frame('ERROR', asStatusError(error).status()));
  });
  const listener = (change: Change) => {
    const type = eventType(change, selection);
    if (type !== undefined) frames.push(renderer.change(type, change));
  };
  const timers: NodeJS.Timeout[] = [];
  const stop = () => {
    resource.listeners.delete(listener);
    for (const timer of timers) clearTimeout(timer);
    stream.closed();
  };
  exchange.responder.onClose(stop);
  if (revision === undefined || sendInitial === true) {
    start();
    const objects = sendInitial === false ? [] : [...resource.list(selection.namespace)].filter(selection.matches);
    const endOfInitial = sendInitial === true && bookmarks ? [renderer.bookmark(core.cache.revision, true)] : [];
    if (renderer.converts) {
      for (const object of objects) frames.pushInitial(renderer.shownObject('ADDED', object));
      for (const bookmark of endOfInitial) frames.pushInitial(bookmark);
    } else stream.begin(initialFrames(renderer, objects, endOfInitial));
    resource.listeners.add(listener);
  } else if (revision >= resource.historyStart) {
    start();
    for (const change of resource.history)
      if (change.revision > revision) listenTo(change, selection, renderer, frames);
    resource.listeners.add(listener);
  } else {
    // What memory no longer holds is read from the store, up to where memory goes on.
    stream.hold();
    resource.listeners.add(listener);
    let changes: Change[];
    try {
      changes = await core.cache.olderChanges(resource, revision, core.cache.revision);
    } catch (error) {
      stop();
      if (!(error instanceof StoreError && error.code === 'compacted')) throw error;
      // Everything about the request was right: the watch begins, and what it has to say is that it cannot go on.
      start();
      const gone = expired(`too old resource version: ${revision} (${resource.historyStart})`);
      exchange.responder.end(renderer.frame('ERROR', gone.status()));
      return;
    }
    start();
    for (const change of changes) listenTo(change, selection, renderer, frames);
    stream.release();
  }
  if (stream.isClosed) return stop();
  const bookmark = () => frames.push(renderer.bookmark(core.cache.revision, false));
  if (bookmarks) timers.push(setInterval(bookmark, BOOKMARK_INTERVAL).unref());
  const end = () => {
    if (bookmarks) bookmark();
    frames.end();
  };
  const timeout = timeoutSeconds === undefined ? spread() : timerOf(timeoutSeconds * 1000);
  timers.push(setTimeout(end, timeout).unref());
}

function* initialFrames(renderer: Renderer, objects: CachedObject[], end: Buffer[]): Generator<Buffer> {
  for (const object of objects) yield renderer.object('ADDED', object);
  yield* end;
}

function spread(): number {
  return DEFAULT_TIMEOUT + Math.random() * DEFAULT_TIMEOUT;
}

function listenTo(change: Change, selection: Selection, renderer: Renderer, frames: OrderedFrames): void {
  const type = eventType(change, selection);
  if (type !== undefined) frames.pushInitial(renderer.change(type, change));
}

/** How a change looks to somebody who sees only a selection. */
function eventType(change: Change, selection: Selection): EventType | undefined {
  if (selection.namespace !== '' && change.object.namespace !== selection.namespace) return undefined;
  const before = change.previous !== undefined && (selection.all || selection.matches(change.previous));
  const now = change.type !== 'delete' && (selection.all || selection.matches(change.object));
  if (now) return before ? 'MODIFIED' : 'ADDED';
  return before ? 'DELETED' : undefined;
}

/** Frames of one watch. Those that other watches can use too are kept at the change. */
class Renderer {
  private readonly core: Core;
  private readonly kind: KindDefinition;
  private readonly view: View;
  private readonly includeObject: 'None' | 'Metadata' | 'Object';
  private readonly identity: string;
  private readonly stored: boolean;
  private readonly shownKind: ShownKind;
  /** Only a Table's first event names the columns. */
  private headSent = false;

  constructor(core: Core, kind: KindDefinition, view: View, query: URLSearchParams) {
    this.core = core;
    this.kind = kind;
    this.view = view;
    this.includeObject = readIncludeObject(query);
    this.shownKind = { apiVersion: apiVersionOf(kind), kind: kind.kind };
    this.stored = core.registry.keepsAs(kind);
    this.identity = `${apiVersionOf(kind)} ${view.as} ${view.as === 'object' ? view.protobuf : view.apiVersion} ${this.includeObject}`;
  }

  /** Are objects not shown at once, but when they were converted? */
  get converts(): boolean {
    return this.kind.conversion !== undefined && this.view.as !== 'metadata';
  }

  get contentType(): string {
    return this.view.as === 'object' && this.view.protobuf === true ? `${PROTOBUF};stream=watch` : 'application/json';
  }

  /** Not at once where the object is to be converted. */
  shownObject(type: EventType, object: CachedObject): Buffer | Promise<Buffer> {
    if (!this.converts) return this.object(type, object);
    return cachedIn(this.core, this.kind, [object]).then(([converted]) => this.object(type, converted ?? object));
  }

  change(type: EventType, change: Change): Buffer | Promise<Buffer> {
    const object = this.shown(type, change);
    if (this.kind.conversion !== undefined) return this.shownObject(type, object);
    if (this.view.as === 'table' && !this.headSent) return this.object(type, object);
    const key = `${type} ${this.identity}`;
    let frame = change.rendered.get(key);
    if (frame === undefined) {
      frame = this.object(type, object);
      change.rendered.set(key, frame);
    }
    return frame;
  }

  object(type: EventType, object: CachedObject): Buffer {
    if (this.view.as === 'object') {
      const bytes = this.stored ? object.bytes : shownBytes(this.kind, object.bytes);
      if (this.view.protobuf === true) return eventInProtobuf(this.shownKind, type, bytes);
      return Buffer.concat([HEADS[type], bytes, TAIL]);
    }
    const parsed = objectOf(object);
    const { apiVersion } = this.view;
    let shown: object;
    if (this.view.as === 'metadata') shown = partialMetadata(parsed, apiVersion);
    else {
      const row = tableRow(this.kind, parsed, { apiVersion, includeObject: this.includeObject }, this.core.now());
      shown = table(this.kind, [row], { resourceVersion: String(object.revision) }, apiVersion, !this.headSent);
      this.headSent = true;
    }
    return this.frame(type, shown);
  }

  bookmark(revision: number, initialEnd: boolean): Buffer {
    const metadata = {
      resourceVersion: String(revision),
      creationTimestamp: null,
      ...(initialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
    };
    const kind = this.view.as === 'metadata' ? 'PartialObjectMetadata' : this.kind.kind;
    const apiVersion = this.view.as === 'metadata' ? this.view.apiVersion : apiVersionOf(this.kind);
    const object =
      this.view.as === 'table'
        ? table(this.kind, [], { resourceVersion: String(revision) }, this.view.apiVersion, false)
        : { kind, apiVersion, metadata };
    return this.frame('BOOKMARK', object);
  }

  /** Of what is not in the cache. */
  frame(type: string, object: object): Buffer {
    const json = JSON.stringify(object);
    if (this.view.as !== 'object' || this.view.protobuf !== true)
      return Buffer.from(`{"type":"${type}","object":${json}}\n`);
    const { apiVersion = '', kind = '' } = object as Partial<ShownKind>;
    return eventInProtobuf({ apiVersion, kind }, type, Buffer.from(json));
  }

  /** What left a selection is shown as it last was in it, with the revision of the change. */
  private shown(type: EventType, change: Change): CachedObject {
    if (type !== 'DELETED' || change.type === 'delete' || change.previous === undefined) return change.object;
    const { previous, revision } = change;
    const bytes = Buffer.from(
      previous.bytes.toString().replace(`"resourceVersion":"${previous.revision}"`, `"resourceVersion":"${revision}"`),
    );
    return { ...previous, revision, bytes };
  }
}

const HEADS: Record<EventType, Buffer> = {
  ADDED: Buffer.from('{"type":"ADDED","object":'),
  MODIFIED: Buffer.from('{"type":"MODIFIED","object":'),
  DELETED: Buffer.from('{"type":"DELETED","object":'),
};
const TAIL = Buffer.from('}\n');
