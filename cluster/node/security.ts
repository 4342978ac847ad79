/** What a pod may not ask of this node, and whose user its containers run as. */
import { isIPv4 } from 'node:net';
import type { Image } from '#engine/engine.ts';
import type { Container, Pod } from '../kinds/types/core.ts';
import { AgentError } from './errors.ts';
import { isBelow } from './host-path.ts';

export interface NodePolicy {
  /** Directories of this host: pods may mount what lies below them. */
  hostPaths: readonly string[];
}

export const strictPolicy: NodePolicy = { hostPaths: [] };

/** The first thing that no container of this node gets, in words; undefined where there is none. */
export function refusalOf(pod: Pod, policy: NodePolicy): string | undefined {
  const spec = pod.spec;
  if (!spec) return 'spec is missing';
  for (const field of ['hostNetwork', 'hostPID', 'hostIPC', 'shareProcessNamespace'] as const) {
    if (spec[field]) return `spec.${field} is not allowed on this node: remove it`;
  }
  if (spec.os && spec.os.name !== 'linux')
    return `spec.os.name "${spec.os.name}" does not run here: this is a linux node`;
  if (spec.securityContext?.sysctls?.length) return 'spec.securityContext.sysctls is not supported on this node';
  for (const { name, hostPath } of spec.volumes ?? [])
    if (hostPath && !isBelow(hostPath.path, policy.hostPaths))
      return `volume "${name}": hostPath "${hostPath.path}" is not allowed on this node; use emptyDir or a claim, or start the node with --allow-host-path`;
  for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
    const { name, securityContext, ports } = container;
    if (securityContext?.privileged)
      return `container "${name}": securityContext.privileged is not allowed on this node`;
    if (securityContext?.procMount && securityContext.procMount !== 'Default') {
      return `container "${name}": securityContext.procMount "${securityContext.procMount}" is not allowed on this node`;
    }
    const unpublishable = ports?.find(({ hostPort, protocol, hostIP }) => {
      return hostPort && (protocol === 'SCTP' || (hostIP !== undefined && hostIP !== '' && !isIPv4(hostIP)));
    });
    if (unpublishable)
      return `container "${name}": hostPort ${unpublishable.hostPort} is not supported on this node with SCTP or IPv6`;
    const foreign = foreignCheck(container);
    if (foreign) return `container "${name}": ${foreign} names a host: only the pod's own address may be asked`;
    if (container.volumeDevices?.length) return `container "${name}": volumeDevices is not supported on this node`;
  }
  return undefined;
}

/** Checks run from this host, so one with a host of its own could ask what no pod may reach. */
function foreignCheck(container: Container): string | undefined {
  const { startupProbe, livenessProbe, readinessProbe, lifecycle } = container;
  const { postStart, preStop } = lifecycle ?? {};
  for (const [field, action] of Object.entries({ startupProbe, livenessProbe, readinessProbe, postStart, preStop })) {
    if (action?.httpGet?.host || action?.tcpSocket?.host)
      return `${field}.${action.httpGet ? 'httpGet' : 'tcpSocket'}.host`;
  }
  return undefined;
}

/** `uid:gid` as the engine takes it; undefined leaves the image's user. */
export function userOf(pod: Pod, container: Container, image: Image): string | undefined {
  const outer = pod.spec?.securityContext;
  const inner = container.securityContext;
  const uid = inner?.runAsUser ?? outer?.runAsUser;
  const gid = inner?.runAsGroup ?? outer?.runAsGroup;
  if (inner?.runAsNonRoot ?? outer?.runAsNonRoot) checkNotRoot(container.name, uid, image);
  if (uid !== undefined) return gid === undefined ? String(uid) : `${uid}:${gid}`;
  if (gid === undefined) return undefined;
  const imageUser = (image.config.user ?? '').split(':')[0] || '0';
  return `${imageUser}:${gid}`;
}

function checkNotRoot(name: string, uid: number | undefined, image: Image): void {
  if (uid === 0) throw denied(`container "${name}": runAsUser 0 breaks runAsNonRoot`);
  if (uid !== undefined) return;
  const user = (image.config.user ?? '').split(':')[0] ?? '';
  if (user === '' || user === 'root' || /^0+$/.test(user)) {
    throw denied(`container has runAsNonRoot and image will run as root (container "${name}"): set runAsUser`);
  }
  if (!/^\d+$/.test(user)) {
    throw denied(
      `container has runAsNonRoot and image has non-numeric user (${user}), cannot verify user is non-root (container "${name}")`,
    );
  }
}

function denied(message: string): AgentError {
  return new AgentError('CreateContainerConfigError', message);
}

export function groupsOf(pod: Pod): number[] {
  const context = pod.spec?.securityContext;
  return [
    ...new Set([...(context?.supplementalGroups ?? []), ...(context?.fsGroup === undefined ? [] : [context.fsGroup])]),
  ];
}
