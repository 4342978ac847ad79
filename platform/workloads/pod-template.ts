/** The pod of an app's instance, and its ReplicaSet: pure functions of what the platform's objects say. */
import { createHash } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ReplicaSet } from '#cluster/kinds/types/apps.ts';
import type { Container, EnvVar, PodSpec, PodTemplateSpec, Probe } from '#cluster/kinds/types/core.ts';
import {
  annotations,
  type App,
  type Droplet,
  type HealthCheck,
  instanceIndexGate,
  labels,
  type Organization,
  type Process,
  type Revision,
  type Space,
} from '../resources/types.ts';
import { startsByImage } from '../resources/droplets.ts';
import { placement } from '../resources/segments.ts';
import { type KeptServices, servicesMount, servicesVariable, servicesVolume } from './kept-services.ts';
import { APP_USER, DEFAULT_PORT, DRAIN_SECONDS, PRE_STOP_SECONDS } from './workloads.ts';

export interface InstanceInput {
  app: Stored<App>;
  process: Stored<Process>;
  droplet: Stored<Droplet>;
  revision: Stored<Revision>;
  generation: number;
  space: Stored<Space>;
  organization: Stored<Organization> | undefined;
  uris: string[];
  apiUrl: string;
  healthTimeout: number;
  /** What was written down of them when the revision was started. */
  services: KeptServices;
  /** Name of the isolation segment that it is for. */
  segment: string | undefined;
}

export const PIDS = '1024';
const CONTAINER = 'app';

export function replicaSetName(app: Stored<App>, process: Stored<Process>, generation: number): string {
  const hash = createHash('sha256').update(`${process.metadata.name}\n${generation}`).digest('hex').slice(0, 6);
  const name = slug(app.spec.displayName, 24) || 'app';
  return `${name}-${slug(process.spec.type, 10) || 'proc'}-${generation}-${hash}`;
}

export function slug(text: string, length: number): string {
  return text
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, length)
    .replaceAll(/^-+|-+$/g, '')
    .replace(/^(?=[0-9])/, 'a');
}

export function labelValue(text: string): string {
  return text
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 63)
    .replaceAll(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '');
}

export function portOf(droplet: Stored<Droplet>): number {
  return startsByImage(droplet) ? (droplet.spec.ports[0] ?? DEFAULT_PORT) : DEFAULT_PORT;
}

export function replicaSetFor(input: InstanceInput, replicas: number): ReplicaSet {
  const { app, process, generation } = input;
  const selector = { [labels.process]: process.metadata.name, [labels.generation]: String(generation) };
  return {
    metadata: {
      name: replicaSetName(app, process, generation),
      namespace: app.metadata.namespace ?? '',
      labels: { ...selector, ...instanceLabels(input) },
      annotations: { [revisionAnnotation]: input.revision.metadata.name },
      ownerReferences: [
        {
          apiVersion: 'platform.sampan.dev/v1',
          kind: 'App',
          name: app.metadata.name,
          uid: app.metadata.uid,
          controller: true,
          blockOwnerDeletion: false,
        },
      ],
    },
    spec: { replicas, selector: { matchLabels: selector }, template: podTemplate(input, selector) },
  };
}

const revisionAnnotation = 'platform.sampan.dev/revision';

function instanceLabels(input: InstanceInput): Record<string, string> {
  const { app, process, space } = input;
  return {
    [labels.app]: app.metadata.name,
    [labels.appName]: labelValue(app.spec.displayName),
    [labels.processType]: labelValue(process.spec.type),
    [labels.space]: space.metadata.name,
    [labels.organization]: space.spec.organization,
    [labels.droplet]: input.droplet.metadata.name,
  };
}

function podTemplate(input: InstanceInput, selector: Record<string, string>): PodTemplateSpec {
  const { process, droplet } = input;
  return {
    metadata: {
      labels: { ...selector, ...instanceLabels(input) },
      annotations: {
        'node.sampan.dev/backoff': 'cloudfoundry',
        'node.sampan.dev/pids': PIDS,
        ...logRateOf(process.spec),
        ...userLookupOf(droplet),
      },
    },
    spec: {
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: DRAIN_SECONDS + PRE_STOP_SECONDS,
      ...pullSecrets(droplet),
      ...placement(input.segment),
      schedulingGates: [{ name: instanceIndexGate }],
      securityContext: {
        runAsNonRoot: true,
        ...runAsUser(droplet),
        seccompProfile: { type: 'RuntimeDefault' },
      },
      topologySpreadConstraints: [
        {
          maxSkew: 1,
          topologyKey: 'kubernetes.io/hostname',
          whenUnsatisfiable: 'ScheduleAnyway',
          labelSelector: { matchLabels: { [labels.process]: process.metadata.name } },
        },
      ],
      ...servicesVolume(input.services),
      containers: [container(input)],
    },
  };
}

export const RESTRICTED: Container['securityContext'] = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
};

/** CPU is shared in proportion to memory, as Cloud Foundry does; there is no limit while others are idle. */
export function resourcesOf(size: { memoryMb: number; diskMb: number }): NonNullable<Container['resources']> {
  const memory = `${size.memoryMb}Mi`;
  return {
    requests: {
      cpu: `${Math.max(10, Math.round(size.memoryMb / 10))}m`,
      memory,
      'ephemeral-storage': `${Math.min(64, size.diskMb)}Mi`,
    },
    limits: { memory, 'ephemeral-storage': `${size.diskMb}Mi` },
  };
}

/** As an annotation; -1 is no limit. */
export function logRateOf({ logRateLimitBytes }: { logRateLimitBytes: number }): Record<string, string> {
  return logRateLimitBytes < 0 ? {} : { [annotations.logRate]: String(logRateLimitBytes) };
}

/** From the Secrets of variables; of two values the later counts. */
export function variablesOf(...names: string[]): NonNullable<Container['envFrom']> {
  return names.map((name) => ({ secretRef: { name: `env-${name}`, optional: true } }));
}

/** The login for an image of another registry. */
export function pullSecrets(droplet: Stored<Droplet>): Pick<PodSpec, 'imagePullSecrets'> {
  return droplet.spec.pullSecret === undefined ? {} : { imagePullSecrets: [{ name: droplet.spec.pullSecret }] };
}

/** Restricted pods may not be root's: images that would be run as the build user does. */
export function runAsUser(droplet: Stored<Droplet>): { runAsUser?: number; runAsGroup?: number } {
  const [user = ''] = (droplet.spec.user ?? '').split(':');
  if (startsByImage(droplet) && user !== '' && user !== '0' && user !== 'root') {
    return /^\d+$/.test(user) ? { runAsUser: Number(user) } : {};
  }
  return { runAsUser: APP_USER, runAsGroup: APP_USER };
}

/** The node finds out who a name is, and refuses root's. */
export function userLookupOf(droplet: Stored<Droplet>): Record<string, string> {
  return runAsUser(droplet).runAsUser === undefined ? { 'node.sampan.dev/named-users': 'true' } : {};
}

function container(input: InstanceInput): Container {
  const { process, droplet, revision } = input;
  const port = portOf(droplet);
  const web = process.spec.type === 'web';
  const startup = probe(process.spec.healthCheck, port);
  const readiness = probe(process.spec.readinessCheck, port);
  const healthTimeout = process.spec.healthCheck.timeout ?? input.healthTimeout;
  return {
    name: CONTAINER,
    image: droplet.spec.image,
    imagePullPolicy: 'IfNotPresent',
    ...commandOf(droplet, revision, process),
    env: environment(input, port),
    // What all apps have, then its own.
    envFrom: variablesOf(`running-${revision.metadata.name}`, revision.metadata.name),
    ...(web ? { ports: [{ name: 'http', containerPort: port, protocol: 'TCP' }] } : {}),
    resources: resourcesOf(process.spec),
    ...servicesMount(input.services),
    securityContext: RESTRICTED,
    lifecycle: { preStop: { sleep: { seconds: PRE_STOP_SECONDS } } },
    ...(startup
      ? {
          startupProbe: { ...startup, periodSeconds: 1, failureThreshold: healthTimeout },
          livenessProbe: { ...startup, periodSeconds: process.spec.healthCheck.interval ?? 10, failureThreshold: 3 },
        }
      : {}),
    ...(readiness
      ? {
          readinessProbe: {
            ...readiness,
            periodSeconds: process.spec.readinessCheck.interval ?? 10,
            failureThreshold: 1,
          },
        }
      : {}),
  };
}

/**
 * A droplet's entry point is its launcher: it takes the type of a process that the droplet knows, or one argument that is a
 * command for the shell. A Docker image's own entry point runs unless there is a command.
 */
function commandOf(
  droplet: Stored<Droplet>,
  revision: Stored<Revision>,
  process: Stored<Process>,
): Pick<Container, 'command' | 'args'> {
  const command = revision.spec.commands[process.spec.type];
  const ofDroplet = droplet.spec.processTypes[process.spec.type];
  if (startsByImage(droplet)) {
    return command === undefined || command === ofDroplet ? {} : { command: ['/bin/sh', '-c', escaped(command)] };
  }
  const known = command === undefined || (command === ofDroplet && !droplet.spec.commandsGiven);
  if (known) return { args: [process.spec.type] };
  return { args: [escaped(command)] };
}

/** Kubernetes replaces `$(NAME)` in commands and values; apps mean what they wrote. */
export function escaped(text: string): string {
  return text.replaceAll('$(', '$$$$(');
}

function probe(check: HealthCheck, port: number): Probe | undefined {
  const timeoutSeconds = check.invocationTimeout ?? 1;
  if (check.type === 'port') return { tcpSocket: { port }, timeoutSeconds };
  if (check.type === 'http') return { httpGet: { path: check.endpoint ?? '/', port, scheme: 'HTTP' }, timeoutSeconds };
  return undefined;
}

function environment(input: InstanceInput, port: number): EnvVar[] {
  const { process } = input;
  const index = { fieldRef: { fieldPath: `metadata.annotations['${annotations.instanceIndex}']` } };
  const web = process.spec.type === 'web';
  const ports = JSON.stringify([{ external: port, internal: port }]);
  return [
    { name: 'VCAP_APPLICATION', value: escaped(JSON.stringify(vcapApplication(input))) },
    servicesVariable(input.services),
    { name: 'MEMORY_LIMIT', value: `${process.spec.memoryMb}m` },
    { name: 'INSTANCE_INDEX', valueFrom: index },
    { name: 'CF_INSTANCE_INDEX', valueFrom: index },
    ...instanceVariables(),
    ...(web
      ? [
          { name: 'PORT', value: String(port) },
          { name: 'VCAP_APP_PORT', value: String(port) },
          { name: 'VCAP_APP_HOST', value: '0.0.0.0' },
          { name: 'CF_INSTANCE_PORT', value: String(port) },
          { name: 'CF_INSTANCE_PORTS', value: ports },
          { name: 'CF_INSTANCE_ADDR', value: `$(CF_INSTANCE_IP):${port}` },
        ]
      : []),
  ];
}

/** What is known when the pod runs. */
export function instanceVariables(): EnvVar[] {
  const uid = { fieldRef: { fieldPath: 'metadata.uid' } };
  const podIp = { fieldRef: { fieldPath: 'status.podIP' } };
  return [
    { name: 'INSTANCE_GUID', valueFrom: uid },
    { name: 'CF_INSTANCE_GUID', valueFrom: uid },
    { name: 'CF_INSTANCE_IP', valueFrom: podIp },
    { name: 'CF_INSTANCE_INTERNAL_IP', valueFrom: podIp },
  ];
}

function vcapApplication(input: InstanceInput): Record<string, unknown> {
  const { process, revision } = input;
  return {
    ...applicationFacts(input, process.spec),
    application_version: revision.metadata.name,
    version: revision.metadata.name,
    process_id: process.metadata.name,
    process_type: process.spec.type,
  };
}

/** What `VCAP_APPLICATION` says of every container of an app. */
export function applicationFacts(
  { app, space, organization, uris, apiUrl }: Pick<InstanceInput, 'app' | 'space' | 'organization' | 'uris' | 'apiUrl'>,
  size: { memoryMb: number; diskMb: number },
): Record<string, unknown> {
  return {
    application_id: app.metadata.name,
    application_name: app.spec.displayName,
    application_uris: uris,
    name: app.spec.displayName,
    uris,
    cf_api: apiUrl,
    limits: { fds: 16_384, mem: size.memoryMb, disk: size.diskMb },
    organization_id: space.spec.organization,
    organization_name: organization?.spec.displayName ?? '',
    space_id: space.metadata.name,
    space_name: space.spec.displayName,
  };
}
