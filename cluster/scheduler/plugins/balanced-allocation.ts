import type { Plugin } from '../plugin.ts';

function share(used: number, capacity: number): number {
  return Math.min(1, used / capacity);
}

/** Cpu and memory should be used up alike: the nearer their shares, the better. */
export const balancedAllocation: Plugin = {
  name: 'NodeResourcesBalancedAllocation',
  weight: 1,
  score({ requests }) {
    return {
      likeness: `${requests.cpu}/${requests.memory}`,
      score({ allocatable, requested }) {
        if (allocatable.cpu === 0 || allocatable.memory === 0) return 100;
        const cpu = share(requested.cpu + requests.cpu, allocatable.cpu);
        const memory = share(requested.memory + requests.memory, allocatable.memory);
        // The standard deviation of two.
        return Math.trunc((1 - Math.abs(cpu - memory) / 2) * 100);
      },
    };
  },
};
