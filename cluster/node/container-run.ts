/** The two things that are done to a container: make and start it, and stop it gracefully. */
import { join } from 'node:path';
import { type Container, EngineError, type Sandbox } from '#engine/engine.ts';
import type { Container as ContainerDefinition, EphemeralContainer, Pod } from '../kinds/types/core.ts';
import { containerSpecOf } from './container-spec.ts';
import { type NodeContext, placeOf, podIpsOf, recordPodEvent } from './context.ts';
import { AgentError, messageOf } from './errors.ts';
import { runHook } from './hooks.ts';
import { staticSourceOf } from './labels.ts';
import { ensureImage } from './images.ts';
import type { CheckTarget } from './probe-check.ts';
import { createReferences } from './references.ts';
import { processesOf } from './shared-processes.ts';
import type { PreparedVolume } from './volumes.ts';

export interface StartRequest {
  context: NodeContext;
  pod: Pod;
  definition: ContainerDefinition;
  sandbox: Sandbox;
  volumes: ReadonlyMap<string, PreparedVolume>;
  attempt: number;
  crashes: number;
  signal: AbortSignal;
}

/** Rejects with an `AgentError`, or the signal's reason; then there is no new container. */
export async function makeContainer(request: StartRequest): Promise<Container> {
  const { context, pod, definition, sandbox, signal } = request;
  const owner = {
    name: pod.metadata.name ?? '',
    uid: pod.metadata.uid ?? '',
    namespace: pod.metadata.namespace ?? 'default',
    serviceAccountName: pod.spec?.serviceAccountName ?? 'default',
  };
  // A static pod runs before the API answers, and needs nothing of it.
  const isStatic = staticSourceOf(pod.metadata.annotations) !== undefined;
  const references = createReferences(context.client, owner, isStatic ? undefined : context.services);
  const image = await ensureImage(context.engine, {
    pod,
    container: definition,
    references,
    signal,
    report: (reason, message) => recordPodEvent(context, pod, definition.name, { type: 'Normal', reason, message }),
  });
  const { targetContainerName: target }: EphemeralContainer = definition;
  const shared = await processesOf({ context, pod, sandbox: sandbox.id, target, image, signal });
  const spec = await containerSpecOf({
    pod,
    container: definition,
    image,
    sandbox: sandbox.id,
    attempt: request.attempt,
    crashes: request.crashes,
    place: placeOf(context, podIpsOf(context, sandbox)),
    references,
    volumes: request.volumes,
    seccompDirectory: context.policy.seccompDirectory,
  });
  signal.throwIfAborted();
  try {
    const whole = { ...spec, ...(shared !== undefined && { processesOf: shared }) };
    const container = await context.engine.createContainer(whole, { signal });
    const message = `Created container ${definition.name}`;
    recordPodEvent(context, pod, definition.name, { type: 'Normal', reason: 'Created', message });
    return container;
  } catch (error) {
    signal.throwIfAborted();
    throw new AgentError('CreateContainerError', messageOf(error), { cause: error });
  }
}

/** Rejects with `RunContainerError` where the engine could not execute it. */
export async function runContainer(
  context: NodeContext,
  pod: Pod,
  definition: ContainerDefinition,
  id: string,
): Promise<void> {
  try {
    await context.engine.startContainer(id);
  } catch (error) {
    const message = `failed to start container "${definition.name}": ${messageOf(error)}`;
    // The engine keeps it as exited, with the reason; where it does not, nothing may stay that would be started again.
    if (context.engine.container(id)?.state !== 'exited') await context.engine.removeContainer(id, { force: true });
    throw new AgentError('RunContainerError', message, { cause: error });
  }
  const message = `Started container ${definition.name}`;
  recordPodEvent(context, pod, definition.name, { type: 'Normal', reason: 'Started', message });
}

export function podsDirectory({ dataDirectory }: Pick<NodeContext, 'dataDirectory'>): string {
  return join(dataDirectory, 'pods');
}

export function podDirectory(context: Pick<NodeContext, 'dataDirectory'>, uid: string): string {
  return join(podsDirectory(context), uid.replaceAll(/[^\w-]/g, '_'));
}

export interface StopRequest {
  context: NodeContext;
  pod: Pod;
  definition: ContainerDefinition;
  id: string;
  target: CheckTarget;
  graceSeconds: number;
  /** False where it already ran. */
  preStop: boolean;
  signal: AbortSignal;
}

/** preStop within the grace period, then the stop signal; at least 2 s of grace are left after a hook. */
export async function stopContainer(request: StopRequest): Promise<void> {
  const { context, pod, definition, id, signal } = request;
  const began = performance.now();
  const hook = definition.lifecycle?.preStop;
  let grace = request.graceSeconds;
  if (hook && request.preStop && grace > 0) {
    const { ok, message } = await runHook(hook, request.target, grace * 1000, signal);
    signal.throwIfAborted();
    if (!ok) {
      recordPodEvent(context, pod, definition.name, { type: 'Warning', reason: 'FailedPreStopHook', message });
    }
    grace = Math.max(2, grace - (performance.now() - began) / 1000);
  }
  try {
    await context.engine.stopContainer(id, { graceSeconds: grace, signal });
  } catch (error) {
    if (error instanceof EngineError && error.code === 'not-found') return;
    throw error;
  }
}
