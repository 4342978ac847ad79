/** How who asks for an attachment and who waits for it name it (Kubernetes' attach/detach controller and kubelet). */
import { createHash } from 'node:crypto';

export function attachmentName(handle: string, driver: string, node: string): string {
  return `csi-${createHash('sha256').update(`${handle}${driver}${node}`).digest('hex')}`;
}

/** As a Node's `volumesInUse` and `volumesAttached` name a volume. */
export function csiVolumeName(driver: string, handle: string): string {
  return `kubernetes.io/csi/${driver}^${handle}`;
}
