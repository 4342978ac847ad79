/**
 * What a worker sees of its containers while they run: probes, condemned ones, ends that nobody asked for. All of it is
 * lost with the agent and found again: the API's status says which of the containers was started and ready.
 */
import type { Container as ContainerDefinition, ContainerStatus, Pod, PodStatus } from '../kinds/types/core.ts';
import { type NodeContext, recordPodEvent } from './context.ts';
import { messageOf } from './errors.ts';
import { type CheckTarget, check } from './probe-check.ts';
import { type ContainerProbes, type ProbeKind, startProbes } from './probes.ts';
import { allStatuses, type ContainerRecord, type RecordedExit } from './records.ts';
import { containerIdOf } from './status.ts';

export class Observations {
  readonly condemned = new Map<string, string>();
  readonly terminationMessages = new Map<string, string>();
  readonly #context: NodeContext;
  readonly #wake: () => void;
  readonly #probes = new Map<string, ContainerProbes>();
  /** Containers that were seen running, by id. */
  readonly #running = new Set<string>();
  readonly #expected = new Set<string>();
  readonly #said = new Set<string>();
  #grace = new Map<string, number>();

  constructor(context: NodeContext, wake: () => void) {
    this.#context = context;
    this.#wake = wake;
  }

  readonly started = (record: ContainerRecord): boolean => this.#probesOf(record)?.started ?? false;
  /** One that is about to be stopped gets no more to do, though it is running yet. */
  readonly ready = (record: ContainerRecord): boolean =>
    !this.condemned.has(record.name) && (this.#probesOf(record)?.ready ?? false);

  #probesOf(record: ContainerRecord): ContainerProbes | undefined {
    return record.id === undefined ? undefined : this.#probes.get(record.id);
  }

  observe(
    pod: Pod,
    records: readonly ContainerRecord[],
    current: PodStatus | undefined,
    target: (record: ContainerRecord) => CheckTarget,
  ): void {
    const running = new Set(records.flatMap(({ state, id }) => (state === 'running' && id !== undefined ? [id] : [])));
    for (const [id, probes] of this.#probes) {
      if (running.has(id)) continue;
      probes.close();
      this.#probes.delete(id);
    }
    const kept = new Set(records.flatMap(({ id, previous }) => [id, previous?.id]));
    for (const id of this.terminationMessages.keys()) if (!kept.has(id)) this.terminationMessages.delete(id);
    for (const record of records) {
      if (record.id === undefined) continue;
      if (record.state === 'running') this.#begin(pod, record, current, target(record));
      else if (record.state === 'exited') this.#ended(pod, record, current);
    }
  }

  #begin(pod: Pod, record: ContainerRecord, current: PodStatus | undefined, target: CheckTarget): void {
    const { id, name, definition } = record;
    if (id === undefined || this.#probes.has(id)) return;
    this.#running.add(id);
    const before = statusOfContainer(current, id);
    const probes = startProbes({
      definition,
      startedAt: record.startedAt ?? Date.now(),
      known: { started: before?.started ?? false, ready: before?.ready ?? false },
      check: (probe, timeout, signal) => check(probe, target, timeout, signal),
      onChange: this.#wake,
      onCondemned: (kind) => {
        const grace = (kind === 'startup' ? definition.startupProbe : definition.livenessProbe)
          ?.terminationGracePeriodSeconds;
        if (grace !== undefined) this.#grace.set(name, grace);
        this.condemn(name, id, `Container ${name} failed ${kind} probe, will be restarted`);
      },
      onFailure: (kind, message) => this.#unhealthy(pod, name, kind, message),
    });
    this.#probes.set(id, probes);
  }

  #unhealthy(pod: Pod, name: string, kind: ProbeKind, message: string): void {
    const text = `${kind.slice(0, 1).toUpperCase()}${kind.slice(1)} probe failed: ${message}`;
    recordPodEvent(this.#context, pod, name, { type: 'Warning', reason: 'Unhealthy', message: text });
  }

  #ended(pod: Pod, record: ContainerRecord, current: PodStatus | undefined): void {
    const { id, name, exit } = record;
    if (id === undefined || !exit) return;
    const known = this.#running.delete(id) || statusOfContainer(current, id)?.state?.running !== undefined;
    this.condemned.delete(name);
    this.#grace.delete(name);
    if (!known) return;
    this.once(`end of ${id}`, () => this.#sayEnd(pod, record, exit));
  }

  #sayEnd(pod: Pod, record: ContainerRecord, exit: RecordedExit): void {
    const { id = '', name } = record;
    this.#keepLastWords(record);
    if (this.#expected.delete(id)) return;
    const say = (reason: string, message: string): void =>
      recordPodEvent(this.#context, pod, name, { type: 'Warning', reason, message });
    if (exit.oomKilled) say('OOMKilling', `Container ${name} was killed: it used more memory than its limit`);
    else if (exit.signal !== undefined) say('Exited', `Container ${name} was ended by signal ${exit.signal}`);
    else if (exit.code !== 0) say('Exited', `Container ${name} ended with exit code ${exit.code}`);
  }

  /** `FallbackToLogsOnError`: 80 lines and 2,048 bytes, as upstream. */
  #keepLastWords({ definition, exit, id }: ContainerRecord): void {
    if (definition.terminationMessagePolicy !== 'FallbackToLogsOnError' || exit?.code === 0 || id === undefined) return;
    if (exit?.lastWords !== undefined) return;
    const read = async (): Promise<void> => {
      const lines: string[] = [];
      for await (const { line } of this.#context.engine.logs(id, { tail: 80 })) lines.push(line.toString());
      this.terminationMessages.set(id, lines.join('\n').slice(-2048));
      this.#wake();
    };
    read().catch((error: unknown) => {
      this.#context.log('warn', 'the last lines of a container were not read', { id, error: messageOf(error) });
    });
  }

  /** The container is to be stopped, and started again by its policy. */
  condemn(name: string, id: string, message: string): void {
    if (!this.#probes.has(id) && this.#context.engine.container(id)?.state !== 'running') return;
    this.condemned.set(name, message);
    this.#wake();
  }

  /** It was started: it may end before anybody looks. */
  began(id: string): void {
    this.#running.add(id);
  }

  /** Its end will be our doing. */
  expectExit(id: string): void {
    this.#expected.add(id);
  }

  graceSeconds(definition: ContainerDefinition): number | undefined {
    return this.#grace.get(definition.name);
  }

  backingOff(
    pod: Pod,
    records: readonly ContainerRecord[],
    backingOff: ReadonlyMap<string, { until: number; delay: number }>,
  ): void {
    for (const name of backingOff.keys()) {
      const id = records.find((record) => record.name === name)?.id;
      this.once(`back-off ${id}`, () => {
        const where = `${name} in pod ${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`;
        const message = `Back-off restarting failed container ${where}`;
        recordPodEvent(this.#context, pod, name, { type: 'Warning', reason: 'BackOff', message });
      });
    }
  }

  once(key: string, say: () => void): void {
    if (this.#said.has(key)) return;
    this.#said.add(key);
    if (this.#said.size > 200) this.#said.delete(this.#said.values().next().value ?? '');
    say();
  }

  close(): void {
    for (const probes of this.#probes.values()) probes.close();
    this.#probes.clear();
  }
}

function statusOfContainer(current: PodStatus | undefined, id: string): ContainerStatus | undefined {
  return allStatuses(current).find(({ containerID }) => containerID === containerIdOf(id));
}
