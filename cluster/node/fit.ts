/**
 * Whether a pod that somebody put on this node has its place here, beside those that have theirs: what a kubelet asks too, as
 * `spec.nodeName` may come from a client, and two schedulers know nothing of each other. A pod that has none is Failed, for its
 * owner to make another. Only of what this node knows for sure: its labels and taints may just have changed.
 */
import type { Pod } from '../kinds/types/core.ts';
import { type HostPort, hostPorts } from '../scheduler/pod-info.ts';
import { addResources, noResources, podRequests } from '../scheduler/resources.ts';
import type { NodeRoom } from './node-settings.ts';

export interface Misfit {
  reason: string;
  message: string;
}

/** @param others  the pods that have their place */
export function misfitOf(pod: Pod, room: NodeRoom, others: readonly Pod[]): Misfit | undefined {
  const used = noResources();
  for (const other of others) addResources(used, podRequests(other));
  const wanted = podRequests(pod);
  const { milliCpus, memoryBytes, diskBytes } = room.allocatable;
  const needs: [string, number, number, number][] = [
    ['pods', 1, others.length, room.pods],
    ['cpu', wanted.cpu, used.cpu, milliCpus],
    ['memory', wanted.memory, used.memory, memoryBytes],
    ['ephemeral-storage', wanted.ephemeralStorage, used.ephemeralStorage, diskBytes],
  ];
  for (const [name, requested, taken, capacity] of needs)
    if (requested > 0 && requested > capacity - taken)
      return {
        reason: `OutOf${name}`,
        message: `Pod was rejected: Node didn't have enough resource: ${name}, requested: ${requested}, used: ${taken}, capacity: ${capacity}`,
      };
  const ports = hostPorts(pod);
  const isTaken = ports.length > 0 && others.some((other) => hostPorts(other).some((port) => conflicts(port, ports)));
  return isTaken ? { reason: 'NodePorts', message: 'Pod was rejected: Predicate NodePorts failed' } : undefined;
}

function conflicts({ protocol, ip, port }: HostPort, ports: readonly HostPort[]): boolean {
  const every = '0.0.0.0';
  return ports.some(
    (one) => one.protocol === protocol && one.port === port && (one.ip === ip || one.ip === every || ip === every),
  );
}
