/**
 * Gives running containers new tokens of their service account before the old ones end (as a kubelet does: at four fifths of
 * a token's life, or after a day). When each was given is not written down: after a start of the agent all are given anew.
 */
import type { Container } from '#engine/engine.ts';
import type { Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import type { Pod, Volume } from '../kinds/types/core.ts';
import { type NodeContext, placeOf } from './context.ts';
import { messageOf } from './errors.ts';
import { containerNameLabel, podUidLabel } from './labels.ts';
import { createReferences } from './references.ts';
import { mountsOf } from './volumes.ts';

const DEFAULT_SECONDS = 3600;
const PART_OF_LIFE = 0.8;
const LONGEST = 24 * 3600 * 1000;
/** When it did not work: the API server was away. */
const RETRY = 10_000;

export class TokenRefresher {
  readonly #context: NodeContext;
  readonly #informer: Informer<Pod>;
  /** Milliseconds after which a pod's tokens are renewed; of tests, else by their life. */
  readonly #after: number | undefined;
  /** By the pod's uid. */
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #forget: () => void;
  #closed = false;

  constructor(context: NodeContext, informer: Informer<Pod>, after: number | undefined) {
    this.#context = context;
    this.#informer = informer;
    this.#after = after;
    this.#forget = informer.onChange((now, old) => {
      if (now === undefined) this.#stop(old?.metadata.uid ?? '');
      else if (!this.#timers.has(now.metadata.uid)) this.#schedule(now, this.#lifeOf(now));
    });
  }

  /** Once the informer shows the pods: those that were here before are given new tokens at once. */
  start(): void {
    for (const pod of this.#informer.list()) if (volumesOf(pod).length > 0) this.#schedule(pod, 0);
  }

  close(): void {
    this.#closed = true;
    this.#forget();
    for (const uid of [...this.#timers.keys()]) this.#stop(uid);
  }

  #stop(uid: string): void {
    clearTimeout(this.#timers.get(uid));
    this.#timers.delete(uid);
  }

  /** Undefined where a pod has no tokens. */
  #lifeOf(pod: Stored<Pod>): number | undefined {
    const lives = volumesOf(pod).flatMap(({ projected }) =>
      (projected?.sources ?? []).flatMap(({ serviceAccountToken }) =>
        serviceAccountToken === undefined ? [] : [serviceAccountToken.expirationSeconds ?? DEFAULT_SECONDS],
      ),
    );
    if (lives.length === 0) return undefined;
    return this.#after ?? Math.min(LONGEST, Math.min(...lives) * PART_OF_LIFE * 1000);
  }

  #schedule(pod: Stored<Pod>, milliseconds: number | undefined): void {
    const { uid } = pod.metadata;
    this.#stop(uid);
    if (milliseconds === undefined || this.#closed) return;
    const timer = setTimeout(() => void this.#renew(uid), milliseconds);
    timer.unref();
    this.#timers.set(uid, timer);
  }

  async #renew(uid: string): Promise<void> {
    const pod = this.#informer.list().find(({ metadata }) => metadata.uid === uid);
    if (pod === undefined) return this.#stop(uid);
    let next = this.#lifeOf(pod);
    try {
      const running = this.#context.engine
        .containers()
        .filter(({ labels, state }) => labels[podUidLabel] === uid && state === 'running');
      await Promise.all(running.map((container) => this.#give(pod, container)));
    } catch (error) {
      next = RETRY;
      if (!this.#closed)
        this.#context.log('warn', 'tokens could not be renewed; it is tried again', {
          pod: `${pod.metadata.namespace}/${pod.metadata.name}`,
          error: messageOf(error),
        });
    }
    this.#schedule(pod, next);
  }

  async #give(pod: Stored<Pod>, container: Container): Promise<void> {
    const context = this.#context;
    const spec = pod.spec;
    const definition = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].find(
      ({ name }) => name === container.labels[containerNameLabel],
    );
    if (definition === undefined) return;
    const volumes = new Set(volumesOf(pod).map(({ name }) => name));
    // A file that is mounted by `subPath` stays what it was, as everywhere.
    const volumeMounts = (definition.volumeMounts ?? []).filter(
      ({ name, subPath, subPathExpr }) => volumes.has(name) && !subPath && !subPathExpr,
    );
    const mounts = await mountsOf({
      pod,
      container: { ...definition, volumeMounts },
      place: placeOf(context, pod.status?.podIP ?? ''),
      references: createReferences(context.client, {
        name: pod.metadata.name,
        uid: pod.metadata.uid,
        namespace: pod.metadata.namespace ?? 'default',
        serviceAccountName: spec?.serviceAccountName ?? 'default',
      }),
      environment: new Map(),
      allowHostPath: false,
      writeFile: () => Promise.reject(new Error('no file of its own is needed')),
    });
    for (const mount of mounts)
      if (mount.kind === 'files') await context.engine.updateFiles(container.id, mount.target, mount.files);
  }
}

function volumesOf({ spec }: Pod): Volume[] {
  return (spec?.volumes ?? []).filter(({ projected }) =>
    projected?.sources?.some(({ serviceAccountToken }) => serviceAccountToken !== undefined),
  );
}
