/** The messages of CSI (csi.proto, v1) and of plugin registration (pluginregistration/v1) that this node speaks, by their field numbers. */
import { ProtobufWriter, protobufBytes, protobufFields } from '#lib/protobuf.ts';
import type { VolumeUse } from './csi.ts';

export interface PluginInfo {
  /** `CSIPlugin`. */
  type: string;
  name: string;
  /** The socket of the driver itself; empty: the same. */
  endpoint: string;
  versions: string[];
}

/** Of the node service (NodeServiceCapability.RPC.Type). */
export const nodeCapability = { stage: 1, stats: 2, expand: 3, condition: 4, tellsWriters: 5, mountGroup: 6 } as const;

export interface NodeInfo {
  nodeId: string;
  /** 0: not limited. */
  maxVolumes: number;
  topology: Record<string, string>;
}

/** VolumeCapability.AccessMode.Mode */
const accessModes: Readonly<Record<string, number>> = {
  ReadWriteOnce: 1,
  ReadWriteOncePod: 1,
  ReadOnlyMany: 3,
  ReadWriteMany: 5,
};
/** The same for drivers that tell one writer on a node from several (SINGLE_NODE_MULTI_WRITER). */
const accessModesOfWriters: typeof accessModes = { ...accessModes, ReadWriteOnce: 7, ReadWriteOncePod: 6 };

/** What a pod has of a volume. */
export interface Capability {
  /** A device: what is said of file systems counts for nothing. */
  block: boolean;
  /** As a PersistentVolume names it. */
  accessMode: string;
  fsType: string;
  mountFlags: readonly string[];
  tellsWriters: boolean;
  /** Only for drivers that give volumes to groups themselves. */
  group?: number;
}

export interface StageRequest {
  volumeId: string;
  publishContext: Record<string, string>;
  stagingPath: string;
  capability: Capability;
  secrets: Record<string, string>;
  volumeContext: Record<string, string>;
}

export interface PublishRequest extends Omit<StageRequest, 'stagingPath'> {
  /** Where it was staged. */
  stagingPath?: string;
  targetPath: string;
  readOnly: boolean;
}

export interface ExpandRequest {
  volumeId: string;
  volumePath: string;
  stagingPath?: string;
  requiredBytes: number;
  capability: Capability;
  secrets: Record<string, string>;
}

export const empty = (): ProtobufWriter => new ProtobufWriter();

export function registrationStatus(error: string | undefined): ProtobufWriter {
  const writer = new ProtobufWriter();
  return error === undefined ? writer.int(1, 1) : writer.text(2, error);
}

export function stageRequest(request: StageRequest): ProtobufWriter {
  const writer = new ProtobufWriter().text(1, request.volumeId);
  map(writer, 2, request.publishContext);
  writer.text(3, request.stagingPath).bytes(4, capability(request.capability));
  map(writer, 5, request.secrets);
  map(writer, 6, request.volumeContext);
  return writer;
}

export function unstageRequest(volumeId: string, stagingPath: string): ProtobufWriter {
  return new ProtobufWriter().text(1, volumeId).text(2, stagingPath);
}

export function publishRequest(request: PublishRequest): ProtobufWriter {
  const writer = new ProtobufWriter().text(1, request.volumeId);
  map(writer, 2, request.publishContext);
  if (request.stagingPath !== undefined) writer.text(3, request.stagingPath);
  writer.text(4, request.targetPath).bytes(5, capability(request.capability));
  if (request.readOnly) writer.int(6, 1);
  map(writer, 7, request.secrets);
  map(writer, 8, request.volumeContext);
  return writer;
}

export function unpublishRequest(volumeId: string, targetPath: string): ProtobufWriter {
  return new ProtobufWriter().text(1, volumeId).text(2, targetPath);
}

export function expandRequest(request: ExpandRequest): ProtobufWriter {
  const writer = new ProtobufWriter().text(1, request.volumeId).text(2, request.volumePath);
  writer.bytes(3, new ProtobufWriter().int(1, request.requiredBytes));
  if (request.stagingPath !== undefined) writer.text(4, request.stagingPath);
  writer.bytes(5, capability(request.capability));
  map(writer, 6, request.secrets);
  return writer;
}

function capability({ block, accessMode, fsType, mountFlags, tellsWriters, group }: Capability): ProtobufWriter {
  const mount = new ProtobufWriter();
  if (fsType !== '') mount.text(1, fsType);
  for (const flag of mountFlags) mount.text(2, flag);
  if (group !== undefined) mount.text(3, String(group));
  const modes = tellsWriters ? accessModesOfWriters : accessModes;
  const writer = block ? new ProtobufWriter().bytes(1, empty()) : new ProtobufWriter().bytes(2, mount);
  return writer.bytes(3, new ProtobufWriter().int(1, modes[accessMode] ?? 0));
}

function map(writer: ProtobufWriter, field: number, entries: Record<string, string>): void {
  for (const [key, value] of Object.entries(entries))
    writer.bytes(field, new ProtobufWriter().text(1, key).text(2, value));
}

export function statsRequest(volumeId: string, volumePath: string, stagingPath: string | undefined): ProtobufWriter {
  const writer = new ProtobufWriter().text(1, volumeId).text(2, volumePath);
  return stagingPath === undefined ? writer : writer.text(3, stagingPath);
}

/** VolumeUsage.Unit */
const unit = { bytes: 1, inodes: 2 } as const;

/** @throws ProtobufError */
export function readUse(message: Buffer): VolumeUse {
  const found: VolumeUse = {};
  for (const one of protobufFields(message)) {
    if (one.number === 2) found.condition = readCondition(protobufBytes(one.value));
    if (one.number !== 1) continue;
    const values = new Map([...protobufFields(protobufBytes(one.value))].map(({ number, value }) => [number, value]));
    const [available, total, used] = [1, 2, 3].map((number) => Number(values.get(number) ?? 0));
    if (values.get(4) === unit.bytes)
      Object.assign(found, { availableBytes: available, capacityBytes: total, usedBytes: used });
    if (values.get(4) === unit.inodes) Object.assign(found, { inodesFree: available, inodes: total, inodesUsed: used });
  }
  return found;
}

/** VolumeCondition: what is not there is false, or empty. */
function readCondition(message: Buffer): NonNullable<VolumeUse['condition']> {
  const condition = { abnormal: false, message: '' };
  for (const { number, value } of protobufFields(message))
    if (number === 1) condition.abnormal = value === 1;
    else if (number === 2) condition.message = text(value);
  return condition;
}

/** @throws ProtobufError */
export function readPluginInfo(message: Buffer): PluginInfo {
  const info: PluginInfo = { type: '', name: '', endpoint: '', versions: [] };
  for (const { number, value } of protobufFields(message)) {
    if (number === 1) info.type = text(value);
    else if (number === 2) info.name = text(value);
    else if (number === 3) info.endpoint = text(value);
    else if (number === 4) info.versions.push(text(value));
  }
  return info;
}

/** @throws ProtobufError */
export function readNodeInfo(message: Buffer): NodeInfo {
  const info: NodeInfo = { nodeId: '', maxVolumes: 0, topology: {} };
  for (const { number, value } of protobufFields(message)) {
    if (number === 1) info.nodeId = text(value);
    else if (number === 2) info.maxVolumes = Number(value);
    else if (number === 3) info.topology = readMap(protobufBytes(value), 1);
  }
  return info;
}

/** @throws ProtobufError */
export function readCapabilities(message: Buffer): Set<number> {
  const found = new Set<number>();
  for (const one of protobufFields(message))
    for (const rpc of protobufFields(protobufBytes(one.value)))
      for (const { number, value } of protobufFields(protobufBytes(rpc.value)))
        if (number === 1 && typeof value === 'number') found.add(value);
  return found;
}

function readMap(message: Buffer, field: number): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { number, value } of protobufFields(message)) {
    if (number !== field) continue;
    let [key, content] = ['', ''];
    for (const entry of protobufFields(protobufBytes(value)))
      if (entry.number === 1) key = text(entry.value);
      else if (entry.number === 2) content = text(entry.value);
    found[key] = content;
  }
  return found;
}

function text(value: number | Buffer): string {
  return protobufBytes(value).toString();
}
