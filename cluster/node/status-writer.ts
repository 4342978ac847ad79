/**
 * Writes one pod's status to the API: only what changed, one write at a time, the newest state last. Transitions are
 * written at once; first words (`ContainerCreating`) may wait a little, as the next ones often follow in milliseconds.
 */
import { ApiError } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { pods } from '../kinds/resources.ts';
import type { ContainerStatus, Pod, PodCondition, PodStatus } from '../kinds/types/core.ts';
import type { NodeContext } from './context.ts';
import { messageOf } from './errors.ts';

const patience = 100;
const retryAfter = 1000;

/** A pod as the API has it: its status is read and written, and it is removed at last. */
export interface PodObject {
  /** What the API has now, as far as is known here. */
  readonly current: PodStatus | undefined;
  /** The object as it was seen by watch. */
  observe(pod: Stored<Pod>): void;
  publish(status: PodStatus): void;
  /** Resolves when what was published last is written, or was given up. */
  flush(): Promise<void>;
  /** Nothing of it runs any more. */
  remove(): Promise<void>;
  close(): void;
}

export class StatusWriter implements PodObject {
  readonly #context: NodeContext;
  #pod: Stored<Pod>;
  #wanted: PodStatus | undefined;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #closed = false;

  constructor(context: NodeContext, pod: Stored<Pod>) {
    this.#context = context;
    this.#pod = pod;
  }

  /** What the API has, as far as is known here. */
  get current(): PodStatus | undefined {
    return this.#pod.status;
  }

  /** The object as it was seen by watch; older ones than what was written are not believed. */
  observe(pod: Stored<Pod>): void {
    if (isNewer(pod.metadata.resourceVersion, this.#pod.metadata.resourceVersion)) this.#pod = pod;
  }

  publish(status: PodStatus): void {
    this.#wanted = status;
    const changes = changesOf(this.#pod.status, status);
    if (!changes || this.#closed) return;
    if (isUrgent(changes)) this.#start();
    else this.#timer ??= setTimeout(() => this.#start(), patience);
  }

  /** Resolves when what was published last is written, or was given up. */
  async flush(): Promise<void> {
    if (this.#wanted && changesOf(this.#pod.status, this.#wanted)) this.#start();
    await this.#writing;
  }

  async remove(): Promise<void> {
    const { name, namespace, uid } = this.#pod.metadata;
    try {
      await this.#context.client.delete(pods, name, {
        ...(namespace !== undefined && { namespace }),
        gracePeriodSeconds: 0,
        preconditions: { uid },
      });
    } catch (error) {
      // Gone already, or another pod has the name by now.
      if (!(error instanceof ApiError && (error.code === 404 || error.code === 409))) throw error;
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  async #write(): Promise<void> {
    while (!this.#closed && this.#wanted) {
      const changes = changesOf(this.#pod.status, this.#wanted);
      if (!changes) return;
      const { name, namespace, uid } = this.#pod.metadata;
      try {
        const body = { metadata: { uid }, status: changes };
        const options = { ...(namespace !== undefined && { namespace }), subresource: 'status' as const };
        const written = await this.#context.client.patch(pods, name, { type: 'strategic', body }, options);
        this.observe(written);
      } catch (error) {
        if (error instanceof ApiError && error.code === 404) return;
        this.#context.log('warn', 'a pod status was not written', {
          pod: `${namespace}/${name}`,
          error: messageOf(error),
        });
        if (isFinal(error)) return;
        if (!this.#closed) this.#timer ??= setTimeout(() => this.#start(), retryAfter);
        return;
      }
    }
  }
}

/** The same write would be refused again. A conflict passes, or the pod turns out to be gone. */
function isFinal(error: unknown): boolean {
  if (!(error instanceof ApiError) || error.code === 409 || error.code === 429) return false;
  return error.code >= 400 && error.code < 500;
}

function isNewer(version: string, than: string): boolean {
  const [a, b] = [Number(version), Number(than)];
  return Number.isNaN(a) || Number.isNaN(b) ? version !== than : a > b;
}

type StatusPatch = { [Field in keyof PodStatus]?: unknown };

/** The strategic merge patch that makes `wanted` of `current`; undefined where they agree. */
export function changesOf(current: PodStatus = {}, wanted: PodStatus): StatusPatch | undefined {
  const patch: StatusPatch = {};
  const fields = ['phase', 'reason', 'message', 'hostIP', 'podIP', 'startTime', 'qosClass'] as const;
  for (const field of fields) {
    if (current[field] !== wanted[field]) patch[field] = wanted[field] ?? null;
  }
  for (const field of ['initContainerStatuses', 'containerStatuses', 'ephemeralContainerStatuses'] as const) {
    if (wanted[field] && !same(current[field], wanted[field])) patch[field] = wanted[field];
  }
  // Lists that the server would merge by key, where old members have to go.
  for (const field of ['podIPs', 'hostIPs'] as const) {
    if (same(current[field] ?? [], wanted[field] ?? [])) continue;
    patch[field] = current[field]?.length ? [{ $patch: 'replace' }, ...(wanted[field] ?? [])] : wanted[field];
  }
  const conditions = (wanted.conditions ?? []).flatMap((condition) => {
    const before = current.conditions?.find(({ type }) => type === condition.type);
    if (same(before, condition)) return [];
    const gone = (['reason', 'message'] as const).filter(
      (key) => before?.[key] !== undefined && condition[key] === undefined,
    );
    return [{ ...condition, ...Object.fromEntries(gone.map((key) => [key, null])) }];
  });
  if (conditions.length > 0) patch.conditions = conditions;
  return Object.keys(patch).length > 0 ? patch : undefined;
}

const quiet = new Set(['ContainerCreating', 'PodInitializing']);

function isUrgent(patch: StatusPatch): boolean {
  if (patch.phase !== undefined && patch.phase !== 'Pending') return true;
  const statuses = [patch.containerStatuses, patch.initContainerStatuses, patch.ephemeralContainerStatuses].flatMap(
    (list) => (list as ContainerStatus[] | undefined) ?? [],
  );
  if (statuses.some(({ state }) => !state?.waiting || !quiet.has(state.waiting.reason ?? ''))) return true;
  return ((patch.conditions ?? []) as PodCondition[]).some(({ type, status }) => type === 'Ready' && status === 'True');
}

/** Equal as JSON, whatever the order of members; an absent member equals one that is null or undefined. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a === null || a === undefined || b === null || b === undefined) return (a ?? null) === (b ?? null);
  if (typeof a !== 'object' || typeof b !== 'object') return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return (
      Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((one, index) => same(one, b[index]))
    );
  }
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].every((key) => same(left[key], right[key]));
}
