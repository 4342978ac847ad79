/** The claims that a pod names. */
import type { PodInfo } from '../pod-info.ts';

export interface PodClaim {
  name: string;
  /** Made for this pod. */
  isEphemeral: boolean;
}

const none: readonly PodClaim[] = [];

export function claimNamesOf({ name: podName, pod }: PodInfo): readonly PodClaim[] {
  let found: PodClaim[] | undefined;
  for (const { name, persistentVolumeClaim, ephemeral } of pod.spec?.volumes ?? []) {
    if (persistentVolumeClaim) (found ??= []).push({ name: persistentVolumeClaim.claimName, isEphemeral: false });
    else if (ephemeral) (found ??= []).push({ name: `${podName}-${name}`, isEphemeral: true });
  }
  return found ?? none;
}
