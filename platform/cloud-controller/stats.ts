/**
 * State and use of an app's instances, from its pods and from what the nodes measure: told on the message bus, and where nothing
 * came that way asked for (the kubelet's Summary API, through the API server). What a node does not tell is left at zero: an
 * app's state must not hang on its measurements.
 */
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ContainerStatus, Pod } from '#cluster/kinds/types/core.ts';
import { appStatus, memoryAnnotation, worstStatus } from '../resources/instances.ts';
import { pods } from '../resources/kubernetes.ts';
import { SEGMENT_KEY } from '../resources/segments.ts';
import { annotations, labels, type Process } from '../resources/types.ts';
import type { Context, Json } from './api.ts';

interface Summary {
  pods?: {
    podRef?: { name?: string; namespace?: string };
    containers?: {
      name?: string;
      cpu?: { usageNanoCores?: number };
      memory?: { workingSetBytes?: number };
      rootfs?: { usedBytes?: number };
    }[];
    'ephemeral-storage'?: { usedBytes?: number };
  }[];
}

interface Usage {
  cpu: number;
  memory: number;
  disk: number;
  logRate: number;
}

/** What was told longer ago is asked for again: people look at it after they did something. */
const FRESH_MILLISECONDS = 2_000;
const REFRESH_MILLISECONDS = 1_500;

const SUMMARY_MILLISECONDS = 1_000;
const SUMMARY_TIMEOUT = 2_000;
const summaries = new Map<string, { at: number; usage: Promise<Map<string, Usage>> }>();

export type InstanceState = 'RUNNING' | 'STARTING' | 'CRASHED' | 'DOWN' | 'STOPPING';

/** The pods of a process by instance index; of several generations the one that serves, or the newest. */
export function instancesOf(
  context: Context,
  process: Stored<Process>,
  isMeant: (pod: Stored<Pod>) => boolean = () => true,
): Map<number, Stored<Pod>> {
  const byIndex = new Map<number, Stored<Pod>>();
  const candidates = context.records.pods
    .byIndex('platform/namespace', process.metadata.namespace ?? '')
    .filter((pod) => pod.metadata.labels?.[labels.process] === process.metadata.name && isMeant(pod))
    .sort((a, b) => rank(b) - rank(a));
  for (const pod of candidates) {
    const index = Number(pod.metadata.annotations?.[annotations.instanceIndex] ?? Number.NaN);
    if (Number.isInteger(index) && !byIndex.has(index)) byIndex.set(index, pod);
  }
  return byIndex;
}

function rank(pod: Stored<Pod>): number {
  const generation = Number(pod.metadata.labels?.[labels.generation] ?? 0);
  const leaving = pod.metadata.deletionTimestamp === undefined ? 0 : -1e12;
  return leaving + (isReady(pod) ? 1e9 : 0) + generation;
}

export function isReady(pod: Pod): boolean {
  return (
    pod.status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') === true
  );
}

export function instanceState(pod: Pod): InstanceState {
  if (pod.metadata.deletionTimestamp !== undefined) return 'STOPPING';
  if (isReady(pod)) return 'RUNNING';
  if (pod.status?.phase === 'Failed') return 'CRASHED';
  const status = worstStatus(pod);
  if (!status) return 'STARTING';
  // It has passed its health check; that it is not ready now keeps requests from it, and no more.
  if (status.started && status.state?.running) return 'RUNNING';
  if (status.state?.terminated || status.state?.waiting?.reason === 'CrashLoopBackOff') return 'CRASHED';
  // Between two attempts of one that has never stayed up it is as good as crashed.
  return status.restartCount > 0 && !status.state?.running ? 'CRASHED' : 'STARTING';
}

/** Why an instance does not run, for people. */
export function instanceDetails(pod: Pod): string | null {
  const status = worstStatus(pod);
  const { waiting } = status?.state ?? {};
  const died = status?.state?.terminated ?? status?.lastState?.terminated;
  if (waiting?.reason && !['ContainerCreating', 'PodInitializing', 'CrashLoopBackOff'].includes(waiting.reason)) {
    return waiting.message ? `${waiting.reason}: ${waiting.message}` : waiting.reason;
  }
  if (died && !isReady(pod)) return exitDescription(died);
  const unscheduled = pod.status?.conditions?.find(
    (condition) =>
      condition.type === 'PodScheduled' && condition.status === 'False' && condition.reason === 'Unschedulable',
  );
  return unscheduled ? `insufficient resources: ${unscheduled.message ?? 'no node has room'}` : null;
}

export function exitDescription(terminated: {
  exitCode: number;
  reason?: string;
  signal?: number;
  message?: string;
}): string {
  const memory = terminated.reason === 'OOMKilled' ? ' (out of memory)' : '';
  const signal = terminated.signal ? ` by signal ${terminated.signal}` : '';
  return `APP/PROC: Exited with status ${terminated.exitCode}${signal}${memory}`;
}

/** @param instances  the pod of each that there is or should be, by index */
export async function processStats(
  context: Context,
  process: Stored<Process>,
  instances: Map<number, Stored<Pod> | undefined>,
): Promise<Json[]> {
  const app = context.records.apps.get(process.spec.app);
  if (app?.spec.state !== 'STARTED') {
    // Cloud Foundry shows the instances that an app would have as down.
    return Array.from({ length: process.spec.instances }, (_, index) => downInstance(process, index));
  }
  const usage = await usageOf(context, [...instances.values()].filter(isThere));
  return [...instances].map(([index, pod]) =>
    pod ? instanceJson(context, process, { index, pod, usage }) : downInstance(process, index),
  );
}

export function isThere(pod: Stored<Pod> | undefined): pod is Stored<Pod> {
  return pod !== undefined;
}

function downInstance(process: Stored<Process>, index: number): Json {
  return { type: process.spec.type, index, state: 'DOWN', uptime: 0, details: null, isolation_segment: null };
}

function instanceJson(
  context: Context,
  process: Stored<Process>,
  instance: { index: number; pod: Stored<Pod>; usage: Map<string, Usage> },
): Json {
  const { index, pod } = instance;
  const status = appStatus(pod);
  const used = instance.usage.get(`${pod.metadata.namespace}/${pod.metadata.name}`);
  const container = pod.spec?.containers[0];
  const port = container?.ports?.[0]?.containerPort ?? 8080;
  const since = startedAt(status) ?? pod.metadata.creationTimestamp;
  const ip = pod.status?.podIP ?? '';
  const entitled = entitledCores(pod);
  return {
    type: process.spec.type,
    index,
    state: instanceState(pod),
    routable: isReady(pod),
    usage: {
      time: new Date(context.now()).toISOString(),
      cpu: used?.cpu ?? 0,
      cpu_entitlement: used && entitled > 0 ? used.cpu / entitled : null,
      mem: used?.memory ?? 0,
      disk: used?.disk ?? 0,
      log_rate: Math.round(used?.logRate ?? 0),
    },
    host: pod.status?.hostIP ?? '',
    instance_internal_ip: ip,
    uptime: Math.max(0, Math.floor((context.now() - Date.parse(since)) / 1000)),
    mem_quota: bytesOf(memoryOf(pod)) ?? process.spec.memoryMb * 1024 * 1024,
    disk_quota: bytesOf(container?.resources?.limits?.['ephemeral-storage']) ?? process.spec.diskMb * 1024 * 1024,
    fds_quota: 16_384,
    log_rate_limit: process.spec.logRateLimitBytes,
    isolation_segment: pod.spec?.nodeSelector?.[SEGMENT_KEY] ?? null,
    details: instanceDetails(pod),
    instance_ports:
      ip === ''
        ? []
        : [{ external: port, internal: port, external_tls_proxy_port: null, internal_tls_proxy_port: null }],
    // Ours.
    ip,
    node: pod.spec?.nodeName ?? null,
    pod: pod.metadata.name,
    since,
    restarts: status?.restartCount ?? 0,
  };
}

function startedAt(status: ContainerStatus | undefined): string | undefined {
  return status?.state?.running?.startedAt ?? status?.state?.terminated?.finishedAt;
}

/** Of all its containers. */
function memoryOf(pod: Pod): string | undefined {
  return pod.metadata.annotations?.[memoryAnnotation] ?? pod.spec?.containers[0]?.resources?.limits?.['memory'];
}

/** What it gets of the processors when all want more, of all its containers: `25m`. */
function entitledCores({ spec }: Pod): number {
  return sum(
    spec?.containers ?? [],
    ({ resources }) => Number.parseInt(resources?.requests?.['cpu'] ?? '0', 10) / 1000,
  );
}

/** Of the forms that the platform itself writes: `256Mi`. */
function bytesOf(quantity: string | undefined): number | undefined {
  const match = /^(\d+)(Ki|Mi|Gi)?$/.exec(quantity ?? '');
  if (!match) return undefined;
  const unit = { Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3 }[match[2] ?? ''] ?? 1;
  return Number(match[1]) * unit;
}

/** By namespace and name. */
async function usageOf(context: Context, instances: Stored<Pod>[]): Promise<Map<string, Usage>> {
  const usage = new Map<string, Usage>();
  const running = instances.filter((pod) => appStatus(pod)?.state?.running !== undefined);
  const told = (pod: Stored<Pod>) => context.metrics?.useOf(pod.metadata.namespace ?? '', pod.metadata.name);
  const isOld = (pod: Stored<Pod>): boolean => (told(pod)?.at ?? 0) < context.now() - FRESH_MILLISECONDS;
  if (running.some(isOld)) await context.metrics?.refresh(REFRESH_MILLISECONDS);
  const silent = new Set<string>();
  for (const pod of running) {
    const use = told(pod);
    if (use === undefined) silent.add(pod.spec?.nodeName ?? '');
    else {
      usage.set(`${pod.metadata.namespace}/${pod.metadata.name}`, {
        cpu: use.cpu,
        memory: use.memoryBytes,
        disk: use.diskBytes,
        logRate: use.logRate,
      });
    }
  }
  await Promise.all(
    [...silent].map(async (node) => {
      for (const [key, value] of await nodeUsage(context, node)) if (!usage.has(key)) usage.set(key, value);
    }),
  );
  return usage;
}

function nodeUsage(context: Context, node: string): Promise<Map<string, Usage>> {
  const cached = summaries.get(node);
  const now = Date.now();
  if (cached && now - cached.at < SUMMARY_MILLISECONDS) return cached.usage;
  const usage = readUsage(context, node);
  summaries.set(node, { at: now, usage });
  return usage;
}

async function readUsage(context: Context, node: string): Promise<Map<string, Usage>> {
  const usage = new Map<string, Usage>();
  try {
    const summary = await context.client.request<Summary>({
      method: 'GET',
      path: `/api/v1/nodes/${encodeURIComponent(node)}/proxy/stats/summary`,
      signal: AbortSignal.timeout(SUMMARY_TIMEOUT),
    });
    for (const pod of summary.pods ?? []) {
      const containers = pod.containers ?? [];
      usage.set(`${pod.podRef?.namespace}/${pod.podRef?.name}`, {
        cpu: sum(containers, ({ cpu }) => cpu?.usageNanoCores) / 1e9,
        memory: sum(containers, ({ memory }) => memory?.workingSetBytes),
        disk: pod['ephemeral-storage']?.usedBytes ?? sum(containers, ({ rootfs }) => rootfs?.usedBytes),
        logRate: 0,
      });
    }
  } catch (error) {
    context.log('info', 'A node did not tell what its pods use', { node, error });
  }
  return usage;
}

function sum<T>(items: T[], read: (item: T) => number | undefined): number {
  return items.reduce((total, item) => total + (read(item) ?? 0), 0);
}

/** False when there is no such instance. Its ReplicaSet makes another one at once, which gets the same index. */
export async function deleteInstance(context: Context, pod: Stored<Pod> | undefined): Promise<boolean> {
  if (!pod || pod.metadata.deletionTimestamp !== undefined) return false;
  try {
    await context.client.delete(pods, pod.metadata.name, {
      ...(pod.metadata.namespace === undefined ? {} : { namespace: pod.metadata.namespace }),
      preconditions: { uid: pod.metadata.uid },
    });
    return true;
  } catch (error) {
    if (error instanceof ApiError && (error.code === 404 || error.code === 409)) return false;
    throw error;
  }
}
