/** Which plugins decide, in the order of kube-scheduler's default profile: the first that says no to a node is the one that people read of. */
import type { Plugin, PluginContext } from './plugin.ts';
import { balancedAllocation } from './plugins/balanced-allocation.ts';
import { imageLocality } from './plugins/image-locality.ts';
import { interPodAffinity } from './plugins/inter-pod-affinity.ts';
import { nodeAffinity } from './plugins/node-affinity.ts';
import { nodeName } from './plugins/node-name.ts';
import { nodePorts } from './plugins/node-ports.ts';
import { nodeResourcesFit } from './plugins/node-resources-fit.ts';
import { nodeVolumeLimits } from './plugins/node-volume-limits.ts';
import { nodeUnschedulable } from './plugins/node-unschedulable.ts';
import { podTopologySpread } from './plugins/pod-topology-spread.ts';
import { taintToleration } from './plugins/taint-toleration.ts';
import { volumeBinding } from './plugins/volume-binding.ts';
import { volumeRestrictions } from './plugins/volume-restrictions.ts';

export function defaultProfile(context: PluginContext): Plugin[] {
  return [
    nodeUnschedulable,
    nodeName,
    taintToleration,
    nodeAffinity,
    nodePorts,
    nodeResourcesFit,
    volumeRestrictions(context),
    nodeVolumeLimits(context),
    volumeBinding(context),
    podTopologySpread(context),
    interPodAffinity(context),
    balancedAllocation,
    imageLocality,
  ];
}
