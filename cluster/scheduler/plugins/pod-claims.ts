/** The claims that a pod names. */
import { claimNameOf } from '../../kinds/volume-match.ts';
import type { PodInfo } from '../pod-info.ts';

export interface PodClaim {
  name: string;
  /** Made for this pod. */
  isEphemeral: boolean;
}

const none: readonly PodClaim[] = [];

export function claimNamesOf({ name: podName, pod }: PodInfo): readonly PodClaim[] {
  let found: PodClaim[] | undefined;
  for (const volume of pod.spec?.volumes ?? []) {
    const name = claimNameOf(podName, volume);
    if (name !== undefined) (found ??= []).push({ name, isEphemeral: volume.ephemeral !== undefined });
  }
  return found ?? none;
}
