/** From a container of a pod's spec to what the engine makes. */
import type { ContainerSpec, Image, Limits, Mount, SandboxSpec } from '#engine/engine.ts';
import { terminationGrace } from '../kinds/termination-grace.ts';
import type { Container, Pod } from '../kinds/types/core.ts';
import type { PodPlace } from './downward.ts';
import { environmentOf, expand } from './environment.ts';
import { AgentError } from './errors.ts';
import { exclusiveLabelOf } from './exclusive-volumes.ts';
import {
  containerNameLabel,
  crashesLabel,
  egressAnnotation,
  graceLabel,
  hostCaAnnotation,
  nodeLabel,
  pidsAnnotation,
  podNameLabel,
  podNamespaceLabel,
  podUidLabel,
  restartCountLabel,
  specHashLabel,
} from './labels.ts';
import { bytesOf, milliOf } from './quantity.ts';
import { oomScoreAdjustment, podLimitsOf, sharesOf } from './qos.ts';
import { allDefinitions, specHash } from './records.ts';
import type { References } from './references.ts';
import { needsHostIds } from './host-access.ts';
import { securityOf } from './security-context.ts';
import { groupsOf, mayNotBeRoot, userOf } from './security.ts';
import { defaultDiskBytes, devicesOf, mountsOf, type PreparedVolume } from './volumes.ts';

export const hostCaBundle = '/etc/ssl/certs/ca-certificates.crt';

export interface ContainerSpecInput {
  pod: Pod;
  container: Container;
  image: Image;
  sandbox: string;
  attempt: number;
  crashes: number;
  place: PodPlace;
  references: References;
  /** By the names of the pod's volumes. */
  volumes: ReadonlyMap<string, PreparedVolume>;
  /** Of the node's own profiles. */
  seccompDirectory?: string | undefined;
}

function podLabels(pod: Pod): Record<string, string> {
  return {
    [podNameLabel]: pod.metadata.name ?? '',
    [podNamespaceLabel]: pod.metadata.namespace ?? '',
    [podUidLabel]: pod.metadata.uid ?? '',
  };
}

export function sandboxName(pod: Pod): string {
  return `${pod.metadata.namespace}/${pod.metadata.name}/${pod.metadata.uid}`;
}

/** @param dns  what its resolv.conf says; undefined: the host's */
export function sandboxSpecOf(pod: Pod, nodeName: string, dns?: SandboxSpec['dns']): SandboxSpec {
  const spec = pod.spec;
  return {
    name: sandboxName(pod),
    ...hostNameOf(pod),
    hostsComment: `Kubernetes-managed hosts file${spec?.hostNetwork ? ' (host network)' : ''}.`,
    labels: {
      ...podLabels(pod),
      [nodeLabel]: nodeName,
      [graceLabel]: String(terminationGrace(spec)),
    },
    ...(dns && { dns }),
    // By these names plugins know them from every runtime.
    networkArguments: {
      IgnoreUnknown: '1',
      K8S_POD_NAMESPACE: pod.metadata.namespace ?? '',
      K8S_POD_NAME: pod.metadata.name ?? '',
      K8S_POD_UID: pod.metadata.uid ?? '',
    },
    ...(spec?.hostAliases && {
      hostAliases: spec.hostAliases.map(({ ip, hostnames }) => ({ ip, names: hostnames ?? [] })),
    }),
    egress: pod.metadata.annotations?.[egressAnnotation] === 'internet' ? 'internet' : 'cluster',
    limits: podLimitsOf(pod),
    ...(needsHostIds(pod) && { userNamespace: 'host' }),
    ...(spec?.hostNetwork && { network: 'host' }),
  };
}

const clusterDomain = 'cluster.local';
/** Of the kernel's, and so of Kubernetes. */
const longestHostname = 64;

/** https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-hostname-and-subdomain-field */
function hostNameOf({ metadata, spec }: Pod): { hostname: string; domain?: string } {
  const hostname = (spec?.hostname ?? metadata.name ?? 'pod').slice(0, 63).replace(/[-.]+$/, '');
  if (!spec?.subdomain) return { hostname };
  const domain = `${spec.subdomain}.${metadata.namespace}.svc.${clusterDomain}`;
  if (!spec.setHostnameAsFQDN) return { hostname, domain };
  const whole = `${hostname}.${domain}`;
  if (whole.length > longestHostname) {
    const limit = `(${longestHostname} characters is the max, ${whole.length} characters requested)`;
    const what = 'failed to construct FQDN from pod hostname and cluster domain';
    throw new AgentError('Invalid', `${what}, FQDN ${whole} is too long ${limit}`);
  }
  return { hostname: whole };
}

/** As the kubelet keeps it by default (containerLogMaxSize and containerLogMaxFiles). */
const podLog = { maxBytes: 10 * 1024 * 1024, maxFiles: 5 };

export async function containerSpecOf(input: ContainerSpecInput): Promise<ContainerSpec> {
  const { pod, container, image, place, references } = input;
  const environment = await environmentOf({ pod, container, place, references });
  const mounts: Mount[] = mountsOf({ container, prepared: input.volumes, environment });
  if (pod.metadata.annotations?.[hostCaAnnotation] === 'true') {
    mounts.push({ kind: 'bind', source: hostCaBundle, target: hostCaBundle, readOnly: true });
  }
  if (sharesMemory(pod, mounts)) mounts.push(sharedMemory);
  const devices = devicesOf(container, input.volumes);
  const user = userOf(pod, container, image);
  const groups = groupsOf(pod);
  return {
    sandbox: input.sandbox,
    name: `${container.name}_${input.attempt}`,
    image: container.image ?? '',
    ...(container.command?.length && { command: container.command.map((word) => expand(word, environment)) }),
    ...(container.args?.length && { args: container.args.map((word) => expand(word, environment)) }),
    ...(container.workingDir && { workingDirectory: container.workingDir }),
    env: [...environment].map(([name, value]) => `${name}=${value}`),
    ...(user !== undefined && { user }),
    ...(mayNotBeRoot(pod, container) && { nonRoot: true }),
    ...(groups.length > 0 && { supplementaryGroups: groups }),
    labels: {
      ...podLabels(pod),
      [containerNameLabel]: container.name,
      [restartCountLabel]: String(input.attempt),
      [crashesLabel]: String(input.crashes),
      [specHashLabel]: specHash(container),
      ...exclusiveLabelOf(container, input.volumes),
    },
    limits: limitsOf(pod, container),
    log: podLog,
    mounts,
    ipc: 'sandbox',
    ...(devices.length > 0 && { devices }),
    ...(await securityOf(pod, container, input.seccompDirectory)),
    oomScoreAdjust: oomScoreAdjustment(pod, container, place.allocatable.memoryBytes),
    ...(container.tty && { tty: true }),
    ...(container.stdin && { stdin: true }),
    ...(container.terminationMessagePath && { lastWords: container.terminationMessagePath }),
  };
}

/** Of all containers of a pod; a name that no volume can have. */
const sharedMemory: Mount = {
  kind: 'shared',
  name: 'dev.shm',
  target: '/dev/shm',
  memory: true,
  sizeBytes: 64 * 2 ** 20,
};

/** Where it has one container nobody is there to share it with, and with the host's IPC it is the host's. */
function sharesMemory(pod: Pod, mounts: readonly Mount[]): boolean {
  const isTaken = mounts.some(({ target }) => target === sharedMemory.target);
  return !isTaken && !pod.spec?.hostIPC && allDefinitions(pod).length > 1;
}

export function limitsOf(pod: Pod, container: Container): Limits {
  const { limits = {}, requests = {} } = container.resources ?? {};
  const request = requests['cpu'] ?? limits['cpu'];
  const disk = limits['ephemeral-storage'];
  const pids = Number(pod.metadata.annotations?.[pidsAnnotation]);
  return {
    ...(limits['memory'] !== undefined && { memoryBytes: bytesOf(limits['memory']) }),
    ...(limits['cpu'] !== undefined && { cpuMillis: Math.max(10, milliOf(limits['cpu'])) }),
    cpuShares: sharesOf(milliOf(request ?? '0')),
    diskBytes: disk === undefined ? defaultDiskBytes : bytesOf(disk),
    ...(Number.isInteger(pids) && pids > 0 && { pids }),
  };
}
