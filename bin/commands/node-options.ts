import type { Command } from 'commander';
import type { NodeFlags } from '../node-flags.ts';

export const NODE_FLAGS: readonly (keyof NodeFlags)[] = [
  'evictionHard',
  'evictionSoft',
  'evictionSoftGracePeriod',
  'evictionMaxPodGracePeriod',
  'evictionPressureTransitionPeriod',
  'maxPods',
  'systemReserved',
  'nodeLabels',
  'registerWithTaints',
];

/** Of the node, named as a kubelet's: `../node-flags.ts` reads them. */
export function withNodeOptions(command: Command): Command {
  return command
    .option('--eviction-hard <signals>', 'take pods away at once below these, such as memory.available<100Mi; kept')
    .option('--eviction-soft <signals>', 'take pods away below these, when that lasts; kept')
    .option('--eviction-soft-grace-period <durations>', 'how long, such as memory.available=90s; kept')
    .option('--eviction-max-pod-grace-period <seconds>', 'how long such a pod has to end, at most (default 0); kept')
    .option(
      '--eviction-pressure-transition-period <duration>',
      'how long the node says that it lacks something after it does not (default 5m); kept',
    )
    .option('--max-pods <number>', 'how many pods the node takes (default 250); kept')
    .option('--system-reserved <quantities>', 'keep these from pods, such as cpu=500m,memory=1Gi; kept')
    .option('--node-labels <labels>', 'labels of the node, such as disk=ssd; kept')
    .option('--register-with-taints <taints>', 'taints of the node when it is made, such as a=b:NoSchedule; kept');
}

/** Those of the node, and the others. */
export function nodeFlagsOf<Options extends NodeFlags>(options: Options): [NodeFlags, Omit<Options, keyof NodeFlags>] {
  const isNodes = ([flag]: [string, unknown]): boolean => (NODE_FLAGS as readonly string[]).includes(flag);
  const all = Object.entries(options);
  const rest = Object.fromEntries(all.filter((one) => !isNodes(one))) as Omit<Options, keyof NodeFlags>;
  return [Object.fromEntries(all.filter(isNodes)), rest];
}
