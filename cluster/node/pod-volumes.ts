/** The volumes of one pod: prepared before anything of it starts, kept as the objects are that they are made of, released at its end. */
import type { Engine, Mount } from '#engine/engine.ts';
import { once } from '#lib/once.ts';
import type { Stored } from '../kinds/kind.ts';
import type { Container as ContainerDefinition, Pod, Volume } from '../kinds/types/core.ts';
import { grow } from './backoff.ts';
import { prepareClaim, prepareCsi, SetUpError } from './claimed-volume.ts';
import { type NodeContext, placeOf, recordPodEvent } from './context.ts';
import { AgentError, isNotFound, messageOf } from './errors.ts';
import { giveToGroup } from './fs-group.ts';
import { prepareHostPath } from './host-path.ts';
import { containerNameLabel, podUidLabel } from './labels.ts';
import { bytesOf } from './quantity.ts';
import { createReferences, type References } from './references.ts';
import { filesOf, hasDownward, objectsOf, tokenLifeOf } from './volume-files.ts';
import { VolumeHealth } from './volume-health.ts';
import { type VolumeStats, volumeStatsOf } from './volume-stats.ts';
import { defaultDiskBytes, type PreparedVolume } from './volumes.ts';

const FIRST_RETRY = 500;
const LAST_RETRY = 122_000;
const PART_OF_TOKEN_LIFE = 0.8;
const LONGEST_TIMER = 24 * 3600 * 1000;
/** As often as a kubelet looks at a pod again. */
const REPUBLISH_AFTER = 60_000;

export interface PodVolumesOptions {
  context: NodeContext;
  /** The newest that is known. */
  pod: () => Stored<Pod>;
  wake: () => void;
}

export class PodVolumes {
  readonly #options: PodVolumesOptions;
  /** Replaced, never changed: who began with one can tell whether there is a newer. */
  #prepared: ReadonlyMap<string, PreparedVolume> = new Map();
  #running: Promise<void> | undefined;
  #again = false;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #renewal: NodeJS.Timeout | undefined;
  #republishing: NodeJS.Timeout | undefined;
  /** Resource versions of objects, as they were read; and as they were told while they were read. */
  readonly #used = new Map<string, string | undefined>();
  readonly #told = new Map<string, string | undefined>();
  readonly #watches = new Map<string, () => void>();
  readonly #health: VolumeHealth;
  readonly #abort = new AbortController();
  #closed = false;

  constructor(options: PodVolumesOptions) {
    this.#options = options;
    this.#health = new VolumeHealth({ ...options, prepared: () => this.#prepared });
  }

  get prepared(): ReadonlyMap<string, PreparedVolume> {
    return this.#prepared;
  }

  async stats(): Promise<VolumeStats[]> {
    const { context, pod } = this.#options;
    return await volumeStatsOf(pod(), this.#prepared, context.csi);
  }

  get ready(): boolean {
    return this.#needed().every(({ name }) => this.#prepared.has(name));
  }

  /** Asked at every look at a pod that is to run. */
  ensure(): void {
    if (this.ready || this.#running !== undefined || this.#retry !== undefined) return;
    this.#run();
  }

  /** The pod changed: its labels and annotations may be in files. */
  podChanged(now: Stored<Pod>, before: Stored<Pod>): void {
    const shown = ({ metadata: { labels, annotations } }: Stored<Pod>): string => JSON.stringify([labels, annotations]);
    if (this.#prepared.size > 0 && this.#needed().some(hasDownward) && shown(now) !== shown(before)) this.#run();
  }

  /** A container that was begun with older files gets the present ones. */
  async catchUp(id: string, began: ReadonlyMap<string, PreparedVolume>): Promise<void> {
    if (began !== this.#prepared) await this.#give(id);
  }

  close(): void {
    this.#closed = true;
    this.#abort.abort();
    this.#health.close();
    clearTimeout(this.#retry);
    clearTimeout(this.#renewal);
    clearTimeout(this.#republishing);
    for (const stop of this.#watches.values()) stop();
    this.#watches.clear();
  }

  async settled(): Promise<void> {
    await this.#running;
  }

  /** Nothing of the pod runs any more, and will again. */
  readonly release = once(() => this.#release());

  async #release(): Promise<void> {
    this.close();
    await this.settled();
    const { context, pod } = this.#options;
    const { uid } = pod().metadata;
    for (const { name, emptyDir } of pod().spec?.volumes ?? [])
      if (emptyDir && emptyDir.medium !== 'Memory')
        await context.engine.diskVolumes.remove(context.volumes.scratchName(uid, name));
    await context.volumes.release(uid);
    await context.csi?.release(uid);
    context.volumes.exclusive.release(uid);
  }

  /** Those that some container mounts, or has as a device. */
  #needed(): Volume[] {
    const { spec } = this.#options.pod();
    const mounted = new Set(
      [...(spec?.initContainers ?? []), ...(spec?.containers ?? []), ...(spec?.ephemeralContainers ?? [])].flatMap(
        ({ volumeMounts = [], volumeDevices = [] }) => [...volumeMounts, ...volumeDevices].map(({ name }) => name),
      ),
    );
    return (spec?.volumes ?? []).filter(({ name }) => mounted.has(name));
  }

  /** @param files  those too that are there already */
  #run(files = true): void {
    const isRetry = this.#retry !== undefined;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (this.#closed) return;
    if (this.#running !== undefined) {
      this.#again = true;
      return;
    }
    this.#again = false;
    this.#told.clear();
    this.#running = this.#prepareAll(files || isRetry)
      .catch((error: unknown) => this.#failed(error))
      .finally(() => {
        this.#running = undefined;
        this.#options.wake();
        const news = [...this.#told].some(([key, version]) => this.#isNews(key, version));
        if (this.#again || news) this.#run();
      });
  }

  #failed(error: unknown): void {
    if (this.#closed) return;
    const { context, pod } = this.#options;
    context.log('error', 'volumes could not be prepared', { pod: pod().metadata.name, error: messageOf(error) });
    this.#retryLater();
  }

  async #prepareAll(files: boolean): Promise<void> {
    const references = this.#references();
    const next = new Map(this.#prepared);
    const needed = this.#needed();
    const results = await Promise.allSettled(
      needed.map(async (volume) => {
        const known = next.get(volume.name);
        if (known !== undefined && !(known.kind === 'files' ? files : isRepublished(known))) return;
        next.set(volume.name, await this.#prepare(volume, references));
      }),
    );
    if (this.#closed) return;
    this.#prepared = next;
    this.#watch(needed);
    this.#health.watch();
    const failures = results.flatMap((result, index) => {
      const volume = needed[index];
      return result.status === 'rejected' && volume ? [{ volume, error: result.reason as unknown }] : [];
    });
    for (const { volume, error } of failures) this.#say(volume, error);
    await this.#giveAll();
    if (failures.length > 0) this.#retryLater();
    else {
      this.#failures = 0;
      if (files) this.#renewLater(needed);
      this.#republishLater();
    }
  }

  #references(): References {
    const { context, pod } = this.#options;
    const { metadata, spec } = pod();
    const all = createReferences(context.client, {
      name: metadata.name,
      uid: metadata.uid,
      namespace: metadata.namespace ?? 'default',
      serviceAccountName: spec?.serviceAccountName ?? 'default',
    });
    return {
      ...all,
      configMap: async (name) => this.#note('configmaps', name, await all.configMap(name)),
      secret: async (name) => this.#note('secrets', name, await all.secret(name)),
    };
  }

  #note<T extends { metadata: { resourceVersion?: string }; immutable?: boolean }>(
    resource: string,
    name: string,
    object: T | undefined,
  ): T | undefined {
    // What cannot change need not be watched.
    const version = object?.immutable === true ? 'immutable' : object?.metadata.resourceVersion;
    this.#used.set(`${resource}/${name}`, version);
    return object;
  }

  #watch(needed: readonly Volume[]): void {
    const { context, pod } = this.#options;
    const namespace = pod().metadata.namespace ?? '';
    for (const { resource, name } of needed.flatMap(objectsOf)) {
      const key = `${resource}/${name}`;
      if (this.#used.get(key) === 'immutable') {
        this.#watches.get(key)?.();
        this.#watches.delete(key);
      } else if (!this.#watches.has(key)) {
        const stop = context.volumes.watches.watch({ resource, namespace, name }, (version) => {
          this.#told.set(key, version);
          if (this.#running === undefined && this.#isNews(key, version)) this.#run();
        });
        this.#watches.set(key, stop);
      }
    }
  }

  #isNews(key: string, version: string | undefined): boolean {
    const used = this.#used.get(key);
    if (version === undefined || used === undefined) return version !== used;
    return used !== 'immutable' && Number(version) > Number(used);
  }

  async #prepare(volume: Volume, references: References): Promise<PreparedVolume> {
    const { context, pod: newest } = this.#options;
    const pod = newest();
    const group = pod.spec?.securityContext?.fsGroup;
    const ofGroup = group === undefined ? {} : { group };
    const files = await filesOf({ pod, place: placeOf(context, []), references }, volume);
    if (files) return { kind: 'files', files, ...ofGroup };
    if (volume.emptyDir) return await this.#prepareEmptyDir(pod, volume, ofGroup);
    if (volume.hostPath)
      return { kind: 'path', path: await prepareHostPath(volume.hostPath, context.policy.hostPaths) };
    const { signal } = this.#abort;
    const request = { context, pod, volume, isNew: this.#isNew(pod), retry: () => this.#run(), signal };
    if (volume.csi) return await prepareCsi(request, { inline: volume.csi }, volume.csi.readOnly === true);
    return await prepareClaim(request);
  }

  #isNew({ metadata: { uid } }: Stored<Pod>): boolean {
    return !this.#options.context.engine.sandboxes().some(({ labels }) => labels[podUidLabel] === uid);
  }

  async #prepareEmptyDir(
    pod: Stored<Pod>,
    { name, emptyDir }: Volume,
    ofGroup: { group?: number },
  ): Promise<PreparedVolume> {
    const { context } = this.#options;
    const limit = bytesOf(emptyDir?.sizeLimit ?? '0');
    if (emptyDir?.medium === 'Memory')
      return {
        kind: 'memory',
        ...ofGroup,
        sizeBytes: Math.min(limit || Number.POSITIVE_INFINITY, memoryOf(pod) ?? context.engine.info().memoryBytes),
      };
    const { path } = await context.engine.diskVolumes.mount({
      name: context.volumes.scratchName(pod.metadata.uid, name),
      sizeBytes: Math.max(limit || defaultDiskBytes, smallestScratch),
      kind: 'scratch',
    });
    if (ofGroup.group !== undefined) await giveToGroup(path, ofGroup.group, true);
    return { kind: 'path', path, measured: 'here' };
  }

  #say(volume: Volume, error: unknown): void {
    if (error instanceof SetUpError) {
      const { reason, message } = error;
      return recordPodEvent(this.#options.context, this.#options.pod(), undefined, {
        type: 'Warning',
        reason,
        message,
      });
    }
    const isClaim = volume.persistentVolumeClaim !== undefined || volume.ephemeral !== undefined;
    const message =
      isClaim && error instanceof AgentError
        ? `Unable to attach or mount volumes: unmounted volumes=[${volume.name}], unattached volumes=[], failed to process volumes=[${volume.name}]: ${error.message}`
        : `MountVolume.SetUp failed for volume "${volume.name}" : ${messageOf(error)}`;
    recordPodEvent(this.#options.context, this.#options.pod(), undefined, {
      type: 'Warning',
      reason: 'FailedMount',
      message,
    });
  }

  #retryLater(): void {
    const delay = grow(FIRST_RETRY, LAST_RETRY, this.#failures);
    this.#failures += 1;
    this.#retry = setTimeout(() => this.#run(), delay);
    this.#retry.unref();
  }

  #renewLater(needed: readonly Volume[]): void {
    clearTimeout(this.#renewal);
    const lives = needed.flatMap((volume) => tokenLifeOf(volume) ?? []);
    if (lives.length === 0) return;
    const delay = this.#options.context.renewTokensAfter ?? Math.min(...lives) * PART_OF_TOKEN_LIFE * 1000;
    this.#renewal = setTimeout(() => this.#run(), Math.min(LONGEST_TIMER, delay));
    this.#renewal.unref();
  }

  #republishLater(): void {
    clearTimeout(this.#republishing);
    if (![...this.#prepared.values()].some(isRepublished)) return;
    const delay = this.#options.context.renewTokensAfter ?? REPUBLISH_AFTER;
    this.#republishing = setTimeout(() => this.#run(false), delay);
    this.#republishing.unref();
  }

  async #giveAll(): Promise<void> {
    const { context, pod } = this.#options;
    const running = context.engine
      .containers()
      .filter(({ labels, state }) => labels[podUidLabel] === pod().metadata.uid && state === 'running');
    await Promise.all(running.map(({ id }) => this.#give(id)));
  }

  /** Files that are as they should be are left alone by the engine. */
  async #give(id: string): Promise<void> {
    const { engine } = this.#options.context;
    const container = engine.container(id);
    const definition = this.#definition(container?.labels[containerNameLabel]);
    for (const mount of container?.spec.mounts ?? []) {
      const name = definition?.volumeMounts?.find(({ mountPath }) => mountPath === mount.target)?.name;
      const volume = name === undefined ? undefined : this.#prepared.get(name);
      if (volume?.kind === 'files') await giveFiles(engine, id, mount, volume);
    }
  }

  #definition(name: string | undefined): Pick<ContainerDefinition, 'volumeMounts'> | undefined {
    const { spec } = this.#options.pod();
    const all = [...(spec?.containers ?? []), ...(spec?.initContainers ?? []), ...(spec?.ephemeralContainers ?? [])];
    return all.find((one) => one.name === name);
  }
}

function isRepublished(volume: PreparedVolume): boolean {
  return 'republish' in volume && volume.republish === true;
}

/** What all its containers together may have; undefined where one has no limit. */
function memoryOf({ spec }: Stored<Pod>): number | undefined {
  const limits = (spec?.containers ?? []).map(({ resources }) => resources?.limits?.['memory']);
  return limits.reduce<number | undefined>(
    (sum, limit) => (sum === undefined || limit === undefined ? undefined : sum + bytesOf(limit)),
    0,
  );
}

/** The engine's least. */
const smallestScratch = 4 * 1024 * 1024;

async function giveFiles(
  engine: Engine,
  id: string,
  mount: Mount,
  { files }: Extract<PreparedVolume, { kind: 'files' }>,
): Promise<void> {
  if (mount.kind !== 'files' || mount.subPath !== undefined) return;
  try {
    await engine.updateFiles(id, mount.target, files);
  } catch (error) {
    // It ended meanwhile.
    if (!isNotFound(error)) throw error;
  }
}
