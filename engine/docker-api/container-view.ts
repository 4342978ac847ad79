/** A container of the engine in Docker's words. */
import type { Container, Image, PublishedPort } from '../engine.ts';
import { settingsOf } from './settings.ts';

/**
 * What `docker ps` shows. Containers of pods are named as the kubelet named them for Docker, with the attempt last, so
 * that tools which take those names apart go on working.
 */
export function containerName(container: Container): string {
  const label = (name: string): string | undefined => container.labels[`io.kubernetes.${name}`];
  const pod = label('pod.name');
  if (pod === undefined) return container.name;
  const attempt = label('container.restartCount') ?? container.labels['node.sampan.dev/restart-count'] ?? '0';
  return [
    'k8s',
    label('container.name') ?? container.name,
    pod,
    label('pod.namespace') ?? 'default',
    label('pod.uid') ?? '',
    attempt,
  ].join('_');
}

/** Program and arguments, from the container's own wishes and the image's. */
export function commandLine(container: Container, image: Image | undefined): string[] {
  const { command, args } = container.spec;
  if (command !== undefined) return [...command, ...(args ?? [])];
  return [...(image?.config.entrypoint ?? []), ...(args ?? image?.config.cmd ?? [])];
}

export function statusText(
  container: Container,
  { isRestarting = false, health = 'none' }: { isRestarting?: boolean; health?: string },
  now = Date.now(),
): string {
  const { state, startedAt, exit } = container;
  if (isRestarting) return `Restarting (${exit?.code ?? 0}) ${humanDuration(now - (exit?.at ?? now))} ago`;
  if (state === 'created') return 'Created';
  if (state === 'running') {
    const remark = container.paused === true ? ' (Paused)' : healthRemark(health);
    return `Up ${humanDuration(now - (startedAt ?? now))}${remark}`;
  }
  return `Exited (${exit?.code ?? 0}) ${humanDuration(now - (exit?.at ?? now))} ago`;
}

function healthRemark(health: string): string {
  return health === 'none' ? '' : health === 'starting' ? ' (health: starting)' : ` (${health})`;
}

/** In Docker's words; `restarting` while a restart policy waits. */
export function stateName(container: Container, isRestarting: boolean): string {
  if (isRestarting) return 'restarting';
  if (container.paused === true) return 'paused';
  // A start that failed leaves it as it was made.
  return container.state === 'exited' && container.startedAt === undefined ? 'created' : container.state;
}

export function stateView(container: Container, isRestarting: boolean): Record<string, unknown> {
  const { state, exit } = container;
  return {
    Status: stateName(container, isRestarting),
    Running: state === 'running' || isRestarting,
    Paused: container.paused === true,
    Restarting: isRestarting,
    OOMKilled: exit?.oomKilled ?? false,
    Dead: false,
    Pid: container.pid ?? 0,
    ExitCode: exit?.code ?? 0,
    Error: exit?.message ?? '',
    StartedAt: time(container.startedAt),
    FinishedAt: time(exit?.at),
  };
}

export function mountViews(container: Container): Record<string, unknown>[] {
  const volumes = new Map(settingsOf(container)?.volumes.map(({ target, name }) => [target, name]));
  return (container.spec.mounts ?? []).map((mount) => ({
    Type: mount.kind === 'tmpfs' ? 'tmpfs' : mount.kind === 'shared' || volumes.has(mount.target) ? 'volume' : 'bind',
    ...(mount.kind === 'shared' ? { Name: mount.name } : {}),
    ...(volumes.has(mount.target) ? { Name: volumes.get(mount.target), Driver: 'local' } : {}),
    Source: mount.kind === 'bind' ? mount.source : '',
    Destination: mount.target,
    Mode: '',
    RW: mount.kind === 'tmpfs' || mount.readOnly !== true,
    Propagation: mount.kind === 'bind' ? 'rprivate' : '',
  }));
}

/** `80/tcp` and the like. */
export function portViews(exposed: readonly string[], published: readonly PublishedPort[]): Record<string, unknown>[] {
  const bound = published.map(({ hostIp, hostPort, port, protocol }) => ({
    IP: hostIp ?? '0.0.0.0',
    PrivatePort: port,
    PublicPort: hostPort,
    Type: protocol,
  }));
  const rest = exposed.flatMap((text) => {
    const [number, protocol = 'tcp'] = text.split('/');
    const isBound = published.some((one) => one.port === Number(number) && one.protocol === protocol);
    return /^\d+$/.test(number ?? '') && !isBound ? [{ PrivatePort: Number(number), Type: protocol }] : [];
  });
  return [...bound, ...rest];
}

/**
 * `{"80/tcp": [{HostIp, HostPort}]}`; null for what is exposed and not published.
 * @param published  what is, or what was asked for: then an address may be absent
 */
export function portMap(exposed: readonly string[], published: readonly PublishedPort[]): Record<string, unknown> {
  const map: Record<string, { HostIp: string; HostPort: string }[] | null> = {};
  for (const port of exposed) map[port.includes('/') ? port : `${port}/tcp`] = null;
  for (const { hostIp, hostPort, port, protocol } of published) {
    const binding = { HostIp: hostIp ?? '', HostPort: String(hostPort) };
    map[`${port}/${protocol}`] = [...(map[`${port}/${protocol}`] ?? []), binding];
  }
  return map;
}

/** Docker's zero time stands for never. */
export function time(milliseconds: number | undefined): string {
  return milliseconds === undefined ? '0001-01-01T00:00:00Z' : new Date(milliseconds).toISOString();
}

/** As Docker's clients write durations: rough, in words. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.round(milliseconds / 3_600_000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  const days = Math.floor(hours / 24);
  if (days < 14) return `${days} days`;
  if (days < 60) return `${Math.floor(days / 7)} weeks`;
  if (days < 730) return `${Math.floor(days / 30)} months`;
  return `${Math.floor(days / 365)} years`;
}
