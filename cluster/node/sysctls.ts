/** Which kernel parameters a pod may set: https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/ */
import type { Pod } from '../kinds/types/core.ts';

/** Of the pod's own namespaces, and no harm to its neighbours. */
const safe = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ping_group_range',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.tcp_wmem',
]);

/** Why the pod is not admitted, in upstream's words. `unsafe`: names, or beginnings that end with `*`, that the node allows. */
export function forbiddenSysctl(pod: Pod, unsafe: readonly string[]): string | undefined {
  const { hostNetwork, hostIPC, securityContext } = pod.spec ?? {};
  for (const { name: written } of securityContext?.sysctls ?? []) {
    const name = written.replaceAll('/', '.');
    const allowed = unsafe.some((one) => (one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : name === one));
    if (!safe.has(name) && !allowed) return `forbidden sysctl: "${written}" not allowlisted`;
    if (hostNetwork && name.startsWith('net.'))
      return `forbidden sysctl: "${written}" not allowed with host net enabled`;
    if (hostIPC && !name.startsWith('net.')) return `forbidden sysctl: "${written}" not allowed with host ipc enabled`;
  }
  return undefined;
}
