/** What a container's configuration needs to know of this machine and of the engine's own process; read once. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { allCapabilities } from './capabilities.ts';

export interface HostFacts {
  /** Heat of each processor, which tells what others compute. */
  maskedPaths: readonly string[];
  oomScoreAdjustment: number;
  /** What the engine has itself, without `CAP_`: nothing that shares its user namespace can have more. */
  capabilities: readonly string[];
}

let known: HostFacts | undefined;

export function hostFacts(): HostFacts {
  known ??= {
    maskedPaths: thermalPaths('/sys/devices/system/cpu'),
    oomScoreAdjustment: Number(readFileSync('/proc/self/oom_score_adj', 'utf8')),
    capabilities: boundingSet(readFileSync('/proc/self/status', 'utf8')),
  };
  return known;
}

function thermalPaths(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => /^cpu\d+$/.test(name))
    .map((name) => `${directory}/${name}/thermal_throttle`)
    .filter((path) => existsSync(path));
}

/** @param status  as proc(5) has it */
function boundingSet(status: string): string[] {
  const bits = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return allCapabilities.filter((_, number) => ((bits >> BigInt(number)) & 1n) === 1n);
}
