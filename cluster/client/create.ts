/** The client over any transport. */
import type { ResourceRef, Stored, TypedResource } from '../kinds/kind.ts';
import { pods } from '../kinds/resources.ts';
import type { ObjectMeta, Status } from '../kinds/types/meta.ts';
import { connectionError, errorFromAnswer, errorFromStatus } from './api-errors.ts';
import { ApiError, type Client, type ClientObject, type ListOptions, type Patch, type WatchEvent } from './client.ts';
import { openExecSession } from './exec-session.ts';
import { readAll, readLines } from './json-lines.ts';
import { resourcePath, withQuery } from './resource-path.ts';
import type { Transport, TransportResponse } from './transport.ts';

interface Call {
  method: string;
  path: string;
  body?: unknown;
  contentType?: string;
  signal?: AbortSignal | undefined;
}

interface WireEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: { metadata: ObjectMeta };
}

const patchTypes = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
} as const;

function apiVersionOf(resource: ResourceRef): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

function selectors(options: ListOptions): Record<string, string | number | undefined> {
  const { labelSelector, fieldSelector, limit, continue: from, resourceVersion } = options;
  return { labelSelector, fieldSelector, limit, continue: from, resourceVersion };
}

function namespaceOf(resource: ResourceRef, namespace: string | undefined, verb: string): string | undefined {
  if (resource.namespaced && !namespace) {
    throw new TypeError(`${verb} ${resource.resource}: the resource is namespaced, name the namespace`);
  }
  return namespace;
}

export function createClient(transport: Transport): Client {
  async function open(call: Call): Promise<TransportResponse> {
    const what = `${call.method} ${call.path}`;
    call.signal?.throwIfAborted();
    const headers: Record<string, string> = { accept: 'application/json' };
    let body: Uint8Array | undefined;
    if (call.body !== undefined) {
      body = Buffer.from(JSON.stringify(call.body));
      headers['content-type'] = call.contentType ?? 'application/json';
      headers['content-length'] = String(body.byteLength);
    }
    let response: TransportResponse;
    try {
      response = await transport.request({
        method: call.method,
        path: call.path,
        headers,
        ...(body && { body }),
        ...(call.signal && { signal: call.signal }),
      });
      if (response.status < 400) return response;
      throw errorFromAnswer(response.status, await readAll(response.body), what);
    } catch (error) {
      call.signal?.throwIfAborted();
      throw connectionError(error, what);
    }
  }

  async function json<T>(call: Call): Promise<T> {
    const response = await open(call);
    try {
      const text = (await readAll(response.body)).toString();
      return (text === '' ? undefined : JSON.parse(text)) as T;
    } catch (error) {
      call.signal?.throwIfAborted();
      throw connectionError(error, `${call.method} ${call.path}`);
    }
  }

  function put<T extends ClientObject>(
    resource: TypedResource<T>,
    object: T,
    subresource?: string,
  ): Promise<Stored<T>> {
    const { name, namespace } = object.metadata;
    if (!name) throw new TypeError(`update ${resource.resource}: the object has no metadata.name`);
    const path = resourcePath(resource, {
      namespace: namespaceOf(resource, namespace, 'update'),
      name,
      ...(subresource && { subresource }),
    });
    return json({ method: 'PUT', path, body: { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind } });
  }

  async function* watch<T extends ClientObject>(
    resource: TypedResource<T>,
    options: ListOptions & { resourceVersion: string; signal: AbortSignal },
  ): AsyncGenerator<WatchEvent<T>> {
    const { signal, namespace } = options;
    if (signal.aborted) return;
    const base = resourcePath(resource, { namespace });
    const path = withQuery(base, { ...selectors(options), watch: true, allowWatchBookmarks: true });
    const what = `watch ${base}`;
    try {
      const response = await open({ method: 'GET', path, signal });
      for await (const line of readLines(response.body)) {
        const event = JSON.parse(line.toString()) as WireEvent;
        if (event.type === 'ERROR') throw errorFromStatus(event.object as unknown as Status);
        if (event.type === 'BOOKMARK') {
          yield { type: 'BOOKMARK', resourceVersion: event.object.metadata.resourceVersion ?? '' };
        } else {
          yield { type: event.type, object: event.object as Stored<T> };
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      throw connectionError(error, what);
    }
    if (!signal.aborted) throw new ApiError(0, 'ConnectionClosed', `${what}: the server ended the watch`);
  }

  return {
    get: async (resource, name, namespace) =>
      json({
        method: 'GET',
        path: resourcePath(resource, { namespace: namespaceOf(resource, namespace, 'get'), name }),
      }),
    async list<T extends ClientObject>(resource: TypedResource<T>, options: ListOptions = {}) {
      const path = withQuery(resourcePath(resource, { namespace: options.namespace }), selectors(options));
      const answer = await json<{
        metadata: { resourceVersion?: string; continue?: string };
        items: Stored<T>[] | null;
      }>({ method: 'GET', path, signal: options.signal });
      const items = answer.items ?? [];
      // Lists of built-in kinds leave these two out of their items.
      const apiVersion = apiVersionOf(resource);
      for (const item of items) {
        item.apiVersion ??= apiVersion;
        item.kind ??= resource.kind;
      }
      const { resourceVersion = '', continue: next } = answer.metadata;
      return { items, resourceVersion, ...(next && { continue: next }) };
    },
    watch,
    create: async (resource, object) =>
      json({
        method: 'POST',
        path: resourcePath(resource, { namespace: namespaceOf(resource, object.metadata.namespace, 'create') }),
        body: { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind },
      }),
    update: async (resource, object) => put(resource, object),
    updateStatus: async (resource, object) => put(resource, object, 'status'),
    async patch(resource, name, patch: Patch, options = {}) {
      const path = resourcePath(resource, {
        namespace: namespaceOf(resource, options.namespace, 'patch'),
        name,
        ...(options.subresource && { subresource: options.subresource }),
      });
      const query = patch.type === 'apply' ? { fieldManager: patch.fieldManager, force: patch.force } : {};
      return json({
        method: 'PATCH',
        path: withQuery(path, query),
        body: patch.type === 'json' ? patch.operations : patch.body,
        contentType: patchTypes[patch.type],
        signal: options.signal,
      });
    },
    async delete(resource, name, options = {}) {
      const { namespace, ...rest } = options;
      await json({
        method: 'DELETE',
        path: resourcePath(resource, { namespace: namespaceOf(resource, namespace, 'delete'), name }),
        body: { apiVersion: 'v1', kind: 'DeleteOptions', ...rest },
      });
    },
    async deleteCollection(resource, options) {
      const path = resourcePath(resource, { namespace: options.namespace });
      await json({ method: 'DELETE', path: withQuery(path, selectors(options)), signal: options.signal });
    },
    async bind(pod, node) {
      const { name, namespace, uid } = pod;
      await json({
        method: 'POST',
        path: resourcePath(pods, { namespace, name, subresource: 'binding' }),
        body: {
          apiVersion: 'v1',
          kind: 'Binding',
          metadata: { name, namespace, ...(uid && { uid }) },
          target: { apiVersion: 'v1', kind: 'Node', name: node },
        },
      });
    },
    async podLog(pod, options) {
      const { signal, ...query } = options;
      const path = withQuery(resourcePath(pods, { ...pod, subresource: 'log' }), query);
      return (await open({ method: 'GET', path, signal })).body;
    },
    exec: (pod, options) => openExecSession(transport, pod, options),
    request: (request) =>
      json({
        method: request.method,
        path: withQuery(request.path, request.query ?? {}),
        body: request.body,
        signal: request.signal,
        ...(request.contentType && { contentType: request.contentType }),
      }),
  };
}
