/**
 * The client's contract: how controllers, the scheduler, the node agent and the platform reach the Kubernetes API.
 *
 * Two transports under one suite (`testing/client-contract.ts`): HTTPS (`https.ts`; also for a Kubernetes that is not
 * ours), and in-process (`in-process.ts`), for what runs in the server itself: it calls the server's request handler
 * without a socket. Nothing that uses a client can tell them apart.
 *
 * Errors are `ApiError`s with the server's Status. Retries are the caller's: a write is sent once.
 */
import type { Readable, Writable } from 'node:stream';
import type { Stored, TypedResource } from '../kinds/kind.ts';
import type { ObjectMeta, Status } from '../kinds/types/meta.ts';

export class ApiError extends Error {
  /** HTTP status; 0 when no answer came. */
  readonly code: number;
  /** Kubernetes' reason: `NotFound`, `AlreadyExists`, `Conflict`, `Invalid`, `Forbidden`, `Expired`, … */
  readonly reason: string;
  readonly status: Status | undefined;
  constructor(code: number, reason: string, message: string, options?: ErrorOptions & { status?: Status }) {
    super(message, options);
    this.name = 'ApiError';
    this.code = code;
    this.reason = reason;
    this.status = options?.status;
  }
}

/** Any object that a client can handle. */
export interface ClientObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

export interface ListOptions {
  /** All namespaces when absent. */
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  limit?: number;
  continue?: string;
  /** `0` reads what the server has cached; absent: the newest. */
  resourceVersion?: string;
  signal?: AbortSignal;
}

export interface List<T extends { metadata: ObjectMeta }> {
  items: Stored<T>[];
  resourceVersion: string;
  continue?: string;
}

export type WatchEvent<T extends { metadata: ObjectMeta }> =
  | { type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: Stored<T> }
  | { type: 'BOOKMARK'; resourceVersion: string };

export interface Client {
  get<T extends ClientObject>(resource: TypedResource<T>, name: string, namespace?: string): Promise<Stored<T>>;
  list<T extends ClientObject>(resource: TypedResource<T>, options?: ListOptions): Promise<List<T>>;
  /** Ends when the signal is aborted; rejects with `ApiError` 410 `Expired` when the revision is too old, or when the connection breaks. */
  watch<T extends ClientObject>(
    resource: TypedResource<T>,
    options: ListOptions & { resourceVersion: string; signal: AbortSignal },
  ): AsyncIterable<WatchEvent<T>>;
  /** The namespace is the object's own. */
  create<T extends ClientObject>(resource: TypedResource<T>, object: T): Promise<Stored<T>>;
  /** Compares on `metadata.resourceVersion` where the object has one (409 `Conflict`). */
  update<T extends ClientObject>(resource: TypedResource<T>, object: T): Promise<Stored<T>>;
  updateStatus<T extends ClientObject>(resource: TypedResource<T>, object: T): Promise<Stored<T>>;
  patch<T extends ClientObject>(
    resource: TypedResource<T>,
    name: string,
    patch: Patch,
    options?: { namespace?: string; subresource?: 'status' | 'scale'; signal?: AbortSignal },
  ): Promise<Stored<T>>;
  delete<T extends ClientObject>(resource: TypedResource<T>, name: string, options?: DeleteOptions): Promise<void>;
  deleteCollection<T extends ClientObject>(resource: TypedResource<T>, options: ListOptions): Promise<void>;
  /** Binds a pod to a node. */
  bind(pod: { name: string; namespace: string; uid?: string }, node: string): Promise<void>;
  /** A pod's log as the kubelet writes it; each line with its time when `timestamps`. */
  podLog(pod: { name: string; namespace: string }, options: PodLogOptions): Promise<Readable>;
  /** Runs a command in a container through the API server (`v5.channel.k8s.io` over WebSocket). */
  exec(pod: { name: string; namespace: string }, options: PodExecOptions): Promise<PodExecSession>;
  /** Anything else: a raw request, JSON in and out. */
  request<T = unknown>(request: RawRequest): Promise<T>;
}

export type Patch =
  | { type: 'json'; operations: { op: string; path: string; value?: unknown; from?: string }[] }
  | { type: 'merge'; body: unknown }
  | { type: 'strategic'; body: unknown }
  | { type: 'apply'; body: unknown; fieldManager: string; force?: boolean };

export interface DeleteOptions {
  namespace?: string;
  gracePeriodSeconds?: number;
  propagationPolicy?: 'Foreground' | 'Background' | 'Orphan';
  preconditions?: { uid?: string; resourceVersion?: string };
}

export interface PodLogOptions {
  container?: string;
  follow?: boolean;
  previous?: boolean;
  tailLines?: number;
  sinceTime?: string;
  timestamps?: boolean;
  /** Only one of the streams (an extension of Kubernetes 1.32, ours by a header): default both. */
  stream?: 'All' | 'Stdout' | 'Stderr';
  /** Lines up to this time, RFC 3339 (an extension of ours). */
  untilTime?: string;
  /** Both streams as a collector reads them: each line with its time and stream, within the pod's limits (an extension of ours, see the node agent). */
  collect?: boolean;
  signal?: AbortSignal;
}

export interface PodExecOptions {
  container?: string;
  command: string[];
  stdin?: boolean;
  tty?: boolean;
  signal?: AbortSignal;
}

export interface PodExecSession {
  stdin?: Writable;
  stdout: Readable;
  stderr: Readable;
  /** Of the terminal, where there is one. */
  resize(size: { columns: number; rows: number }): void;
  /** The exit status, when everything was read. Rejects when the connection broke before it came. */
  exited: Promise<{ code: number }>;
}

export interface RawRequest {
  method: string;
  path: string;
  query?: Record<string, string>;
  body?: unknown;
  contentType?: string;
  signal?: AbortSignal;
}

/**
 * An informer keeps a local copy of a resource by list and watch, and tells of every change. It reconnects by itself,
 * lists again after 410, and never shows a half list: `synced` resolves when the first list is in.
 */
export interface Informer<T extends ClientObject> {
  readonly synced: Promise<void>;
  get(name: string, namespace?: string): Stored<T> | undefined;
  list(filter?: { namespace?: string; labels?: Record<string, string> }): Stored<T>[];
  /** Objects under a key of an index given at creation. */
  byIndex(index: string, key: string): Stored<T>[];
  /** Called for each change, after the copy has it: `old` is undefined for an addition, `now` for a removal. */
  onChange(listener: (now: Stored<T> | undefined, old: Stored<T> | undefined) => void): () => void;
  /** Resolves when the copy shows `resourceVersion` or a later one (a client reads its own writes). */
  reached(resourceVersion: string, signal?: AbortSignal): Promise<void>;
  close(): void;
}

export interface InformerOptions<T extends ClientObject> {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  indexes?: Record<string, (object: Stored<T>) => string[]>;
  /** Applied to every object before it is kept: drops what nobody will ask for. */
  transform?: (object: Stored<T>) => Stored<T>;
  /** Told of what went wrong and is tried again, and of what a listener threw. */
  onError?: (error: unknown) => void;
}
