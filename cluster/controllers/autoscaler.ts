/**
 * Scales what HorizontalPodAutoscalers name, by metrics: every period, and when a spec changes. What metrics ask for is in
 * `autoscaler-replicas.ts`, how much of it is done at once in `autoscaler-limits.ts`; here are order, conditions and events, in
 * upstream's words.
 */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import { createEventRecorder, type EventRecorder } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import { horizontalPodAutoscalers, pods as podResource } from '../kinds/resources.ts';
import { matchesLabels, parseLabelSelector, type Requirement } from '../kinds/selector.ts';
import type { Scale } from '../kinds/types/autoscaling.ts';
import type { HorizontalPodAutoscaler, MetricStatus } from '../kinds/types/autoscaling-v2.ts';
import type { Pod } from '../kinds/types/core.ts';
import { limit, type Memory, noteScale } from './autoscaler-limits.ts';
import { type Proposal, ProposalError, proposalOf } from './autoscaler-proposal.ts';
import { messageOf, readScale, type TargetScale } from './autoscaler-scale.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { keyOf, openInformer, sameJson, splitKey, timestamp } from './objects.ts';

type Autoscaler = Stored<HorizontalPodAutoscaler>;
type Status = NonNullable<HorizontalPodAutoscaler['status']>;
type ConditionType = 'AbleToScale' | 'ScalingActive' | 'ScalingLimited';

interface State {
  autoscalers: Informer<HorizontalPodAutoscaler>;
  pods: Informer<Pod>;
  recorder: EventRecorder;
  memories: Map<string, Memory>;
  /** Of the targets' pods, to find those that two autoscalers scale. */
  selectors: Map<string, Requirement[]>;
}

export interface AutoscalerOptions {
  /** Between two looks at the metrics, in milliseconds; default 15 seconds. */
  period?: number;
}

/** One look at one autoscaler: what it is to say in the end. */
class Look {
  readonly state: State;
  readonly client: Client;
  readonly now: number;
  readonly key: string;
  readonly autoscaler: Autoscaler;
  readonly status: Status;

  constructor(state: State, context: ControllerContext, key: string, autoscaler: Autoscaler) {
    this.state = state;
    this.client = context.client;
    this.now = context.now();
    this.key = key;
    this.autoscaler = autoscaler;
    this.status = structuredClone(autoscaler.status ?? { desiredReplicas: 0 });
  }

  condition(type: ConditionType, status: 'True' | 'False', reason: string, message: string): void {
    const conditions = (this.status.conditions ??= []);
    const old = conditions.find((one) => one.type === type);
    const lastTransitionTime = old?.status === status ? old.lastTransitionTime : timestamp(this.now);
    const fresh = { type, status, lastTransitionTime: lastTransitionTime ?? timestamp(this.now), reason, message };
    if (old === undefined) conditions.push(fresh);
    else Object.assign(old, fresh);
  }

  event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    const subject = {
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata: this.autoscaler.metadata,
    };
    this.state.recorder.record(subject, { type, reason, message });
  }

  async write(): Promise<void> {
    if (sameJson(this.status, this.autoscaler.status)) return;
    try {
      await this.client.updateStatus(horizontalPodAutoscalers, { ...this.autoscaler, status: this.status });
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 404)) throw error;
    }
  }
}

export function createAutoscalerController({ period = 15_000 }: AutoscalerOptions = {}): Controller {
  let state: State | undefined;
  let requeue: (key: string, afterMilliseconds?: number) => void = () => undefined;
  return {
    name: 'horizontal-pod-autoscaler',
    async start(context, enqueue) {
      requeue = enqueue;
      const autoscalers = openInformer(context, horizontalPodAutoscalers);
      const pods = openInformer(context, podResource);
      const recorder = createEventRecorder({
        client: context.client,
        component: 'horizontal-pod-autoscaler',
        onError: (error) => context.log('warn', `horizontal-pod-autoscaler: an event was lost: ${String(error)}`),
      });
      state = { autoscalers, pods, recorder, memories: new Map(), selectors: new Map() };
      autoscalers.onChange((now, old) => {
        const either = now ?? old;
        // Our own writes of the status change nothing.
        if (either !== undefined && !(now && old && sameJson(now.spec, old.spec))) enqueue(keyOf(either.metadata));
      });
      await Promise.all([autoscalers.synced, pods.synced]);
    },
    async reconcile(key, context) {
      if (state === undefined) return;
      const { namespace, name } = splitKey(key);
      const autoscaler = state.autoscalers.get(name, namespace);
      if (autoscaler === undefined || autoscaler.metadata.deletionTimestamp !== undefined) {
        state.memories.delete(key);
        state.selectors.delete(key);
        return;
      }
      // Whatever goes wrong, the next look is as far away as ever.
      requeue(key, period);
      await reconcile(new Look(state, context, key, autoscaler));
    },
  };
}

async function reconcile(look: Look): Promise<void> {
  const { autoscaler, client, state, key } = look;
  const { spec, metadata } = autoscaler;
  if (spec === undefined) return;
  let target: TargetScale;
  try {
    target = await readScale(client, metadata.namespace ?? '', spec.scaleTargetRef);
  } catch (error) {
    look.event('Warning', 'FailedGetScale', messageOf(error));
    const message = `the HPA controller was unable to get the target's current scale: ${messageOf(error)}`;
    look.condition('AbleToScale', 'False', 'FailedGetScale', message);
    return look.write();
  }
  const could = "the HPA controller was able to get the target's current scale";
  look.condition('AbleToScale', 'True', 'SucceededGetScale', could);
  const current = target.scale.spec?.replicas ?? 0;
  if (!state.memories.has(key))
    state.memories.set(key, { recommendations: [{ at: look.now, replicas: current }], ups: [], downs: [] });
  const decision = await decide(look, target.scale, current);
  Object.assign(look.status, { currentReplicas: current, currentMetrics: decision.statuses });
  if (decision.replicas === current) look.status.desiredReplicas = current;
  else if (decision.replicas !== undefined) await rescale(look, target, current, decision.replicas, decision.reason);
  await look.write();
}

interface Decision {
  /** Undefined where the metrics do not say enough. */
  replicas: number | undefined;
  reason: string;
  statuses: MetricStatus[];
}

async function decide(look: Look, scale: Scale, current: number): Promise<Decision> {
  const { spec = { maxReplicas: 1, scaleTargetRef: { kind: '', name: '' } } } = look.autoscaler;
  const least = spec.minReplicas ?? 1;
  const without = (replicas: number, reason: string) => ({ replicas, reason, statuses: [] });
  if (current === 0 && least !== 0) {
    const message = 'scaling is disabled since the replica count of the target is zero';
    look.condition('ScalingActive', 'False', 'ScalingDisabled', message);
    return without(0, '');
  }
  if (current > spec.maxReplicas) return without(spec.maxReplicas, 'Current number of replicas above Spec.MaxReplicas');
  if (current < least) return without(least, 'Current number of replicas below Spec.MinReplicas');
  const best = await proposals(look, scale, current);
  if (best.replicas === undefined) return { ...best, reason: '' };
  const memory = look.state.memories.get(look.key) ?? { recommendations: [], ups: [], downs: [] };
  const { replicas, able, limited } = limit({ spec, current, wanted: best.replicas, memory, now: look.now });
  look.condition('AbleToScale', 'True', able.reason, able.message);
  look.condition('ScalingLimited', limited.status, limited.reason, limited.message);
  const reason =
    best.replicas > current ? `${best.name} above target` : best.replicas < current ? 'All metrics below target' : '';
  return { replicas, reason, statuses: best.statuses };
}

/** The greatest of what the metrics ask for. While one is not known, no replicas are taken away. */
async function proposals(
  look: Look,
  scale: Scale,
  current: number,
): Promise<{ replicas: number | undefined; name: string; statuses: MetricStatus[] }> {
  const { autoscaler, client, now } = look;
  const namespace = autoscaler.metadata.namespace ?? '';
  const selector = scale.status?.selector ?? '';
  const pods = selectedPods(look, namespace, selector);
  const unknown = { replicas: undefined, name: '', statuses: [] };
  if (pods === undefined) return unknown;
  const metrics = autoscaler.spec?.metrics ?? [];
  const failures: ProposalError[] = [];
  const found: Proposal[] = [];
  const results = await Promise.allSettled(
    metrics.map((metric) => proposalOf(metric, { client, namespace, scale, selector, pods, now })),
  );
  // Each in the place of its metric: clients show them side by side.
  const statuses = results.map((result) => (result.status === 'fulfilled' ? result.value.status : { type: '' }));
  for (const result of results) {
    if (result.status === 'fulfilled') found.push(result.value);
    else if (result.reason instanceof ProposalError) {
      failures.push(result.reason);
      look.event('Warning', result.reason.reason, result.reason.message);
    } else throw result.reason;
  }
  const best = found.reduce<Proposal | undefined>(
    (most, one) => (most === undefined || one.replicas > most.replicas ? one : most),
    undefined,
  );
  const [first] = failures;
  if (first !== undefined && (best === undefined || best.replicas < current)) {
    const unable = `the HPA was unable to compute the replica count: ${first.message}`;
    look.condition('ScalingActive', 'False', first.reason, unable);
    const all = `invalid metrics (${failures.length} invalid out of ${metrics.length}), first error is: ${first.summary}`;
    look.event('Warning', 'FailedComputeMetricsReplicas', all);
    return { ...unknown, statuses };
  }
  if (best === undefined) return unknown;
  const message = `the HPA was able to successfully calculate a replica count from ${best.name}`;
  look.condition('ScalingActive', 'True', 'ValidMetricFound', message);
  return { ...best, statuses };
}

/** Undefined, and told of, where the selector does not tell which pods are the target's. */
function selectedPods(look: Look, namespace: string, text: string): Stored<Pod>[] | undefined {
  const { state, key } = look;
  const refuse = (reason: string, message: string) => {
    look.event('Warning', reason, message);
    look.condition('ScalingActive', 'False', reason, message);
    return undefined;
  };
  state.selectors.delete(key);
  if (text === '') {
    look.event('Warning', 'SelectorRequired', 'selector is required');
    look.condition('ScalingActive', 'False', 'InvalidSelector', "the HPA target's scale is missing a selector");
    return undefined;
  }
  let selector: Requirement[];
  try {
    selector = parseLabelSelector(text);
  } catch (error) {
    const message = `couldn't convert selector into a corresponding internal selector object: ${messageOf(error)}`;
    return refuse('InvalidSelector', message);
  }
  state.selectors.set(key, selector);
  const pods = state.pods.list({ namespace }).filter((pod) => matchesLabels(selector, pod.metadata.labels));
  const others = [...state.selectors].filter(
    ([other, theirs]) =>
      other !== key &&
      splitKey(other).namespace === namespace &&
      pods.some((pod) => matchesLabels(theirs, pod.metadata.labels)),
  );
  if (others.length === 0) return pods;
  const keys = [key, ...others.map(([other]) => other)].join(' ');
  return refuse('AmbiguousSelector', `pods by selector ${text} are controlled by multiple HPAs: [${keys}]`);
}

/** Where it cannot be written, that is told. */
async function rescale(look: Look, target: TargetScale, from: number, replicas: number, reason: string): Promise<void> {
  try {
    await target.write(replicas);
  } catch (error) {
    const why = messageOf(error);
    look.event('Warning', 'FailedRescale', `New size: ${replicas}; reason: ${reason}; error: ${why}`);
    const message = `the HPA controller was unable to update the target scale: ${why}`;
    look.condition('AbleToScale', 'False', 'FailedUpdateScale', message);
    return;
  }
  const message = `the HPA controller was able to update the target scale to ${replicas}`;
  look.condition('AbleToScale', 'True', 'SucceededRescale', message);
  look.event('Normal', 'SuccessfulRescale', `New size: ${replicas}; reason: ${reason}`);
  const memory = look.state.memories.get(look.key);
  if (memory !== undefined) noteScale(memory, from, replicas, look.now);
  look.status.desiredReplicas = replicas;
  look.status.lastScaleTime = timestamp(look.now);
}
