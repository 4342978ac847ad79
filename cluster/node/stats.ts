/** The kubelet's Summary API: https://kubernetes.io/docs/reference/instrumentation/node-metrics/ */
import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import type { Container, ContainerStats } from '#engine/engine.ts';
import type { NodeContext } from './context.ts';
import { isNotFound } from './errors.ts';
import { containerNameLabel } from './labels.ts';
import type { PodWorkers } from './pods.ts';
import type { PodWorker } from './worker.ts';

interface CpuSample {
  at: number;
  nanos: number;
}

export class StatsSummary {
  readonly #context: NodeContext;
  readonly #workers: PodWorkers;
  /** The last reading of each container: a rate needs two. */
  #samples = new Map<string, CpuSample>();

  constructor(context: NodeContext, workers: PodWorkers) {
    this.#context = context;
    this.#workers = workers;
  }

  async read(): Promise<unknown> {
    const before = this.#samples;
    const next = new Map<string, CpuSample>();
    const pods = await Promise.all(this.#workers.all().map((worker) => this.#pod(worker, before, next)));
    const node = await this.#node(before, next);
    this.#samples = next;
    return { node, pods: pods.filter((pod) => pod !== undefined) };
  }

  async #pod(worker: PodWorker, before: Map<string, CpuSample>, next: Map<string, CpuSample>): Promise<unknown> {
    const { engine } = this.#context;
    const sandbox = worker.sandbox();
    if (!sandbox) return undefined;
    const running = engine
      .containers()
      .filter(
        ({ sandbox: owner, state, labels }) =>
          owner === sandbox.id && state === 'running' && labels[containerNameLabel] !== undefined,
      );
    const containers = await Promise.all(running.map((one) => this.#container(one, before, next)));
    const network = await engine.sandboxStats(sandbox.id).catch(ignoreGone);
    const { name, namespace, uid, creationTimestamp } = worker.pod.metadata;
    const known = containers.filter((one) => one !== undefined);
    const volume = await worker.volumeStats();
    return {
      podRef: { name, namespace, uid },
      startTime: worker.status?.startTime ?? creationTimestamp,
      containers: known,
      cpu: sumCpu(known),
      memory: {
        time: new Date().toISOString(),
        workingSetBytes: known.reduce((sum, one) => sum + one.memory.workingSetBytes, 0),
      },
      ...(network && {
        network: {
          time: new Date(network.at).toISOString(),
          name: 'eth0',
          rxBytes: network.receivedBytes,
          txBytes: network.sentBytes,
          interfaces: [{ name: 'eth0', rxBytes: network.receivedBytes, txBytes: network.sentBytes }],
        },
      }),
      ...(volume.length > 0 && { volume }),
    };
  }

  async #container(
    container: Container,
    before: Map<string, CpuSample>,
    next: Map<string, CpuSample>,
  ): Promise<Summary | undefined> {
    const stats = await this.#context.engine.stats(container.id).catch(ignoreGone);
    if (!stats) return undefined;
    const time = new Date(stats.at).toISOString();
    const rate = rateOf(before, next, container.id, { at: stats.at, nanos: stats.cpuNanos });
    const limit = stats.memoryLimitBytes;
    return {
      name: container.labels[containerNameLabel] ?? container.name,
      startTime: new Date(container.startedAt ?? container.createdAt).toISOString(),
      cpu: { time, usageCoreNanoSeconds: stats.cpuNanos, ...(rate !== undefined && { usageNanoCores: rate }) },
      memory: {
        time,
        usageBytes: stats.memoryBytes,
        workingSetBytes: stats.memoryBytes,
        ...(limit !== undefined && { availableBytes: Math.max(0, limit - stats.memoryBytes) }),
      },
      rootfs: diskOf(container, stats),
      processes: { process_count: stats.pids },
    };
  }

  async #node(before: Map<string, CpuSample>, next: Map<string, CpuSample>): Promise<unknown> {
    const at = Date.now();
    const time = new Date(at).toISOString();
    const nanos = cpus().reduce((sum, { times }) => sum + (times.user + times.nice + times.sys + times.irq) * 1e6, 0);
    const rate = rateOf(before, next, 'node', { at, nanos });
    const memory = await readFile('/proc/meminfo', 'utf8');
    const kibibytes = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(memory)?.[1] ?? 0);
    const availableBytes = kibibytes('MemAvailable') * 1024;
    const total = kibibytes('MemTotal') * 1024;
    return {
      nodeName: this.#context.nodeName,
      startTime: new Date(at - process.uptime() * 1000).toISOString(),
      cpu: { time, usageCoreNanoSeconds: nanos, ...(rate !== undefined && { usageNanoCores: rate }) },
      memory: {
        time,
        availableBytes,
        usageBytes: total - kibibytes('MemFree') * 1024,
        workingSetBytes: total - availableBytes,
      },
    };
  }
}

interface CpuUsage {
  time: string;
  usageCoreNanoSeconds: number;
  usageNanoCores?: number;
}

interface Summary {
  name: string;
  startTime: string;
  cpu: CpuUsage;
  memory: { time: string; usageBytes: number; workingSetBytes: number; availableBytes?: number };
  rootfs: unknown;
  processes: { process_count: number };
}

function sumCpu(containers: readonly Summary[]): CpuUsage {
  const rates = containers.map(({ cpu }) => cpu.usageNanoCores).filter((rate) => rate !== undefined);
  return {
    time: new Date().toISOString(),
    usageCoreNanoSeconds: containers.reduce((sum, { cpu }) => sum + cpu.usageCoreNanoSeconds, 0),
    ...(rates.length > 0 && { usageNanoCores: rates.reduce((sum, rate) => sum + rate, 0) }),
  };
}

function rateOf(
  before: ReadonlyMap<string, CpuSample>,
  next: Map<string, CpuSample>,
  key: string,
  sample: CpuSample,
): number | undefined {
  const last = before.get(key);
  next.set(key, sample);
  if (!last || sample.at <= last.at) return undefined;
  return Math.max(0, Math.round(((sample.nanos - last.nanos) / (sample.at - last.at)) * 1000));
}

function diskOf(container: Container, stats: ContainerStats): unknown {
  const capacityBytes = container.spec.limits?.diskBytes;
  return {
    time: new Date(stats.at).toISOString(),
    usedBytes: stats.diskBytes,
    ...(capacityBytes !== undefined && { capacityBytes, availableBytes: Math.max(0, capacityBytes - stats.diskBytes) }),
  };
}

function ignoreGone(error: unknown): undefined {
  if (isNotFound(error)) return undefined;
  throw error;
}
