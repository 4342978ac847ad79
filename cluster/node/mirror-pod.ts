/**
 * The mirror of a static pod: an object in the API that shows it, and that nobody can change it by. Its status is kept here first,
 * since the pod runs whether the API answers or not; the object is made as soon as it does, again where somebody deletes
 * it, and anew where the manifest is another.
 */
import { ApiError } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { nodes, pods } from '../kinds/resources.ts';
import { terminationGrace } from '../kinds/termination-grace.ts';
import type { Pod, PodStatus } from '../kinds/types/core.ts';
import type { NodeContext } from './context.ts';
import { messageOf } from './errors.ts';
import { mirrorAnnotation } from './labels.ts';
import { changesOf, type PodObject } from './status-writer.ts';

const retryAfter = 1000;
const retryAtMost = 30_000;

export function mirrorName({ metadata }: Pick<Pod, 'metadata'>): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** A static pod whose file is gone: it ends as one that was deleted. */
export function ended(pod: Stored<Pod>): Stored<Pod> {
  if (pod.metadata.deletionTimestamp !== undefined) return pod;
  const seconds = terminationGrace(pod.spec);
  const deletionTimestamp = new Date(Date.now() + seconds * 1000).toISOString();
  return { ...pod, metadata: { ...pod.metadata, deletionTimestamp, deletionGracePeriodSeconds: seconds } };
}

/** Best effort: who reads of it again tries again. */
export async function removeMirror({ client, log }: NodeContext, { metadata }: Stored<Pod>): Promise<void> {
  const { name, namespace = 'default', uid } = metadata;
  try {
    await client.delete(pods, name, { namespace, gracePeriodSeconds: 0, preconditions: { uid } });
  } catch (error) {
    if (error instanceof ApiError && (error.code === 404 || error.code === 409)) return;
    log('warn', 'the mirror of a static pod was not removed', { pod: `${namespace}/${name}`, error: messageOf(error) });
  }
}

export class MirrorPod implements PodObject {
  readonly #context: NodeContext;
  readonly #pod: Stored<Pod>;
  #mirror: Stored<Pod> | undefined;
  #status: PodStatus | undefined;
  #working: Promise<void> | undefined;
  #again = false;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(context: NodeContext, pod: Stored<Pod>) {
    this.#context = context;
    this.#pod = pod;
  }

  get current(): PodStatus | undefined {
    return this.#status;
  }

  observe(object: Stored<Pod>): void {
    if (object.metadata.annotations?.[mirrorAnnotation] === undefined) return; // The static pod itself.
    this.#mirror = object;
    // What an agent before wrote is all that is known of earlier runs.
    if (this.#isOwn) this.#status ??= object.status;
    this.#work();
  }

  /** It is not in the API any more. */
  lost({ metadata }: Stored<Pod>): void {
    if (this.#mirror?.metadata.uid === metadata.uid) this.#mirror = undefined;
    this.#work();
  }

  publish(status: PodStatus): void {
    this.#status = status;
    this.#work();
  }

  async flush(): Promise<void> {
    await this.#working;
  }

  /** Resolves whether or not the API answers: a mirror that is left is removed when it does (`removeMirror`). */
  async remove(): Promise<void> {
    this.close();
    await this.#working;
    if (this.#mirror) await removeMirror(this.#context, this.#mirror);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** Whether the object shows this very manifest, and is to stay. */
  get #isOwn(): boolean {
    const { annotations, deletionTimestamp } = this.#mirror?.metadata ?? {};
    return annotations?.[mirrorAnnotation] === this.#pod.metadata.uid && deletionTimestamp === undefined;
  }

  #work(): void {
    if (this.#closed) return;
    if (this.#working) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#timer);
    this.#again = false;
    this.#working = this.#write()
      .then(() => {
        this.#failures = 0;
      })
      .catch((error: unknown) => {
        const delay = Math.min(retryAtMost, retryAfter * 2 ** this.#failures++);
        if (this.#failures === 1)
          this.#context.log('warn', 'a static pod is not shown in the API yet', {
            pod: mirrorName(this.#pod),
            error: messageOf(error),
          });
        if (!this.#closed) this.#timer = setTimeout(() => this.#work(), delay);
      })
      .finally(() => {
        this.#working = undefined;
        if (this.#again) this.#work();
      });
  }

  async #write(): Promise<void> {
    const { client } = this.#context;
    if (this.#mirror && !this.#isOwn) {
      const old = this.#mirror;
      this.#mirror = undefined;
      await removeMirror(this.#context, old);
    }
    this.#mirror ??= await client.create(pods, await this.#object());
    const changes = this.#status && changesOf(this.#mirror.status, this.#status);
    if (!changes) return;
    const { name, namespace, uid } = this.#mirror.metadata;
    const body = { metadata: { uid }, status: changes };
    const options = { ...(namespace !== undefined && { namespace }), subresource: 'status' as const };
    try {
      this.#mirror = await client.patch(pods, name, { type: 'strategic', body }, options);
    } catch (error) {
      // Somebody deleted it: it is made again.
      if (error instanceof ApiError && error.code === 404) this.#mirror = undefined;
      throw error;
    }
  }

  async #object(): Promise<Pod> {
    const { metadata, spec } = this.#pod;
    const { name, namespace, labels, annotations, uid } = metadata;
    const node = await this.#context.client.get(nodes, this.#context.nodeName);
    const owner = {
      apiVersion: 'v1',
      kind: 'Node',
      name: node.metadata.name,
      uid: node.metadata.uid,
      controller: true,
    };
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        ...(namespace !== undefined && { namespace }),
        ...(labels && { labels }),
        annotations: { ...annotations, [mirrorAnnotation]: uid },
        ownerReferences: [owner],
      },
      ...(spec && { spec }),
    };
  }
}
