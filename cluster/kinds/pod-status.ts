/** The words that `kubectl get pods` shows: READY, STATUS and RESTARTS, computed from a pod's status. */
import { duration } from './columns.ts';
import type { Container, ContainerStatus, Pod } from './types/core.ts';

export interface PodSummary {
  status: string;
  ready: number;
  total: number;
  restarts: string;
}

export function summarizePod(pod: Pod, now: number): PodSummary {
  const initContainers = pod.spec?.initContainers ?? [];
  const sidecars = new Set(initContainers.filter(isSidecar).map((container) => container.name));
  const statuses = pod.status?.containerStatuses ?? [];
  const initStatuses = pod.status?.initContainerStatuses ?? [];
  let status = pod.status?.reason || pod.status?.phase || '';
  if (
    pod.status?.conditions?.some(
      (condition) => condition.type === 'PodScheduled' && condition.reason === 'SchedulingGated',
    )
  )
    status = 'SchedulingGated';
  const initializing = initText(initStatuses, initContainers, sidecars);
  const counted = initStatuses.filter((one) => sidecars.has(one.name));
  const initialized = pod.status?.conditions?.some(
    (condition) => condition.type === 'Initialized' && condition.status === 'True',
  );
  let restarting = initStatuses;
  if (initializing !== undefined) status = initializing;
  if (initializing === undefined || initialized === true) {
    restarting = [...counted, ...statuses];
    status = containerText(statuses, status, pod);
  }
  if (pod.metadata.deletionTimestamp !== undefined) {
    if (pod.status?.reason === 'NodeLost') status = 'Unknown';
    else if (pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed') status = 'Terminating';
  }
  return {
    status,
    ready: [...counted, ...statuses].filter((one) => one.ready && one.state?.running !== undefined).length,
    total: (pod.spec?.containers ?? []).length + sidecars.size,
    restarts: restartText(restarting, now),
  };
}

function isSidecar(container: Container): boolean {
  return container.restartPolicy === 'Always';
}

/** While init containers run: what holds the pod up. */
function initText(statuses: ContainerStatus[], containers: Container[], sidecars: Set<string>): string | undefined {
  for (const [index, { name, state, started }] of statuses.entries()) {
    if (state?.terminated?.exitCode === 0) continue;
    if (sidecars.has(name) && started === true) continue;
    if (state?.terminated !== undefined) {
      const { reason, signal, exitCode } = state.terminated;
      return `Init:${reason || (signal ? `Signal:${signal}` : `ExitCode:${exitCode}`)}`;
    }
    const waiting = state?.waiting?.reason;
    if (waiting !== undefined && waiting !== '' && waiting !== 'PodInitializing') return `Init:${waiting}`;
    return `Init:${index}/${containers.length}`;
  }
  return undefined;
}

function containerText(statuses: ContainerStatus[], before: string, pod: Pod): string {
  let status = before;
  let running = false;
  for (const { ready, state } of [...statuses].reverse()) {
    if (state?.waiting?.reason) status = state.waiting.reason;
    else if (state?.terminated !== undefined) {
      const { reason, signal, exitCode } = state.terminated;
      status = reason || (signal ? `Signal:${signal}` : `ExitCode:${exitCode}`);
    } else if (ready && state?.running !== undefined) running = true;
  }
  if (status !== 'Completed' || !running) return status;
  const isReady = pod.status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True');
  return isReady === true ? 'Running' : 'NotReady';
}

function restartText(statuses: ContainerStatus[], now: number): string {
  const count = statuses.reduce((sum, one) => sum + (one.restartCount ?? 0), 0);
  const last = statuses
    .map((one) => Date.parse(one.lastState?.terminated?.finishedAt ?? ''))
    .filter((time) => !Number.isNaN(time))
    .sort((a, b) => b - a)[0];
  return count > 0 && last !== undefined ? `${count} (${duration((now - last) / 1000)} ago)` : String(count);
}
