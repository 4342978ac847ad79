/**
 * What the pods of a node share of volumes: the disk volumes and the devices that several may use, the watches of what files are made of, and the
 * fate of the node's own PersistentVolumes: one that is deleted goes from the disk, one that was made larger grows while it is used.
 */
import { createHash } from 'node:crypto';
import { type Engine, EngineError } from '#engine/engine.ts';
import { ApiError, type Client, type Informer } from '../client/client.ts';
import { createInformer } from '../client/informer.ts';
import type { Stored } from '../kinds/kind.ts';
import { localHandle, smallestVolume, volumeFinalizer, volumeMade, volumeNodeLabel } from '../kinds/local-volume.ts';
import { persistentVolumes } from '../kinds/resources.ts';
import type { ObjectReference, PersistentVolume } from '../kinds/types/core.ts';
import type { AgentOptions } from './agent.ts';
import { messageOf } from './errors.ts';
import type { EventRecorder } from './events.ts';
import { ExclusiveVolumes } from './exclusive-volumes.ts';
import { LocalDevices } from './local-devices.ts';
import { ObjectWatches } from './object-watches.ts';
import { bytesOf } from './quantity.ts';
import { finishResize } from './volume-resize.ts';

const protection = 'kubernetes.io/pv-protection';
const retryAfter = 10_000;

export interface NodeVolumesOptions {
  nodeName: string;
  client: Client;
  engine: Engine;
  recorder: EventRecorder;
  /** The agent's own. */
  dataDirectory: string;
  log: AgentOptions['log'];
}

export class NodeVolumes {
  readonly devices: LocalDevices;
  readonly watches: ObjectWatches;
  readonly exclusive: ExclusiveVolumes;
  readonly #options: NodeVolumesOptions;
  readonly #scratchPrefix: string;
  /** Uids of pods by the volume's handle. */
  readonly #users = new Map<string, Set<string>>();
  readonly #work = new Map<string, Promise<void>>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #informer: Informer<PersistentVolume> | undefined;
  #closed = false;

  constructor(options: NodeVolumesOptions) {
    this.#options = options;
    this.#scratchPrefix = `pod-${createHash('sha256').update(options.nodeName).digest('hex').slice(0, 8)}-`;
    this.devices = new LocalDevices(options.dataDirectory);
    this.exclusive = new ExclusiveVolumes(options.engine);
    this.watches = new ObjectWatches(options.client, (error) => this.#warn('a watch of a volume broke off', error));
  }

  /** Follows the PersistentVolumes of this node. */
  start(): void {
    this.#informer = createInformer(this.#options.client, persistentVolumes, {
      labelSelector: `${volumeNodeLabel}=${this.#options.nodeName}`,
      onError: (error) => this.#warn('the watch on PersistentVolumes broke off; it is tried again', error),
    });
    this.#informer.synced
      .then(() => this.#freeDevices())
      .catch((error: unknown) => this.#warn('devices of pods that are gone were not looked for', error));
    this.#informer.onChange((now) => {
      if (now) this.#look(now.metadata.name);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.watches.close();
    this.#informer?.close();
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all(this.#work.values());
  }

  /** The name of a pod's scratch volume. Other agents on the same engine have others. */
  scratchName(podUid: string, volume: string): string {
    return `${this.#scratchPrefix}${podUid}-${volume}`;
  }

  /** What pods left that are gone. */
  async removeStrays(podUids: Iterable<string>): Promise<void> {
    const uids = [...podUids];
    await this.devices
      .removeStrays(uids)
      .catch((error: unknown) => this.#warn('a device of pods that are gone is still mounted', error));
    const kept = uids.map((uid) => this.scratchName(uid, ''));
    for (const { name } of this.#options.engine.diskVolumes.list()) {
      if (!name.startsWith(this.#scratchPrefix) || kept.some((prefix) => name.startsWith(prefix))) continue;
      await this.#options.engine.diskVolumes.remove(name);
    }
  }

  /** Mounts it, made where it is not there, for a pod. @returns its directory, or what the engine gives as a device */
  async mount(handle: string, volume: Stored<PersistentVolume>, podUid: string): Promise<string> {
    const users = this.#users.get(handle) ?? new Set();
    this.#users.set(handle, users.add(podUid));
    return await this.#mount(handle, volume);
  }

  /** The claim is told of a size that it did not have before. */
  async #mount(handle: string, volume: Stored<PersistentVolume>): Promise<string> {
    const { engine, client, recorder } = this.#options;
    const existing = volume.metadata.annotations?.[volumeMade] !== undefined;
    const kind = volume.spec?.volumeMode === 'Block' ? 'block' : 'lasting';
    const mounted = await engine.diskVolumes.mount({ name: handle, sizeBytes: sizeOf(volume), kind, existing });
    if (!existing) {
      const body = { metadata: { annotations: { [volumeMade]: 'true' } } };
      await client.patch(persistentVolumes, volume.metadata.name, { type: 'merge', body });
    }
    if (mounted.sizeBytes >= sizeOf(volume)) await finishResize(client, recorder, volume);
    return mounted.path;
  }

  /** The pod uses none of them any more. */
  async release(podUid: string): Promise<void> {
    for (const [handle, users] of this.#users) {
      if (!users.has(podUid)) continue;
      if (users.size === 1) await this.#options.engine.diskVolumes.unmount(handle);
      users.delete(podUid);
      if (users.size === 0) this.#users.delete(handle);
    }
    await this.devices.release(podUid);
  }

  /** The containers are gone of a pod that went while no agent was here. */
  async orphanRemoved(): Promise<void> {
    this.exclusive.wake();
    await this.#freeDevices();
  }

  /** Of pods that went while no agent was here: they would be held until the next pod of each comes and goes. */
  async #freeDevices(): Promise<void> {
    const { diskVolumes } = this.#options.engine;
    const held = diskVolumes.list().filter(({ kind, mounted }) => kind === 'block' && mounted);
    const own = new Set((this.#informer?.list() ?? []).map(localHandle));
    for (const { name } of held) {
      if (!own.has(name) || this.#users.has(name)) continue;
      try {
        await diskVolumes.unmount(name);
      } catch (error) {
        // A container has it yet, of a pod that will ask for it, or of one that is gone: then this is asked again after it.
        if (!(error instanceof EngineError && error.code === 'conflict')) throw error;
      }
    }
  }

  /** One thing at a time for each volume; the newest that is known is looked at. */
  #look(name: string): void {
    const before = this.#work.get(name) ?? Promise.resolve();
    const next = before.then(async () => {
      const volume = this.#closed ? undefined : this.#informer?.get(name);
      if (volume) await this.#settle(volume);
    });
    const done = next
      .catch((error: unknown) => {
        if (!this.#closed) this.#retry(name, error);
      })
      .finally(() => {
        if (this.#work.get(name) === done) this.#work.delete(name);
      });
    this.#work.set(name, done);
  }

  async #settle(volume: Stored<PersistentVolume>): Promise<void> {
    const handle = localHandle(volume);
    const { deletionTimestamp, finalizers = [] } = volume.metadata;
    if (handle === undefined) return;
    if (deletionTimestamp !== undefined && finalizers.includes(volumeFinalizer) && !finalizers.includes(protection))
      await this.#remove(volume, handle);
    else if (this.#users.has(handle)) await this.#grow(volume, handle);
  }

  /** What is to be retained stays on the disk; only the object goes. */
  async #remove(volume: Stored<PersistentVolume>, handle: string): Promise<void> {
    const { client, engine } = this.#options;
    const { diskVolumes } = engine;
    if (volume.spec?.persistentVolumeReclaimPolicy === 'Delete') await diskVolumes.remove(handle);
    else await diskVolumes.unmount(handle);
    const { name, resourceVersion, finalizers = [] } = volume.metadata;
    const body = { metadata: { resourceVersion, finalizers: finalizers.filter((one) => one !== volumeFinalizer) } };
    try {
      await client.patch(persistentVolumes, name, { type: 'merge', body });
    } catch (error) {
      // Gone, or changed: then the change is looked at.
      if (!(error instanceof ApiError && (error.code === 404 || error.code === 409))) throw error;
    }
  }

  async #grow(volume: Stored<PersistentVolume>, handle: string): Promise<void> {
    const now = this.#options.engine.diskVolumes.list().find(({ name }) => name === handle);
    if (now !== undefined && now.sizeBytes < sizeOf(volume)) await this.#mount(handle, volume);
  }

  #retry(name: string, error: unknown): void {
    this.#warn('a PersistentVolume could not be looked after; it is tried again', error, { volume: name });
    const volume = this.#informer?.get(name);
    if (volume) {
      const reason = volume.metadata.deletionTimestamp === undefined ? 'VolumeResizeFailed' : 'VolumeFailedDelete';
      this.#options.recorder.record({
        type: 'Warning',
        reason,
        message: messageOf(error),
        object: volumeReference(volume),
      });
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#look(name);
    }, retryAfter);
    timer.unref();
    this.#timers.add(timer);
  }

  #warn(message: string, error: unknown, fields: Record<string, unknown> = {}): void {
    if (!this.#closed) this.#options.log('warn', message, { ...fields, error: messageOf(error) });
  }
}

function sizeOf({ spec }: PersistentVolume): number {
  return Math.max(smallestVolume, bytesOf(spec?.capacity?.['storage'] ?? '0'));
}

function volumeReference({ metadata: { name, uid } }: Stored<PersistentVolume>): ObjectReference {
  return { kind: 'PersistentVolume', apiVersion: 'v1', name, uid };
}
