/**
 * Keeps one pod as it should be. Level-triggered: every wake looks at what is there (engine, API, probes), asks
 * `plan.ts` what to do next, and starts that; each container has at most one action under way, different containers go
 * on beside each other. What must survive the agent is in the engine's labels or in the API; the fields here are not.
 */
import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Sandbox } from '#engine/engine.ts';
import { timerOf } from '#lib/longest-timer.ts';
import type { Stored } from '../kinds/kind.ts';
import type { Pod, PodStatus } from '../kinds/types/core.ts';
import { backoffPolicyOf, grow } from './backoff.ts';
import { podDirectory } from './container-run.ts';
import { sandboxName, sandboxSpecOf } from './container-spec.ts';
import { ContainerTasks } from './container-tasks.ts';
import { type NodeContext, podIpsOf, recordPodEvent } from './context.ts';
import { messageOf } from './errors.ts';
import { hostPortsOf, isPublished } from './host-ports.ts';
import { pressureRefusal } from './eviction-rank.ts';
import { StartFailures } from './failures.ts';
import { type Misfit, misfitOf } from './fit.ts';
import { podUidLabel } from './labels.ts';
import { Observations } from './observations.ts';
import { type PodAction, planPod } from './plan.ts';
import { checkRuntimeHandler } from './runtime-handler.ts';
import { dnsOf } from './pod-dns.ts';
import { PodVolumes } from './pod-volumes.ts';
import { type ContainerRecord, recordsOf } from './records.ts';
import { rejectionOf } from './security.ts';
import { statusOf } from './status.ts';
import { type PodObject, StatusWriter } from './status-writer.ts';
import type { VolumeStats } from './volume-stats.ts';

/** How long readers of the log may take for its end before it is removed. */
const lastLinesWithin = 2000;
const lookAgainAfter = 10_000;

export class PodWorker {
  readonly uid: string;
  /** Those who read the log of one of its containers now: it is not taken away before they have seen its end. */
  readonly readers = new Set<Promise<void>>();
  readonly #context: NodeContext;
  readonly #onDone: () => void;
  readonly #writer: PodObject;
  readonly #observations: Observations;
  readonly #failures = new StartFailures();
  readonly #tasks: ContainerTasks;
  readonly #volumes: PodVolumes;
  #pod: Stored<Pod>;
  #sandboxTask: { done: Promise<void>; abort: AbortController } | undefined;
  #sandboxFailures = 0;
  /** By a clock that nobody sets. */
  #sandboxHold = 0;
  #status: PodStatus | undefined;
  #gone = false;
  #eviction: { message: string; graceSeconds: number } | undefined;
  #finishing = false;
  #isReleasing = false;
  #closed = false;
  #queued = false;
  /** Asked once: where another pod goes meanwhile, one that was refused does not come to life again. */
  #place: Misfit | 'taken' | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** `object` stands for it in the API; default: it came from there. */
  constructor(context: NodeContext, pod: Stored<Pod>, onDone: () => void, object?: PodObject) {
    this.uid = pod.metadata.uid;
    this.#context = context;
    this.#pod = pod;
    this.#onDone = onDone;
    this.#writer = object ?? new StatusWriter(context, pod);
    const wake = (): void => this.wake();
    this.#observations = new Observations(context, wake);
    this.#volumes = new PodVolumes({ context, pod: () => this.#pod, wake });
    this.#tasks = new ContainerTasks({
      context,
      pod: () => this.#pod,
      gone: () => this.#gone,
      evicted: () => this.#eviction?.graceSeconds,
      observations: this.#observations,
      failures: this.#failures,
      volumes: this.#volumes,
      wake,
    });
    this.wake();
  }

  get pod(): Stored<Pod> {
    return this.#pod;
  }

  /** As published last. */
  get status(): PodStatus | undefined {
    return this.#status;
  }

  async volumeStats(): Promise<VolumeStats[]> {
    return await this.#volumes.stats();
  }

  update(pod: Stored<Pod>): void {
    const known = this.#pod;
    const before = known.metadata.deletionTimestamp;
    this.#pod = pod;
    this.#volumes.podChanged(pod, known);
    this.#writer.observe(pod);
    const after = pod.metadata.deletionTimestamp;
    // A second delete may shorten the grace: what stops begins again with the rest.
    if (before && after && after < before) this.#tasks.abort();
    this.wake();
  }

  /** The node takes it away, for want of something: it is Failed with this message, and its containers go, at once by default. */
  evict(message: string, graceSeconds = 0): void {
    if (this.#eviction !== undefined || !this.isRunning) return;
    this.#eviction = { message, graceSeconds };
    this.#event(undefined, 'Warning', 'Evicted', message);
    this.#tasks.abort();
    this.wake();
  }

  /** It was taken in, and is not over: what it asked for is its own. */
  get isPlaced(): boolean {
    const phase = (this.#status ?? this.#writer.current)?.phase;
    if (this.#gone || phase === 'Succeeded' || phase === 'Failed') return false;
    return this.#place === 'taken' || this.#writer.current?.startTime !== undefined;
  }

  /** Evicted, and what it had is not free yet. */
  get isEvicted(): boolean {
    return this.#eviction !== undefined && !this.#closed && this.sandbox() !== undefined;
  }

  get isRunning(): boolean {
    const phase = this.#status?.phase;
    return (
      !this.#finishing && !this.#closed && phase !== 'Succeeded' && phase !== 'Failed' && this.sandbox() !== undefined
    );
  }

  /** The pod is not in the API any more: its containers go at once. */
  gone(): void {
    this.#gone = true;
    this.#tasks.abort();
    this.wake();
  }

  wake(): void {
    if (this.#queued || this.#closed) return;
    this.#queued = true;
    setImmediate(() => {
      this.#queued = false;
      if (!this.#closed) this.#look();
    });
  }

  /** Leaves everything as it is. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#writer.close();
    this.#observations.close();
    this.#volumes.close();
    this.#tasks.abort();
    this.#sandboxTask?.abort.abort();
    await Promise.all([this.#tasks.settled(), this.#volumes.settled(), this.#sandboxTask?.done]);
  }

  sandbox(): Sandbox | undefined {
    return this.#context.engine.sandboxes().find(({ labels }) => labels[podUidLabel] === this.uid);
  }

  /** One pod that cannot be understood must not take the others down. */
  #look(): void {
    if (this.#finishing) return;
    try {
      this.#sync();
    } catch (error) {
      this.#context.log('error', 'a pod could not be looked at', { pod: this.#name, error: messageOf(error) });
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.wake(), lookAgainAfter);
    }
  }

  #sync(): void {
    const pod = this.#pod;
    const now = Date.now();
    const current = this.#writer.current;
    const sandbox = this.sandbox();
    const records = this.#records(sandbox);
    const verdict = this.#verdict(sandbox, current, now);
    const latched = current?.phase === 'Failed' || current?.phase === 'Succeeded' ? current.phase : undefined;
    const deleted = this.#gone || pod.metadata.deletionTimestamp !== undefined;
    const stopping = deleted || verdict !== undefined || latched !== undefined;
    if (stopping) this.#abortStarts();
    else this.#volumes.ensure();
    this.#observations.observe(pod, records, current, (record) => this.#tasks.target(record));
    const plan = planPod({
      pod,
      records,
      sandbox: this.#waits() ? 'busy' : this.#isWhole(sandbox) ? 'ready' : 'absent',
      busy: this.#tasks.busy,
      replacing: this.#tasks.replacing,
      holds: this.#failures.holds(now),
      started: this.#observations.started,
      condemned: this.#observations.condemned,
      backoff: backoffPolicyOf(pod.metadata.annotations),
      mode: stopping ? 'stop' : 'run',
      now,
    });
    const down = plan.down || (stopping && this.#tasks.busy.size === 0 && !this.#sandboxTask && !anyRunning(records));
    for (const action of plan.actions) this.#execute(action, records, sandbox);
    this.#observations.backingOff(pod, records, plan.backingOff);
    this.#status = statusOf({
      pod,
      current,
      records,
      phase: latched ?? (deleted && down ? finalPhase(records) : plan.phase),
      ...(verdict && { verdict }),
      podIps: sandbox ? podIpsOf(this.#context, sandbox) : (current?.podIPs ?? []).flatMap(({ ip }) => ip ?? []),
      hostIps: this.#context.hostIps,
      sandboxReady: sandbox !== undefined && !this.#sandboxTask,
      waiting: this.#waiting(),
      backingOff: plan.backingOff,
      replacing: this.#tasks.replacing,
      started: this.#observations.started,
      ready: this.#observations.ready,
      terminationMessages: this.#observations.terminationMessages,
      stopping,
      down,
      ...(this.#eviction !== undefined && { evicted: this.#eviction.message }),
      now,
    });
    // Of one that is over, and of which nothing is here, the API says more than can be seen.
    if (!this.#gone && !(latched && !sandbox)) this.#writer.publish(this.#status);
    if (latched && down) this.#releaseVolumes();
    if (deleted && down) void this.#finish();
    else this.#arm(plan.wakeAt, now);
  }

  /** Nothing starts before the volumes are there, nor while the sandbox is made. */
  #waits(): boolean {
    return this.#sandboxTask !== undefined || performance.now() < this.#sandboxHold || !this.#volumes.ready;
  }

  /** The pod has ended for good, though its object may stay: others may want its volumes. */
  #releaseVolumes(): void {
    const release = async (): Promise<void> => {
      const { engine } = this.#context;
      const sandbox = this.sandbox()?.id;
      const own = engine.containers().filter((one) => one.sandbox === sandbox && one.state === 'exited');
      for (const { id } of own) await engine.releaseMounts(id);
      await this.#volumes.release();
      // It went for want of room: what its containers wrote goes too, and their logs, as with a kubelet.
      if (sandbox !== undefined && this.#writer.current?.reason === 'Evicted') await engine.removeSandbox(sandbox);
    };
    if (this.#isReleasing) return;
    this.#isReleasing = true;
    release().catch((error: unknown) => {
      this.#context.log('warn', 'volumes were not released', { pod: this.#name, error: messageOf(error) });
      this.#isReleasing = false;
      setTimeout(() => this.wake(), lookAgainAfter).unref();
    });
  }

  #records(sandbox: Sandbox | undefined): ContainerRecord[] {
    const { engine } = this.#context;
    const containers = sandbox ? engine.containers().filter((container) => container.sandbox === sandbox.id) : [];
    const pod = { ...this.#pod, ...(this.#writer.current && { status: this.#writer.current }) };
    return recordsOf(pod, containers, sandbox !== undefined);
  }

  #verdict(
    sandbox: Sandbox | undefined,
    current: PodStatus | undefined,
    now: number,
  ): { reason: string; message: string } | undefined {
    if (current?.phase === 'Failed' || current?.phase === 'Succeeded') return undefined;
    if (this.#eviction !== undefined) return { reason: 'Evicted', message: this.#eviction.message };
    if (!sandbox) {
      const rejection = rejectionOf(this.#pod, this.#context.policy);
      if (rejection !== undefined) return this.#announce(rejection.reason, rejection.message);
      // One that ran before has its place already.
      const pressures = current?.startTime === undefined ? (this.#context.pressures?.() ?? []) : [];
      const lacking = pressureRefusal(this.#pod, pressures);
      if (lacking !== undefined) return this.#announce('Evicted', `Pod was rejected: ${lacking}`);
      const place = this.#takePlace(current);
      if (place !== 'taken') return this.#announce(place.reason, place.message);
    }
    const deadline = this.#deadline();
    if (deadline === undefined || deadline > now) return undefined;
    const message = 'Pod was active on the node longer than the specified deadline';
    return this.#announce('DeadlineExceeded', message);
  }

  #takePlace(current: PodStatus | undefined): Misfit | 'taken' {
    const { placed, room } = this.#context;
    if (placed === undefined || current?.startTime !== undefined || this.#pod.metadata.deletionTimestamp !== undefined)
      return 'taken';
    this.#place ??= misfitOf(this.#pod, room, placed(this.uid)) ?? 'taken';
    return this.#place;
  }

  #announce(reason: string, message: string): { reason: string; message: string } {
    this.#observations.once(`verdict ${reason}`, () => this.#event(undefined, 'Warning', reason, message));
    return { reason, message };
  }

  #deadline(): number | undefined {
    const seconds = this.#pod.spec?.activeDeadlineSeconds;
    const startTime = this.#writer.current?.startTime ?? this.#status?.startTime;
    return seconds === undefined || startTime === undefined ? undefined : Date.parse(startTime) + seconds * 1000;
  }

  #waiting(): Map<string, { reason: string; message?: string }> {
    const waiting = this.#failures.waiting();
    for (const [name, { reason, message }] of waiting) {
      if (reason === 'ImagePullBackOff')
        this.#observations.once(`${name} ${message}`, () => {
          this.#event(name, 'Normal', 'BackOff', message);
          this.#event(name, 'Warning', 'Failed', 'Error: ImagePullBackOff');
        });
    }
    return waiting;
  }

  #arm(wakeAt: number | undefined, now: number): void {
    clearTimeout(this.#timer);
    const held = this.#sandboxHold - performance.now();
    const next = Math.min(
      wakeAt ?? Number.POSITIVE_INFINITY,
      this.#deadline() ?? Number.POSITIVE_INFINITY,
      this.#failures.nextChange(now),
      held > 0 ? now + held : Number.POSITIVE_INFINITY,
    );
    if (next === Number.POSITIVE_INFINITY || next <= now) return;
    this.#timer = setTimeout(() => this.wake(), timerOf(next - now + 1));
  }

  #isWhole(sandbox: Sandbox | undefined): boolean {
    return sandbox !== undefined && isPublished(this.#pod, sandbox);
  }

  #abortStarts(): void {
    this.#sandboxTask?.abort.abort();
    this.#tasks.abort('start');
  }

  #execute(action: PodAction, records: readonly ContainerRecord[], sandbox: Sandbox | undefined): void {
    if (action.do === 'create-sandbox') {
      this.#createSandbox();
      return;
    }
    const record = records.find(({ name }) => name === action.name);
    if (record && sandbox) this.#tasks.execute(action, record, sandbox);
  }

  #createSandbox(): void {
    const abort = new AbortController();
    const { engine } = this.#context;
    const create = async (): Promise<void> => {
      try {
        const { nodeName, names } = this.#context;
        const { dns, omitted } = dnsOf(this.#pod, names);
        for (const message of omitted) this.#event(undefined, 'Warning', 'DNSConfigForming', message);
        const spec = sandboxSpecOf(this.#pod, nodeName, dns);
        await checkRuntimeHandler(this.#context, this.#pod);
        const { id, ip6 } = this.sandbox() ?? (await engine.createSandbox(spec, { signal: abort.signal }));
        const ports = hostPortsOf(this.#pod, ip6 !== undefined);
        if (ports.length > 0) await engine.publishPorts(id, ports);
        this.#sandboxFailures = 0;
      } catch (error) {
        if (abort.signal.aborted) return;
        this.#sandboxHold = performance.now() + grow(1000, 60_000, this.#sandboxFailures);
        this.#sandboxFailures += 1;
        const message = `Failed to create pod sandbox ${sandboxName(this.#pod)}: ${messageOf(error)}`;
        this.#event(undefined, 'Warning', 'FailedCreatePodSandBox', message);
      }
    };
    const done = create().finally(() => {
      this.#sandboxTask = undefined;
      this.wake();
    });
    this.#sandboxTask = { done, abort };
  }

  /** Everything is down: the last status, then the sandbox goes, then the object. */
  async #finish(): Promise<void> {
    this.#finishing = true;
    clearTimeout(this.#timer);
    this.#observations.close();
    try {
      if (!this.#gone) await this.#writer.flush();
      const sandbox = this.sandbox();
      if (this.readers.size > 0) {
        await Promise.race([Promise.allSettled(this.readers), delay(lastLinesWithin, undefined, { ref: false })]);
      }
      if (sandbox) await this.#context.engine.removeSandbox(sandbox.id);
      await this.#volumes.release();
      await rm(podDirectory(this.#context, this.uid), { recursive: true, force: true });
      if (!this.#gone) await this.#writer.remove();
      this.#writer.close();
      this.#closed = true;
      this.#onDone();
    } catch (error) {
      this.#context.log('warn', 'a pod could not be removed yet', { pod: this.#name, error: messageOf(error) });
      this.#timer = setTimeout(() => {
        this.#finishing = false;
        this.wake();
      }, 1000);
    }
  }

  get #name(): string {
    return `${this.#pod.metadata.namespace}/${this.#pod.metadata.name}`;
  }

  #event(container: string | undefined, type: 'Normal' | 'Warning', reason: string, message: string): void {
    recordPodEvent(this.#context, this.#pod, container, { type, reason, message });
  }
}

function anyRunning(records: readonly ContainerRecord[]): boolean {
  return records.some(({ state }) => state === 'running');
}

function finalPhase(records: readonly ContainerRecord[]): 'Succeeded' | 'Failed' {
  const mains = records.filter(({ role }) => role === 'main');
  return mains.every(({ state, exit }) => state === 'exited' && exit?.code === 0) ? 'Succeeded' : 'Failed';
}
