/** Volumes of CSI drivers, staged and published for pods, and taken back: see `csi.ts`. */
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TurnsByKey } from '#lib/turns.ts';
import { orUndefined } from '../../client/api-errors.ts';
import { ApiError, type Client, type ClientObject } from '../../client/client.ts';
import type { Stored } from '../../kinds/kind.ts';
import {
  csiDrivers,
  persistentVolumeClaims,
  persistentVolumes,
  secrets,
  volumeAttachments,
} from '../../kinds/resources.ts';
import type { SecretReference } from '../../kinds/types/core.ts';
import type { CSIDriverSpec } from '../../kinds/types/storage.ts';
import { attachmentName, csiVolumeName } from '../../kinds/volume-attachment-name.ts';
import type { AgentOptions } from '../agent.ts';
import { podDirectory, podsDirectory } from '../container-run.ts';
import { AgentError, messageOf } from '../errors.ts';
import { giveToGroup } from '../fs-group.ts';
import type { EventRecorder } from '../events.ts';
import type { ObjectWatches, WatchedObject } from '../object-watches.ts';
import { bytesOf } from '../quantity.ts';
import { requestToken } from '../references.ts';
import { finishResize } from '../volume-resize.ts';
import type { Csi, CsiPublished, CsiRequest, VolumeUse } from './csi.ts';
import type { CsiDriver } from './driver.ts';
import { nodeCapability } from './messages.ts';
import { OwnNode } from './own-node.ts';
import { Plugins } from './plugins.ts';
import { removeStaging, removeTarget, type VolumeRecord, VolumeRecords } from './records.ts';
import {
  capabilityOf,
  checkLifecycle,
  type CsiSource,
  isGivenToGroup,
  persistentSource,
  podInfo,
  sha256,
  sourceOf,
} from './source.ts';

const STRAYS_AGAIN = 2_000;

export interface CsiVolumesOptions {
  nodeName: string;
  dataDirectory: string;
  client: Client;
  watches: ObjectWatches;
  recorder: EventRecorder;
  /** Are containers of the pod here yet, though it is gone? */
  isHere: (podUid: string) => boolean;
  log: AgentOptions['log'];
}

/** The directory of registrations is there then. */
export async function openCsiVolumes(options: CsiVolumesOptions): Promise<Csi> {
  await mkdir(registryOf(options), { recursive: true, mode: 0o750 });
  return new CsiVolumes(options);
}

function registryOf({ dataDirectory }: CsiVolumesOptions): string {
  return join(dataDirectory, 'plugins_registry');
}

class CsiVolumes implements Csi {
  readonly #options: CsiVolumesOptions;
  readonly #own: OwnNode;
  readonly #plugins: Plugins;
  readonly #records: VolumeRecords;
  /** One call at a time for each volume, and for the Node's word on volumes in use. */
  readonly #turns = new TurnsByKey();
  /** Those who wait for a driver. */
  readonly #waiting = new Set<() => void>();
  /** By this agent: what one before it staged is asked for once more. */
  readonly #staged = new Set<string>();
  /** Ends of watches, by pod and what is watched. */
  readonly #watched = new Map<string, () => void>();
  /** Of pods that are gone, and not taken back yet. */
  #strays: readonly VolumeRecord[] = [];
  #again: NodeJS.Timeout | undefined;
  #started: Promise<void> | undefined;
  #closed = false;

  constructor(options: CsiVolumesOptions) {
    const { client, nodeName, dataDirectory, log } = options;
    this.#options = options;
    this.#own = new OwnNode(client, nodeName);
    this.#records = new VolumeRecords(podsDirectory({ dataDirectory }));
    this.#plugins = new Plugins({
      directory: registryOf(options),
      onRegistered: async (name, info) => await this.#own.add(name, info),
      onReady: () => this.#wakeWaiting(),
      onGone: async (name) => await this.#own.remove(name),
      log,
    });
  }

  start(podUids: ReadonlySet<string>): void {
    const strays = async (): Promise<void> => {
      const all = await this.#records.all();
      if (all.length > 0) await this.#sayInUse();
      await this.#takeBackAll(all.filter(({ podUID }) => !podUids.has(podUID)));
    };
    this.#plugins.start();
    this.#started = strays().catch((error: unknown) => {
      if (!this.#closed)
        this.#options.log('error', 'volumes of pods that are gone were not looked for', { error: messageOf(error) });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#again);
    await this.#plugins.close();
    await this.#started;
  }

  async mount(request: CsiRequest): Promise<CsiPublished> {
    const source = sourceOf(request);
    const driver = this.#driver(source.driver, request.retry);
    const spec = await this.#driverSpec(source);
    checkLifecycle(source, spec);
    const publishContext = await this.#publishContext(request, source, spec);
    return await this.#turns.take(csiVolumeName(source.driver, source.handle), async () => {
      request.signal.throwIfAborted();
      const record = await this.#record(request, source, driver);
      await this.#sayInUse();
      await this.#publish({ request, source, driver, spec, record, publishContext });
      await this.#expand(request.source, record);
      this.#followClaim(request, record);
      return { path: record.targetPath, republish: spec.requiresRepublish === true };
    });
  }

  use(path: string): Promise<VolumeUse | undefined> {
    return this.#use(path, nodeCapability.stats);
  }

  async problem(path: string): Promise<string | undefined> {
    const condition = (await this.#use(path, nodeCapability.condition))?.condition;
    return condition?.abnormal === true ? condition.message : undefined;
  }

  async #use(path: string, capability: number): Promise<VolumeUse | undefined> {
    const record = (await this.#records.all()).find(({ targetPath }) => targetPath === path);
    const driver = record && this.#plugins.driver(record.driverName);
    if (record === undefined || driver === undefined) return undefined;
    try {
      if (!(await driver.can(capability))) return undefined;
      return await driver.use(record.volumeHandle, path, record.stagingPath);
    } catch (error) {
      const fields = { volume: record.specVolID, error: messageOf(error) };
      this.#options.log('warn', 'a driver did not say how a volume is', fields);
      return undefined;
    }
  }

  async release(podUid: string): Promise<void> {
    for (const [key, stop] of this.#watched) {
      if (!key.startsWith(`${podUid}/`)) continue;
      this.#watched.delete(key);
      stop();
    }
    const own = (await this.#records.all()).filter(({ podUID }) => podUID === podUid);
    for (const record of own) await this.#takeBack(record);
  }

  async #takeBackAll(records: readonly VolumeRecord[]): Promise<void> {
    const left: VolumeRecord[] = [];
    const takeBack = async (record: VolumeRecord): Promise<void> => {
      if (this.#options.isHere(record.podUID)) throw new Error('containers of its pod are here yet');
      await this.#takeBack(record);
    };
    for (const record of records)
      await takeBack(record).catch((error: unknown) => {
        left.push(record);
        if (this.#closed) return;
        const fields = { volume: record.specVolID, error: messageOf(error) };
        this.#options.log('warn', 'a volume of a pod that is gone is still here; it is tried again', fields);
      });
    this.#strays = left;
    if (left.length === 0 || this.#closed) return;
    this.#again = setTimeout(() => this.#retryStrays(), STRAYS_AGAIN);
    this.#again.unref();
  }

  #retryStrays(): void {
    const strays = this.#strays;
    if (strays.length === 0) return;
    clearTimeout(this.#again);
    this.#strays = [];
    void this.#takeBackAll(strays);
  }

  #driver(name: string, retry?: () => void): CsiDriver {
    const driver = this.#plugins.driver(name);
    if (driver !== undefined) return driver;
    if (retry !== undefined) this.#waiting.add(retry);
    throw new AgentError('FailedMount', `driver name ${name} not found in the list of registered CSI drivers`);
  }

  #wakeWaiting(): void {
    this.#retryStrays();
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const retry of waiting) retry();
  }

  async #driverSpec({ driver, lifecycle }: CsiSource): Promise<CSIDriverSpec> {
    try {
      return (await this.#options.client.get(csiDrivers, driver)).spec;
    } catch (error) {
      // Nobody said anything of it: as upstream.
      if (error instanceof ApiError && error.code === 404 && lifecycle === 'Persistent') return {};
      throw error;
    }
  }

  /** What its attacher says of the attachment, for the driver here. @throws AgentError as long as it is not attached */
  async #publishContext(
    { pod, source, retry }: CsiRequest,
    { driver, handle, specName }: CsiSource,
    spec: CSIDriverSpec,
  ): Promise<Record<string, string>> {
    if ('inline' in source || spec.attachRequired === false) return {};
    const { client, nodeName } = this.#options;
    const name = attachmentName(handle, driver, nodeName);
    // A node does not see those of others, and so not either whether there is one.
    const found = await orUndefined(client.get(volumeAttachments, name), 403, 404);
    if (found?.status?.attached === true) return found.status.attachmentMetadata ?? {};
    if (found !== undefined)
      this.#follow(pod.metadata.uid, { resource: 'volumeattachments', namespace: '', name }, found, retry);
    const why = found?.status?.attachError?.message ?? 'it is not attached to this node yet';
    throw new AgentError('FailedMount', `volume "${specName}": ${why}`);
  }

  #follow(podUid: string, object: WatchedObject, { metadata }: Stored<ClientObject>, onChange: () => void): void {
    const key = `${podUid}/${object.resource}/${object.name}`;
    if (this.#watched.has(key)) return;
    let last: string | undefined = metadata.resourceVersion;
    const stop = this.#options.watches.watch(object, (version) => {
      if (version === last) return;
      last = version;
      onChange();
    });
    this.#watched.set(key, stop);
  }

  /** Its volume may be made larger while the pod runs. */
  #followClaim({ pod, source }: CsiRequest, record: VolumeRecord): void {
    if ('inline' in source) return;
    const { client, log } = this.#options;
    const { name, namespace = '' } = source.claim.metadata;
    const look = async (): Promise<void> => {
      const [claim, persistent] = await Promise.all([
        client.get(persistentVolumeClaims, name, namespace),
        client.get(persistentVolumes, source.persistent.metadata.name),
      ]);
      await this.#turns.take(csiVolumeName(record.driverName, record.volumeHandle), async () => {
        if ((await this.#records.all()).includes(record)) await this.#expand({ persistent, claim }, record);
      });
    };
    this.#follow(pod.metadata.uid, { resource: 'persistentvolumeclaims', namespace, name }, source.claim, () => {
      look().catch((error: unknown) => {
        if (!this.#closed) log('warn', 'a volume was not expanded', { volume: name, error: messageOf(error) });
      });
    });
  }

  /** Drivers whose controllers do it alone leave nothing to the node. */
  async #expand(source: CsiRequest['source'], record: VolumeRecord): Promise<void> {
    if ('inline' in source) return;
    const { claim, persistent } = source;
    const known = claim.status?.capacity?.['storage'];
    const wanted = persistent.spec?.capacity?.['storage'];
    if (known === undefined || wanted === undefined || bytesOf(known) >= bytesOf(wanted)) return;
    if (!claim.status?.conditions?.some(({ type }) => type === 'FileSystemResizePending')) return;
    const driver = this.#driver(record.driverName);
    if (!(await driver.can(nodeCapability.expand))) return;
    const tellsWriters = await driver.can(nodeCapability.tellsWriters);
    const volume = persistentSource(persistent);
    await driver.expand({
      volumeId: record.volumeHandle,
      volumePath: record.targetPath,
      ...(record.stagingPath !== undefined && { stagingPath: record.stagingPath }),
      requiredBytes: bytesOf(wanted),
      capability: capabilityOf(volume, { tellsWriters }),
      secrets: await this.#secrets(volume.expandSecret),
    });
    await finishResize(this.#options.client, this.#options.recorder, persistent);
  }

  /** Written before the driver is asked for anything. */
  async #record({ pod }: CsiRequest, source: CsiSource, driver: CsiDriver): Promise<VolumeRecord> {
    const { dataDirectory, nodeName } = this.#options;
    const { driver: driverName, handle, specName, lifecycle, block } = source;
    const { uid } = pod.metadata;
    const directory = this.#records.directory(podDirectory({ dataDirectory }, uid), specName, block);
    const own = join(dataDirectory, 'plugins/kubernetes.io/csi');
    const [targetPath, staging] = block
      ? [join(own, 'volumeDevices/publish', specName, uid), join(own, 'volumeDevices/staging', specName)]
      : [join(directory, 'mount'), join(own, driverName, sha256(handle), 'globalmount')];
    const isStaged = lifecycle === 'Persistent' && (await driver.can(nodeCapability.stage));
    const known = (await this.#records.all()).find((one) => one.targetPath === targetPath);
    if (known !== undefined) return known;
    const record: VolumeRecord = {
      driverName,
      volumeHandle: handle,
      specVolID: specName,
      volumeLifecycleMode: lifecycle,
      attachmentID: attachmentName(handle, driverName, nodeName),
      podUID: uid,
      ...(isStaged && { stagingPath: staging }),
      targetPath,
      ...(block && { block }),
    };
    await this.#records.put(directory, record);
    return record;
  }

  async #publish({ request, source, driver, spec, record, publishContext }: Publication): Promise<void> {
    const { pod, readOnly } = request;
    const { fsGroup, fsGroupChangePolicy } = pod.spec?.securityContext ?? {};
    const givesItself = fsGroup !== undefined && !source.block && (await driver.can(nodeCapability.mountGroup));
    const tellsWriters = await driver.can(nodeCapability.tellsWriters);
    const common = {
      volumeId: source.handle,
      publishContext,
      capability: capabilityOf(source, { group: givesItself ? fsGroup : undefined, tellsWriters }),
    };
    const { stagingPath, targetPath } = record;
    if (stagingPath !== undefined && !this.#staged.has(stagingPath)) {
      await mkdir(stagingPath, { recursive: true, mode: 0o750 });
      const stageSecrets = await this.#secrets(source.stageSecret);
      await driver.stage({ ...common, stagingPath, secrets: stageSecrets, volumeContext: source.attributes });
      this.#staged.add(stagingPath);
    }
    await mkdir(dirname(targetPath), { recursive: true, mode: 0o750 });
    await driver.publish({
      ...common,
      ...(stagingPath !== undefined && { stagingPath }),
      targetPath,
      readOnly,
      secrets: await this.#secrets(source.publishSecret),
      volumeContext: {
        ...source.attributes,
        ...(spec.podInfoOnMount === true && podInfo(request, source)),
        ...(await this.#tokens(request, spec)),
      },
    });
    if (fsGroup !== undefined && request.isNew && !givesItself && !readOnly && isGivenToGroup(source, spec))
      await giveToGroup(targetPath, fsGroup, fsGroupChangePolicy === 'OnRootMismatch');
  }

  /** Of the pod's service account, for whom the driver names: by their audiences. */
  async #tokens({ pod }: CsiRequest, { tokenRequests = [] }: CSIDriverSpec): Promise<Record<string, string>> {
    if (tokenRequests.length === 0) return {};
    const { name, uid, namespace = '' } = pod.metadata;
    const owner = { name, uid, namespace, serviceAccountName: pod.spec?.serviceAccountName ?? 'default' };
    const entries = await Promise.all(
      tokenRequests.map(async ({ audience, expirationSeconds }) => {
        const wish = { ...(audience !== '' && { audience }), ...(expirationSeconds && { expirationSeconds }) };
        return [audience, await requestToken(this.#options.client, owner, wish)] as const;
      }),
    );
    return { 'csi.storage.k8s.io/serviceAccount.tokens': JSON.stringify(Object.fromEntries(entries)) };
  }

  async #secrets(reference: SecretReference | undefined): Promise<Record<string, string>> {
    if (!reference?.name) return {};
    const { data = {} } = await this.#options.client.get(secrets, reference.name, reference.namespace ?? '');
    return Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
    );
  }

  async #takeBack(record: VolumeRecord): Promise<void> {
    const { driverName, volumeHandle, targetPath, stagingPath } = record;
    await this.#turns.take(csiVolumeName(driverName, volumeHandle), async () => {
      const driver = this.#driver(driverName);
      await driver.unpublish(volumeHandle, targetPath);
      await removeTarget(record);
      const isLast = !(await this.#records.all()).some(
        (other) => other !== record && other.driverName === driverName && other.volumeHandle === volumeHandle,
      );
      if (stagingPath !== undefined && isLast) {
        this.#staged.delete(stagingPath);
        await driver.unstage(volumeHandle, stagingPath);
        await removeStaging(stagingPath);
      }
      await this.#records.remove(record);
    });
    await this.#sayInUse();
  }

  /** The newest that is known: one write at a time. */
  async #sayInUse(): Promise<void> {
    await this.#turns.take('in use', async () => {
      const all = await this.#records.all();
      const persistent = all.filter(({ volumeLifecycleMode }) => volumeLifecycleMode === 'Persistent');
      await this.#own.setInUse(persistent.map((one) => csiVolumeName(one.driverName, one.volumeHandle)));
    });
  }
}

interface Publication {
  request: CsiRequest;
  source: CsiSource;
  driver: CsiDriver;
  spec: CSIDriverSpec;
  record: VolumeRecord;
  publishContext: Record<string, string>;
}
