/** What this node says of itself. Reads the host; pure but for that. */
import { readFile, statfs } from 'node:fs/promises';
import { arch, hostname } from 'node:os';
import type { EngineInfo } from '#engine/engine.ts';
import type { Node, NodeCondition, NodeStatus } from '../kinds/types/core.ts';
import { formatTime } from './status.ts';

export const kubeletVersion = 'v1.30.0+sampan';
const podsPerNode = 250;

const architectures: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };

export interface NodeFacts {
  nodeName: string;
  address: string;
  port: number;
  dataDirectory: string;
  info: EngineInfo;
}

export function nodeLabels({ nodeName }: NodeFacts): Record<string, string> {
  const architecture = architectures[arch()] ?? arch();
  return {
    'kubernetes.io/hostname': nodeName,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': architecture,
    'beta.kubernetes.io/os': 'linux',
    'beta.kubernetes.io/arch': architecture,
  };
}

export async function nodeStatus(facts: NodeFacts, current: Node | undefined, now: number): Promise<NodeStatus> {
  const { info } = facts;
  const disk = await statfs(facts.dataDirectory);
  const resources = {
    cpu: String(info.cpus),
    memory: `${Math.floor(info.memoryBytes / 1024)}Ki`,
    pods: String(podsPerNode),
    'ephemeral-storage': `${Math.floor((disk.blocks * disk.bsize) / 1024)}Ki`,
  };
  return {
    addresses: [
      { type: 'InternalIP', address: facts.address },
      { type: 'Hostname', address: facts.nodeName },
    ],
    capacity: resources,
    allocatable: resources,
    conditions: conditions(current?.status?.conditions ?? [], now),
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

function conditions(current: readonly NodeCondition[], now: number): NodeCondition[] {
  const healthy: [string, 'True' | 'False', string, string][] = [
    ['MemoryPressure', 'False', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'],
    ['DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'],
    ['PIDPressure', 'False', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'],
    ['Ready', 'True', 'KubeletReady', 'kubelet is posting ready status'],
  ];
  return healthy.map(([type, status, reason, message]) => {
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
