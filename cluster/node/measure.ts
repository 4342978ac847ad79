/** What the containers of the node's pods use, for whoever collects metrics. */
import type { Container } from '#engine/engine.ts';
import type { ContainerMeasure } from './agent.ts';
import type { NodeContext } from './context.ts';
import { isNotFound } from './errors.ts';
import { containerNameLabel } from './labels.ts';
import type { PodWorkers } from './pods.ts';

export class Measures {
  readonly #context: NodeContext;
  readonly #workers: PodWorkers;
  /** The last reading of each container: a rate needs two. */
  #before = new Map<string, { at: number; nanos: number }>();

  constructor(context: NodeContext, workers: PodWorkers) {
    this.#context = context;
    this.#workers = workers;
  }

  async read(): Promise<ContainerMeasure[]> {
    const pods = new Map(this.#workers.all().map((worker) => [worker.sandbox()?.id, worker.pod.metadata]));
    const all = this.#context.engine.containers();
    this.#context.logCounts?.keep(new Set(all.map(({ id }) => id)));
    const found = all.filter(
      ({ sandbox, state, labels }) => state === 'running' && labels[containerNameLabel] && pods.has(sandbox),
    );
    const before = this.#before;
    this.#before = new Map();
    const measures = await Promise.all(
      found.map(async (container) => {
        const { namespace = '', name = '' } = pods.get(container.sandbox) ?? {};
        return await this.#measure(container, { namespace, pod: name }, before);
      }),
    );
    return measures.filter((measure) => measure !== undefined);
  }

  async #measure(
    container: Container,
    pod: { namespace: string; pod: string },
    before: Map<string, { at: number; nanos: number }>,
  ): Promise<ContainerMeasure | undefined> {
    const stats = await this.#context.engine.stats(container.id).catch(ignoreGone);
    if (stats === undefined) return undefined;
    const sample = { at: stats.at, nanos: stats.cpuNanos };
    const last = before.get(container.id);
    this.#before.set(container.id, sample);
    const passed = last === undefined ? 0 : (sample.at - last.at) * 1e6;
    const disk = container.spec.limits?.diskBytes;
    return {
      ...pod,
      container: container.labels[containerNameLabel] ?? container.name,
      ...(last !== undefined && passed > 0 && { cpu: Math.max(0, (sample.nanos - last.nanos) / passed) }),
      cpuSeconds: stats.cpuNanos / 1e9,
      memoryBytes: stats.memoryBytes,
      ...(stats.memoryLimitBytes !== undefined && { memoryLimitBytes: stats.memoryLimitBytes }),
      diskBytes: stats.diskBytes,
      ...(disk !== undefined && { diskLimitBytes: disk }),
      log: this.#context.logCounts?.of(container.id) ?? { bytes: 0, lines: 0, droppedLines: 0 },
    };
  }
}

function ignoreGone(error: unknown): undefined {
  if (isNotFound(error)) return undefined;
  throw error;
}
