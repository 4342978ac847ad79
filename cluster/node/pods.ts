/** All pods of the node: one worker for each, woken by the API and by the engine; and what no pod owns any more. */
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { EngineEvent, Sandbox } from '#engine/engine.ts';
import type { Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import type { Pod } from '../kinds/types/core.ts';
import { podDirectory, podsDirectory } from './container-run.ts';
import type { NodeContext } from './context.ts';
import { messageOf } from './errors.ts';
import { containerNameLabel, graceLabel, mirrorAnnotation, nodeLabel, podUidLabel, staticSourceOf } from './labels.ts';
import { ended, MirrorPod, mirrorName, removeMirror } from './mirror-pod.ts';
import { PodWorker } from './worker.ts';

/** A pod that is gone from the API is not waited for longer than this. */
const longestOrphanGrace = 30;
const resubscribeAfter = 100;
/** Below a pod's directory: what CSI drivers published for it. */
const PUBLISHED = ['volumes', 'volumeDevices'];

export class PodWorkers {
  readonly #context: NodeContext;
  readonly #informer: Informer<Pod>;
  readonly #workers = new Map<string, PodWorker>();
  /** Those of static pods, by `namespace/name`. */
  readonly #mirrors = new Map<string, MirrorPod>();
  #statics: readonly Stored<Pod>[] = [];
  readonly #abort = new AbortController();
  #stopListening: (() => void) | undefined;

  constructor(context: NodeContext, informer: Informer<Pod>) {
    this.#context = context;
    this.#informer = informer;
  }

  /** Resolves when every pod has its worker. */
  async start(): Promise<void> {
    void this.#followEngine();
    await this.#informer.synced;
    this.#stopListening = this.#informer.onChange((now, old) => this.#change(now, old));
    for (const pod of this.#informer.list()) this.#change(pod, undefined);
    for (const sandbox of this.#context.engine.sandboxes()) {
      if (sandbox.labels[nodeLabel] !== this.#context.nodeName) continue;
      if (!this.#workers.has(sandbox.labels[podUidLabel] ?? '')) void this.#removeOrphan(sandbox);
    }
    await this.#removeOldFiles();
    await this.#context.volumes.removeStrays(this.#workers.keys());
  }

  /** Files of volumes of pods that are gone. */
  async #removeOldFiles(): Promise<void> {
    const directory = podsDirectory(this.#context);
    const known = new Set([...this.#workers.keys()].map((uid) => podDirectory(this.#context, uid)));
    const names = await readdir(directory).catch(() => []); // None was ever made.
    for (const path of names.map((name) => join(directory, name))) {
      // What is published for a pod may be mounted below: that goes in its own way.
      if (!known.has(path) && !PUBLISHED.some((name) => existsSync(join(path, name))))
        await rm(path, { recursive: true, force: true });
    }
  }

  /** The newest of this name: an older one may still be going. */
  find(namespace: string, name: string): PodWorker | undefined {
    return this.all().findLast(({ pod: { metadata } }) => metadata.name === name && metadata.namespace === namespace);
  }

  all(): PodWorker[] {
    return [...this.#workers.values()];
  }

  /** The pods that have their place on this node, but for one. */
  placed(uid: string): Pod[] {
    return this.all().flatMap((worker) => (worker.uid !== uid && worker.isPlaced ? [worker.pod] : []));
  }

  async close(): Promise<void> {
    this.#abort.abort();
    this.#stopListening?.();
    await Promise.all(this.all().map((worker) => worker.close()));
  }

  /** From now on these pods run besides those of the API, and none else that came this way before. */
  setStatic(pods: readonly Stored<Pod>[]): void {
    this.#statics = pods;
    const wanted = new Set(pods.map(({ metadata }) => metadata.uid));
    for (const worker of this.#workers.values()) {
      const isStatic = staticSourceOf(worker.pod.metadata.annotations) !== undefined;
      if (isStatic && !wanted.has(worker.uid)) worker.update(ended(worker.pod));
    }
    this.#startStatics();
  }

  /** One whose manifest was another before waits until that one has ended. */
  #startStatics(): void {
    for (const pod of this.#statics) if (!this.#mirrors.has(mirrorName(pod))) this.#startStatic(pod);
  }

  #startStatic(pod: Stored<Pod>): void {
    const name = mirrorName(pod);
    const mirror = new MirrorPod(this.#context, pod);
    this.#mirrors.set(name, mirror);
    const done = (): void => {
      this.#workers.delete(pod.metadata.uid);
      this.#mirrors.delete(name);
      this.#startStatics();
    };
    const known = this.#informer.list().find((one) => mirrorName(one) === name);
    if (known) mirror.observe(known);
    this.#workers.set(pod.metadata.uid, new PodWorker(this.#context, pod, done, mirror));
  }

  #change(now: Stored<Pod> | undefined, old: Stored<Pod> | undefined): void {
    const either = now ?? old;
    if (either?.metadata.annotations?.[mirrorAnnotation] !== undefined)
      return this.#mirrorChanged(either, now === undefined);
    if (old && old.metadata.uid !== now?.metadata.uid) this.#workers.get(old.metadata.uid)?.gone();
    if (!now) return;
    const { uid } = now.metadata;
    const worker = this.#workers.get(uid);
    if (worker) worker.update(now);
    else this.#workers.set(uid, new PodWorker(this.#context, now, () => this.#workers.delete(uid)));
  }

  /** The API's object of a static pod: nobody changes what runs by it. */
  #mirrorChanged(object: Stored<Pod>, isGone: boolean): void {
    const mirror = this.#mirrors.get(mirrorName(object));
    if (isGone) mirror?.lost(object);
    else if (mirror) mirror.observe(object);
    else void removeMirror(this.#context, object);
  }

  async #followEngine(): Promise<void> {
    const { engine, log } = this.#context;
    const signal = this.#abort.signal;
    while (!signal.aborted) {
      // Once it is heard again, everything is looked at: what happened in between was told to nobody.
      const look = setTimeout(() => this.#wakeAll(), 10);
      try {
        for await (const event of engine.events({ signal })) this.#onEngineEvent(event);
      } catch (error) {
        if (signal.aborted) return;
        log('warn', 'the engine cut off its events; everything is looked at again', { error: messageOf(error) });
      }
      clearTimeout(look);
      if (!signal.aborted) await delay(resubscribeAfter, undefined, { signal }).catch(() => undefined);
    }
  }

  #wakeAll(): void {
    for (const worker of this.#workers.values()) worker.wake();
  }

  #onEngineEvent({ type, id, sandbox: owner }: EngineEvent): void {
    if (type !== 'container-exited' && type !== 'container-oom' && type !== 'sandbox-removed') return;
    if (type === 'sandbox-removed') {
      for (const worker of this.#workers.values()) if (!worker.sandbox()) worker.wake();
      return;
    }
    const { engine } = this.#context;
    const sandbox = engine.sandbox(owner ?? engine.container(id)?.sandbox ?? '');
    this.#workers.get(sandbox?.labels[podUidLabel] ?? '')?.wake();
  }

  async #removeOrphan(sandbox: Sandbox): Promise<void> {
    const { engine, log } = this.#context;
    const graceSeconds = Math.min(longestOrphanGrace, Number(sandbox.labels[graceLabel]) || 0);
    try {
      const running = engine
        .containers()
        .filter(
          ({ sandbox: owner, state, labels }) =>
            owner === sandbox.id && state === 'running' && labels[containerNameLabel] !== undefined,
        );
      const signal = this.#abort.signal;
      await Promise.all(running.map(({ id }) => engine.stopContainer(id, { graceSeconds, signal })));
      await engine.removeSandbox(sandbox.id);
      await this.#context.volumes.orphanRemoved();
      log('info', 'removed what a pod left that is gone', { sandbox: sandbox.name });
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      log('warn', 'what a pod left was not removed', { sandbox: sandbox.name, error: messageOf(error) });
    }
  }
}
