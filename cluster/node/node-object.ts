/** What this node says of itself. Reads the host; pure but for that. */
import { readFile } from 'node:fs/promises';
import { arch, hostname } from 'node:os';
import type { EngineInfo, Image } from '#engine/engine.ts';
import type { Node, NodeCondition, NodeStatus } from '../kinds/types/core.ts';
import { type NodeRoom, type NodeSettings, resourcesOf } from './node-settings.ts';
import type { PressureCondition } from './pressure.ts';
import { formatTime } from './status.ts';

export const kubeletVersion = 'v1.30.0+sampan';

const architectures: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };

export interface NodeFacts {
  nodeName: string;
  /** One of each family that pods have, IPv4 first. */
  addresses: readonly string[];
  port: number;
  info: EngineInfo;
  room: NodeRoom;
  settings: NodeSettings;
  images: () => readonly Image[];
  /** What it lacks now. */
  pressures: () => readonly PressureCondition[];
}

export function nodeLabels({ nodeName, settings }: NodeFacts): Record<string, string> {
  const architecture = architectures[arch()] ?? arch();
  return {
    ...settings.labels,
    'kubernetes.io/hostname': nodeName,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': architecture,
    'beta.kubernetes.io/os': 'linux',
    'beta.kubernetes.io/arch': architecture,
  };
}

export async function nodeStatus(facts: NodeFacts, current: Node | undefined, now: number): Promise<NodeStatus> {
  const { info, room } = facts;
  return {
    addresses: [
      ...facts.addresses.map((address) => ({ type: 'InternalIP', address })),
      { type: 'Hostname', address: facts.nodeName },
    ],
    capacity: resourcesOf(room.capacity, room.pods),
    // What others say that it has besides, pods may ask for ("Advertise Extended Resources for a Node").
    allocatable: { ...current?.status?.capacity, ...resourcesOf(room.allocatable, room.pods) },
    conditions: conditions(current?.status?.conditions ?? [], facts.pressures(), now),
    images: imagesOf(facts.images()),
    daemonEndpoints: { kubeletEndpoint: { Port: facts.port } },
    nodeInfo: {
      architecture: architectures[arch()] ?? arch(),
      bootID: await readLine('/proc/sys/kernel/random/boot_id'),
      containerRuntimeVersion: `${info.runtime.name}://${info.runtime.version}`,
      kernelVersion: info.kernel,
      kubeProxyVersion: kubeletVersion,
      kubeletVersion,
      machineID: (await readLine('/etc/machine-id')) || hostname(),
      operatingSystem: 'linux',
      osImage: await osImage(),
      systemUUID: await readLine('/sys/class/dmi/id/product_uuid'),
    },
  };
}

/** Of these the node no longer has any. */
export function withdrawn(node: Node): string[] {
  const { capacity = {}, allocatable = {} } = node.status ?? {};
  return Object.keys(allocatable).filter((name) => !Object.hasOwn(capacity, name));
}

/** May pods ask for all that somebody else says that it has? Only such resources have a domain. */
export function isAllocated({ status: { capacity = {}, allocatable = {} } = {} }: Node): boolean {
  const names = [...Object.keys(capacity), ...Object.keys(allocatable)].filter((name) => name.includes('/'));
  return names.every((name) => capacity[name] === allocatable[name]);
}

/** As many as a kubelet reports, the largest first; the scheduler prefers nodes that have them. */
const imagesReported = 50;
const namesReported = 5;

function imagesOf(images: readonly Image[]): NonNullable<NodeStatus['images']> {
  return images
    .filter(({ references }) => references.length > 0)
    .sort((a, b) => b.sizeBytes - a.sizeBytes)
    .slice(0, imagesReported)
    .map(({ references, sizeBytes }) => ({ names: references.slice(0, namesReported), sizeBytes }));
}

type Words = [reason: string, message: string];

const pressureWords: Record<PressureCondition, { well: Words; lacking: Words }> = {
  MemoryPressure: {
    well: ['KubeletHasSufficientMemory', 'kubelet has sufficient memory available'],
    lacking: ['KubeletHasInsufficientMemory', 'kubelet has insufficient memory available'],
  },
  DiskPressure: {
    well: ['KubeletHasNoDiskPressure', 'kubelet has no disk pressure'],
    lacking: ['KubeletHasDiskPressure', 'kubelet has disk pressure'],
  },
  PIDPressure: {
    well: ['KubeletHasSufficientPID', 'kubelet has sufficient PID available'],
    lacking: ['KubeletHasInsufficientPID', 'kubelet has insufficient PID available'],
  },
};

function conditions(
  current: readonly NodeCondition[],
  pressures: readonly PressureCondition[],
  now: number,
): NodeCondition[] {
  const kinds: PressureCondition[] = ['MemoryPressure', 'DiskPressure', 'PIDPressure'];
  const wanted: [string, 'True' | 'False', ...Words][] = [
    ...kinds.map((type): [string, 'True' | 'False', ...Words] => {
      const { well, lacking } = pressureWords[type];
      return pressures.includes(type) ? [type, 'True', ...lacking] : [type, 'False', ...well];
    }),
    ['Ready', 'True', 'KubeletReady', 'kubelet is posting ready status'],
  ];
  return wanted.map(([type, status, reason, message]) => {
    const before = current.find((condition) => condition.type === type);
    const since = before?.status === status ? before.lastTransitionTime : undefined;
    return {
      type,
      status,
      reason,
      message,
      lastHeartbeatTime: formatTime(now),
      lastTransitionTime: since ?? formatTime(now),
    };
  });
}

/** Empty where the file is not there: not every host has each of them. */
async function readLine(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch {
    return '';
  }
}

async function osImage(): Promise<string> {
  const match = /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(await readLine('/etc/os-release'));
  return match?.[1] ?? 'Linux';
}
