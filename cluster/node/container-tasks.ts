/**
 * What is under way for the containers of one pod: at most one action for each container. An action that fails is
 * remembered in `failures` and told in the pod's events; the worker is woken when one ends, however it ended.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Sandbox } from '#engine/engine.ts';
import type { Stored } from '../kinds/kind.ts';
import { terminationGrace } from '../kinds/termination-grace.ts';
import type { Container as ContainerDefinition, Pod } from '../kinds/types/core.ts';
import { makeContainer, runContainer, stopContainer } from './container-run.ts';
import { type NodeContext, podIpsOf, recordPodEvent } from './context.ts';
import { messageOf } from './errors.ts';
import type { StartFailures } from './failures.ts';
import { runHook } from './hooks.ts';
import { podUidLabel } from './labels.ts';
import type { Observations } from './observations.ts';
import type { PodAction } from './plan.ts';
import type { PodVolumes } from './pod-volumes.ts';
import type { CheckTarget } from './probe-check.ts';
import type { ContainerRecord } from './records.ts';
import { runCommand } from './run-command.ts';

/** For pods that were taken away without waiting for this node. */
const goneGrace = 2;
const unlimited = 2 ** 31 - 1;
const retryAfter = 1000;

interface Task {
  done: Promise<void>;
  abort: AbortController;
  kind: 'start' | 'stop';
}

export interface ContainerTasksOptions {
  context: NodeContext;
  /** The newest that is known. */
  pod: () => Stored<Pod>;
  /** Is the pod gone from the API? */
  gone: () => boolean;
  /** Seconds that it has when the node needs what it has; undefined where the node does not. */
  evicted: () => number | undefined;
  observations: Observations;
  failures: StartFailures;
  volumes: PodVolumes;
  wake: () => void;
}

export class ContainerTasks {
  readonly #options: ContainerTasksOptions;
  readonly #tasks = new Map<string, Task>();
  readonly #preStopped = new Set<string>();
  readonly #replacing = new Set<string>();
  #deletion: { timestamp: string; until: number } | undefined;

  constructor(options: ContainerTasksOptions) {
    this.#options = options;
  }

  get busy(): Set<string> {
    return new Set(this.#tasks.keys());
  }

  /** Names of containers that give way to newer definitions of theirs, until the new one runs or cannot be started. */
  get replacing(): ReadonlySet<string> {
    return this.#replacing;
  }

  /** Where the checks of a container look. */
  target({ definition, id }: Pick<ContainerRecord, 'definition' | 'id'>): CheckTarget {
    const { engine } = this.#options.context;
    const sandbox = this.#sandbox();
    return {
      ip: sandbox?.ip || (this.#options.context.hostIps[0] ?? ''),
      definition,
      exec: (command, signal) => runCommand(engine, id ?? '', command, signal),
      dial: async (host, port, signal) => {
        const ip = isIP(host) === 0 ? (await lookup(host)).address : host;
        return await engine.dialSandbox(sandbox?.id ?? '', port, { ip, signal });
      },
    };
  }

  #sandbox(): Sandbox | undefined {
    const { uid } = this.#options.pod().metadata;
    return this.#options.context.engine.sandboxes().find(({ labels }) => labels[podUidLabel] === uid);
  }

  execute(action: Exclude<PodAction, { do: 'create-sandbox' }>, record: ContainerRecord, sandbox: Sandbox): void {
    switch (action.do) {
      case 'start':
        this.#task(action.name, 'start', (signal) => this.#start(record, action, sandbox, signal));
        return;
      case 'resume':
        this.#task(action.name, 'start', (signal) => this.#run(record, action.id, signal));
        return;
      case 'stop':
        this.#task(action.name, 'stop', (signal) => this.#stop(record, action.id, action.message, signal));
        return;
      case 'replace':
        // A pod that is to stop meanwhile stops it in its own way: so it ends with what starts.
        this.#task(action.name, 'start', (signal) => this.#replace(record, action, sandbox, signal));
    }
  }

  abort(kind?: 'start' | 'stop'): void {
    for (const task of this.#tasks.values()) if (kind === undefined || task.kind === kind) task.abort.abort();
  }

  async settled(): Promise<void> {
    await Promise.allSettled([...this.#tasks.values()].map(({ done }) => done));
  }

  #task(name: string, kind: 'start' | 'stop', work: (signal: AbortSignal) => Promise<void>): void {
    const abort = new AbortController();
    const done = work(abort.signal)
      .catch((error: unknown) => {
        if (abort.signal.aborted) return;
        this.#options.context.log('error', 'a container action failed', {
          pod: this.#options.pod().metadata.name,
          container: name,
          error: messageOf(error),
        });
        // Nothing is known of why: the same again, but not at once.
        this.#options.failures.add(name, '', error);
        return delay(retryAfter, undefined, { signal: abort.signal }).catch(() => undefined);
      })
      .finally(() => {
        this.#tasks.delete(name);
        this.#options.wake();
      });
    this.#tasks.set(name, { done, abort, kind });
  }

  async #replace(
    record: ContainerRecord,
    action: PodAction & { do: 'replace' },
    sandbox: Sandbox,
    signal: AbortSignal,
  ): Promise<void> {
    this.#replacing.add(action.name);
    try {
      await this.#stop(record, action.id, action.message, signal);
      if (!signal.aborted) await this.#start(record, action, sandbox, signal);
    } finally {
      this.#replacing.delete(action.name);
    }
  }

  async #start(
    record: ContainerRecord,
    action: Extract<PodAction, { attempt: number }>,
    sandbox: Sandbox,
    signal: AbortSignal,
  ): Promise<void> {
    const { name, definition } = record;
    const { attempt, crashes } = action;
    const context = this.#options.context;
    const volumes = this.#options.volumes.prepared;
    const admitted = this.#admitted(signal);
    let id: string;
    try {
      ({ id } = await makeContainer({
        context,
        pod: this.#options.pod(),
        definition,
        sandbox,
        volumes,
        attempt,
        crashes,
        signal,
      }));
    } catch (error) {
      if (signal.aborted) return;
      const { reason, message } = this.#options.failures.add(name, definition.image ?? '', error);
      this.#event(name, 'Warning', 'Failed', reason === 'ErrImagePull' ? capitalize(message) : `Error: ${message}`);
      if (reason === 'ErrImagePull') this.#event(name, 'Warning', 'Failed', 'Error: ErrImagePull');
      return;
    }
    this.#options.failures.delete(name);
    if (signal.aborted) return;
    await this.#options.volumes.catchUp(id, volumes);
    await this.#run(record, id, signal, admitted);
    // Only the run before this one is kept, for `logs --previous`.
    const { previous } = record;
    if (previous) await context.engine.removeContainer(previous.id, { logs: true });
  }

  /** Resolves when what policies say of the pod holds; asked for before the container is made, as that takes as long. */
  #admitted(signal: AbortSignal): Promise<void> {
    const { context, pod } = this.#options;
    const sandbox = this.#sandbox();
    const admitted = sandbox && context.admit?.(pod(), podIpsOf(context, sandbox), signal);
    // Where nothing is made nobody waits for it.
    admitted?.catch(() => undefined);
    return admitted ?? Promise.resolve();
  }

  async #run(
    record: ContainerRecord,
    id: string,
    signal: AbortSignal,
    admitted: Promise<void> = this.#admitted(signal),
  ): Promise<void> {
    const { name, definition } = record;
    await admitted;
    signal.throwIfAborted();
    try {
      await runContainer(this.#options.context, this.#options.pod(), definition, id);
    } catch (error) {
      const { message } = this.#options.failures.add(name, definition.image ?? '', error);
      // It is there as exited, then: its back-off is that of any other end.
      if (this.#options.context.engine.container(id)) this.#options.failures.delete(name);
      this.#event(name, 'Warning', 'Failed', `Error: ${message}`);
      return;
    }
    this.#options.failures.delete(name);
    this.#options.observations.began(id);
    this.#options.wake();
    const hook = definition.lifecycle?.postStart;
    if (!hook) return;
    const target = this.target({ ...record, id });
    const { ok, message } = await runHook(hook, target, unlimited, signal);
    if (ok || signal.aborted) return;
    this.#event(name, 'Warning', 'FailedPostStartHook', `PostStartHook failed: ${message}`);
    this.#options.observations.condemn(name, id, 'FailedPostStartHook');
  }

  async #stop(record: ContainerRecord, id: string, message: string, signal: AbortSignal): Promise<void> {
    const preStop = !this.#preStopped.has(id) && !this.#options.gone();
    this.#preStopped.add(id);
    this.#options.observations.expectExit(id);
    this.#event(record.name, 'Normal', 'Killing', message);
    await stopContainer({
      context: this.#options.context,
      pod: this.#options.pod(),
      definition: record.definition,
      id,
      target: this.target(record),
      graceSeconds: this.#graceSeconds(record.definition),
      preStop,
      signal,
    });
  }

  #graceSeconds(definition: ContainerDefinition): number {
    const evicted = this.#options.evicted();
    if (evicted !== undefined) return evicted;
    const whole = terminationGrace(this.#options.pod().spec);
    if (this.#options.gone()) return Math.min(goneGrace, whole);
    const { deletionTimestamp, deletionGracePeriodSeconds } = this.#options.pod().metadata;
    if (deletionTimestamp === undefined) {
      return this.#options.observations.graceSeconds(definition) ?? whole;
    }
    return this.#graceLeft(deletionTimestamp, deletionGracePeriodSeconds ?? whole);
  }

  /**
   * The server's clock may be another than ours, and either may be set: what the timestamp says is taken where it makes sense, once, and
   * counted down by a clock that nobody sets.
   */
  #graceLeft(deletionTimestamp: string, grace: number): number {
    if (this.#deletion?.timestamp !== deletionTimestamp) {
      // The timestamp was cut to whole seconds.
      const whole = grace + 1;
      const told = (Date.parse(deletionTimestamp) - Date.now()) / 1000 + 1;
      const left = told > 0 && told < whole ? told : whole;
      this.#deletion = { timestamp: deletionTimestamp, until: performance.now() + left * 1000 };
    }
    return Math.min(grace, Math.max(0, (this.#deletion.until - performance.now()) / 1000));
  }

  #event(container: string, type: 'Normal' | 'Warning', reason: string, message: string): void {
    recordPodEvent(this.#options.context, this.#options.pod(), container, { type, reason, message });
  }
}

function capitalize(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
