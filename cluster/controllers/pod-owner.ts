/**
 * What every controller does whose objects own pods: it wakes an object when one of its pods changes or a pod without an
 * owner matches it; waits until the informers show what the last step wrote, so that no step counts on the past; claims
 * the pods; and then takes the kind's own step. That step is all that a kind has to bring.
 *
 * Promises to a step: `owner` is at least as new as the last status written, `pods` has every pod that an earlier step
 * made or changed, and none whose deletion an earlier step asked for is shown as active (`control.isGoing`).
 */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import { createEventRecorder, type EventRecorder } from '../client/event-recorder.ts';
import type { Stored, TypedResource } from '../kinds/kind.ts';
import { pods as podResource } from '../kinds/resources.ts';
import { matchesLabelSelector } from '../kinds/selector.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { LabelSelector, ObjectMeta } from '../kinds/types/meta.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { controllerIndex, controllerOf, isActive, keyOf, openInformer, sameJson, splitKey } from './objects.ts';
import { claim } from './claim.ts';
import { createPodControl, type PodControl, type PodMessages, type PodOwner } from './pod-control.ts';

const reachTimeout = 30_000;

interface OwningObject {
  metadata: ObjectMeta;
  status?: unknown;
}

export interface PodOwnerStep<T extends OwningObject> {
  /** The object, and the same as the subject of events and owner references. */
  object: Stored<T>;
  owner: PodOwner;
  /** Its pods, ended and stopping ones too. */
  pods: Stored<Pod>[];
  /** Those of them that have not ended, and that nobody stops. */
  active: Stored<Pod>[];
  control: PodControl;
  recorder: EventRecorder;
  context: ControllerContext;
  /** Writes the status unless it is there already; undefined counts as absent. */
  writeStatus(status: T['status']): Promise<void>;
}

export interface PodOwnerOptions<T extends OwningObject> {
  name: string;
  resource: TypedResource<T>;
  workers?: number;
  messages?: PodMessages;
  selectorOf(object: T): LabelSelector | undefined;
  /** Of an orphan that matches: is it one to take? */
  adopts?(object: Stored<T>, pod: Stored<Pod>): boolean;
  /** Opens what else the kind watches. Resolves when it is in. */
  watch?(context: ControllerContext, wake: Wake<T>): Promise<void>;
  /** Returns after how many milliseconds to look again though nothing changes; 0 at once. */
  step(step: PodOwnerStep<T>): Promise<number | undefined>;
  /** On every pod from its start: taken on with it, and taken off when it is let go. */
  finalizer?: string;
  /** More indexes of the pods. */
  podIndexes?: Record<string, (pod: Stored<Pod>) => string[]>;
  /** Before a step, and also where no object has the key: pods of one that had it before may be left. */
  tidy?(tidy: { key: string; object: Stored<T> | undefined; pods: Informer<Pod>; client: Client }): Promise<void>;
}

export interface Wake<T extends OwningObject> {
  owners: Informer<T>;
  pods: Informer<Pod>;
  enqueue(key: string): void;
  all(): void;
}

interface Running<T extends OwningObject> {
  owners: Informer<T>;
  pods: Informer<Pod>;
  control: PodControl;
  recorder: EventRecorder;
  /** By uid: the newest version of an object that was written here. */
  written: Map<string, string>;
}

export function apiVersionOf({ group, version }: { group: string; version: string }): string {
  return group === '' ? version : `${group}/${version}`;
}

export function createPodOwnerController<T extends OwningObject>(options: PodOwnerOptions<T>): Controller {
  const { name, resource, selectorOf } = options;
  const apiVersion = apiVersionOf(resource);
  let running: Running<T> | undefined;
  let requeue: (key: string, afterMilliseconds?: number) => void = () => undefined;

  async function settle({ owners, control, written }: Running<T>, uid: string, signal: AbortSignal): Promise<void> {
    const version = written.get(uid);
    if (version !== undefined) {
      await owners.reached(version, AbortSignal.any([signal, AbortSignal.timeout(reachTimeout)]));
      if (written.get(uid) === version) written.delete(uid);
    }
    await control.settled(uid, signal);
  }

  async function writeStatus(client: Client, object: Stored<T>, status: T['status']): Promise<void> {
    if (sameJson(object.status, status)) return;
    try {
      const updated = await client.updateStatus(resource, { ...object, status });
      running?.written.set(object.metadata.uid, updated.metadata.resourceVersion);
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 404)) throw error;
    }
  }

  async function reconcile(key: string, context: ControllerContext): Promise<void> {
    if (!running) return;
    const { owners, pods, control, recorder } = running;
    const { namespace, name: objectName } = splitKey(key);
    const before = owners.get(objectName, namespace);
    if (before) await settle(running, before.metadata.uid, context.signal);
    const object = owners.get(objectName, namespace);
    await options.tidy?.({ key, object, pods, client: context.client });
    if (!object || object.metadata.uid !== before?.metadata.uid) return;
    const { uid } = object.metadata;
    const owner: PodOwner = { apiVersion, kind: resource.kind, metadata: object.metadata };
    const claimed = await claim({
      client: context.client,
      resource: podResource,
      objects: pods,
      owner,
      selector: selectorOf(object),
      finalizer: options.finalizer,
      adopts: (pod) => isActive(pod) && options.adopts?.(object, pod) !== false,
    });
    control.tidy(uid, claimed);
    const after = await options.step({
      object,
      owner,
      pods: claimed,
      active: claimed.filter((pod) => isActive(pod) && !control.isGoing(uid, pod)),
      control,
      recorder,
      context,
      writeStatus: (status) => writeStatus(context.client, object, status),
    });
    if (after !== undefined) requeue(key, after);
  }

  /** Wakes the pod's owner, or whoever may take a pod that has none. */
  function wakeOwner(owners: Informer<T>, pod: Stored<Pod>): void {
    const { namespace = '' } = pod.metadata;
    const reference = controllerOf(pod.metadata);
    if (reference) {
      if (reference.kind === resource.kind && reference.apiVersion === apiVersion) {
        requeue(`${namespace}/${reference.name}`);
      }
      return;
    }
    for (const object of owners.list({ namespace })) {
      const selector = selectorOf(object);
      if (selector && matchesLabelSelector(selector, pod.metadata.labels)) requeue(keyOf(object.metadata));
    }
  }

  return {
    name,
    workers: options.workers ?? 8,
    async start(context, enqueue) {
      requeue = enqueue;
      const { client, log } = context;
      const owners = openInformer(context, resource);
      const pods = openInformer(context, podResource, { ...controllerIndex, ...options.podIndexes });
      const recorder = createEventRecorder({
        client,
        component: `${name}-controller`,
        onError: (error) => log('warn', `${name}-controller: an event was lost: ${String(error)}`),
      });
      const control = createPodControl({ client, pods, recorder, messages: options.messages });
      const all = (): void => {
        for (const { metadata } of owners.list()) enqueue(keyOf(metadata));
      };
      running = { owners, pods, control, recorder, written: new Map() };
      owners.onChange((now, old) => {
        if (now) return void enqueue(keyOf(now.metadata));
        if (!old) return;
        control.forget(old.metadata.uid);
        running?.written.delete(old.metadata.uid);
        enqueue(keyOf(old.metadata));
      });
      pods.onChange((now, old) => {
        if (now) wakeOwner(owners, now);
        if (old && controllerOf(old.metadata)?.uid !== (now && controllerOf(now.metadata)?.uid)) wakeOwner(owners, old);
      });
      await Promise.all([owners.synced, pods.synced]);
      await options.watch?.(context, { owners, pods, enqueue, all });
      all();
      // Of pods whose owner went while nobody looked.
      if (options.tidy) for (const pod of pods.list()) wakeOwner(owners, pod);
    },
    keys: () => running?.owners.list().map(({ metadata }) => keyOf(metadata)) ?? [],
    reconcile,
  };
}
