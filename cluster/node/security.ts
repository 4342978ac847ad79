/** What a pod may not ask of this node, and whose user its containers run as. */
import type { Image, Risk } from '#engine/engine.ts';
import type { Container, Pod } from '../kinds/types/core.ts';
import { AgentError } from './errors.ts';
import { riskRefusal } from './host-access.ts';
import { isBelow } from './host-path.ts';
import { namedUsersAnnotation } from './labels.ts';
import { allDefinitions } from './records.ts';
import { forbiddenSysctl } from './sysctls.ts';

export interface NodePolicy {
  /** Directories of this host: pods may mount what lies below them. */
  hostPaths: readonly string[];
  /** What of the host pods may have; none unless said. */
  risks?: readonly Risk[];
  /** Kernel parameters beyond the safe ones, by name or by a beginning that ends with `*`. */
  unsafeSysctls?: readonly string[];
  /** Where profiles of the type `Localhost` are. */
  seccompDirectory?: string;
}

export const strictPolicy: NodePolicy = { hostPaths: [] };

/** Why the pod is Failed before anything of it is made: the reason and message of its status. */
export function rejectionOf(pod: Pod, policy: NodePolicy): { reason: string; message: string } | undefined {
  const sysctl = forbiddenSysctl(pod, policy.unsafeSysctls ?? []);
  if (sysctl !== undefined) return { reason: 'SysctlForbidden', message: `Pod was rejected: ${sysctl}` };
  const armor = armorRefusal(pod);
  if (armor !== undefined) return { reason: 'AppArmor', message: `Pod was rejected: ${armor}` };
  const refusal = refusalOf(pod, policy);
  return refusal === undefined ? undefined : { reason: 'PodRefused', message: refusal };
}

const ARMOR_ANNOTATION = 'container.apparmor.security.beta.kubernetes.io/';

/** A profile of the host that would not be there protects nobody. The default ones are what every container has. */
function armorRefusal(pod: Pod): string | undefined {
  const profiles = [pod.spec?.securityContext, ...allDefinitions(pod).map(({ securityContext }) => securityContext)]
    .flatMap((context) => context?.appArmorProfile ?? [])
    .flatMap(({ type, localhostProfile }) => (type === 'Localhost' ? [localhostProfile ?? ''] : []));
  const annotated = Object.entries(pod.metadata.annotations ?? {}).flatMap(([name, value]) =>
    name.startsWith(ARMOR_ANNOTATION) && value.startsWith('localhost/') ? [value.slice('localhost/'.length)] : [],
  );
  const [profile] = [...profiles, ...annotated];
  return profile === undefined
    ? undefined
    : `Cannot enforce AppArmor: this node loads no profiles of its own, and "${profile}" is one`;
}

/** The first thing that no container of this node gets, in words; undefined where there is none. */
export function refusalOf(pod: Pod, policy: NodePolicy): string | undefined {
  const spec = pod.spec;
  if (!spec) return 'spec is missing';
  const risk = riskRefusal(pod, policy.risks ?? []);
  if (risk !== undefined) return risk;
  if (spec.os && spec.os.name !== 'linux')
    return `spec.os.name "${spec.os.name}" does not run here: this is a linux node`;
  for (const { name, hostPath } of spec.volumes ?? [])
    if (hostPath && !isBelow(hostPath.path, policy.hostPaths))
      return `volume "${name}": hostPath "${hostPath.path}" is not allowed on this node; use emptyDir or a claim, or start the node with --allow-host-path`;
  for (const container of allDefinitions(pod)) {
    const { name, ports } = container;
    const unpublishable = ports?.find(({ hostPort, protocol }) => hostPort && protocol === 'SCTP');
    if (unpublishable)
      return `container "${name}": hostPort ${unpublishable.hostPort} is not supported on this node with SCTP`;
  }
  return undefined;
}

/** `uid:gid` as the engine takes it; undefined leaves the image's user. */
export function userOf(pod: Pod, container: Container, image: Image): string | undefined {
  const outer = pod.spec?.securityContext;
  const inner = container.securityContext;
  const uid = inner?.runAsUser ?? outer?.runAsUser;
  const gid = inner?.runAsGroup ?? outer?.runAsGroup;
  if (mayNotBeRoot(pod, container)) checkNotRoot(pod, container.name, uid, image);
  if (uid !== undefined) return gid === undefined ? String(uid) : `${uid}:${gid}`;
  if (gid === undefined) return undefined;
  const imageUser = (image.config.user ?? '').split(':')[0] || '0';
  return `${imageUser}:${gid}`;
}

export function mayNotBeRoot(pod: Pod, container: Container): boolean {
  return (container.securityContext?.runAsNonRoot ?? pod.spec?.securityContext?.runAsNonRoot) === true;
}

function checkNotRoot({ metadata }: Pod, name: string, uid: number | undefined, image: Image): void {
  const where = `(pod: "${metadata.name}_${metadata.namespace}(${metadata.uid})", container: ${name})`;
  if (uid === 0) throw denied(`container's runAsUser breaks non-root policy ${where}`);
  if (uid !== undefined) return;
  const user = (image.config.user ?? '').split(':')[0] ?? '';
  if (user === '' || user === 'root' || /^0+$/.test(user)) {
    throw denied(`container has runAsNonRoot and image will run as root ${where}`);
  }
  if (!/^\d+$/.test(user) && metadata.annotations?.[namedUsersAnnotation] !== 'true') {
    throw denied(
      `container has runAsNonRoot and image has non-numeric user (${user}), cannot verify user is non-root ${where}`,
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
