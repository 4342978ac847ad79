/** Which container of the engine a request to the endpoint means. */
import type { Container, ContainerStatus } from '../kinds/types/core.ts';
import type { PodWorkers } from './pods.ts';
import { allDefinitions, allStatuses } from './records.ts';
import { containerIdScheme } from './status.ts';

export class EndpointError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.name = 'EndpointError';
    this.status = status;
  }
}

function statusOf(workers: PodWorkers, namespace: string, pod: string, container: string): ContainerStatus {
  const worker = workers.find(namespace, pod);
  if (!worker) throw new EndpointError(404, `pod "${pod}" not found in namespace "${namespace}" on this node`);
  const status = allStatuses(worker.status).find(({ name }) => name === container);
  if (status) return status;
  const names = allDefinitions(worker.pod).map(({ name }) => name);
  if (names.includes(container)) throw waiting(pod, container, 'ContainerCreating');
  throw new EndpointError(400, `container "${container}" is not valid for pod "${pod}": it has ${names.join(', ')}`);
}

/** The container that has the log, by Kubernetes' rules: the running or newest one, or the last that ended. */
export function logTarget(
  workers: PodWorkers,
  [namespace = '', pod = '', container = '']: string[],
  previous: boolean,
): string {
  const { state, lastState, containerID } = statusOf(workers, namespace, pod, container);
  const last = lastState?.terminated?.containerID;
  if (previous) {
    if (last) return bare(last);
    throw new EndpointError(400, `previous terminated container "${container}" in pod "${pod}" not found`);
  }
  if (state?.running && containerID) return bare(containerID);
  const id = state?.terminated?.containerID ?? last;
  if (id) return bare(id);
  throw waiting(pod, container, state?.waiting?.reason ?? 'ContainerCreating');
}

/** A container that runs. */
export function runningTarget(workers: PodWorkers, [namespace = '', pod = '', container = '']: string[]): string {
  const { state, containerID } = statusOf(workers, namespace, pod, container);
  if (state?.running && containerID) return bare(containerID);
  throw new EndpointError(400, `container "${container}" in pod "${pod}" is not running`);
}

/** What the pod's spec says of the container. */
export function definitionOf(
  workers: PodWorkers,
  [namespace = '', pod = '', container = '']: string[],
): Container | undefined {
  const worker = workers.find(namespace, pod);
  return worker && allDefinitions(worker.pod).find(({ name }) => name === container);
}

function waiting(pod: string, container: string, reason: string): EndpointError {
  return new EndpointError(400, `container "${container}" in pod "${pod}" is waiting to start: ${reason}`);
}

function bare(id: string): string {
  return id.slice(containerIdScheme.length);
}
