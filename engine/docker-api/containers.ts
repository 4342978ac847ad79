/** `/containers/json` and `/containers/{id}/json`. */
import type { Container, Image, PublishedPort, Sandbox } from '../engine.ts';
import { answerJson, type Call, findContainer, flag, hubName } from './call.ts';
import {
  commandLine,
  containerName,
  mountViews,
  portMap,
  portViews,
  stateName,
  stateView,
  statusText,
  time,
} from './container-view.ts';
import { DockerError } from './errors.ts';
import { runningExecs } from './execs.ts';
import { healthView } from './health.ts';
import { healthcheckView, restOfHostConfig } from './host-config-view.ts';
import { containerNetworks } from './network-view.ts';
import { riskView } from './risk-view.ts';
import { type Settings, settingsOf, visibleLabels } from './settings.ts';
import { anyOf, type Filters, hasLabels, parseFilters, pattern } from './filters.ts';

const FILTERS =
  'ancestor before exited expose health id is-task isolation label name network publish since status volume'.split(' ');
/** Docker knows more states than the engine has; asking for one of those finds nothing. */
const STATES = ['created', 'restarting', 'running', 'removing', 'paused', 'exited', 'dead'];

const HEALTH = ['starting', 'healthy', 'unhealthy', 'none'];

export async function listContainers(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), FILTERS);
  for (const state of filters.get('status') ?? []) {
    if (!STATES.includes(state))
      throw new DockerError(400, `invalid filter 'status=${state}'; known are ${STATES.join(', ')}`);
  }
  for (const health of filters.get('health') ?? []) {
    if (!HEALTH.includes(health))
      throw new DockerError(400, `invalid filter 'health=${health}'; known are ${HEALTH.join(', ')}`);
  }
  for (const code of filters.get('exited') ?? [])
    if (!/^-?\d{1,9}$/.test(code)) throw new DockerError(400, `invalid filter 'exited=${code}': it is no number`);
  const limit = Number(call.query.get('limit') ?? 0);
  if (!Number.isInteger(limit))
    throw new DockerError(400, `limit ${JSON.stringify(call.query.get('limit'))} is no number`);
  const everyState = flag(call, 'all') || limit > 0 || filters.has('status') || filters.has('exited');
  const fitting = call.engine
    .containers()
    .filter((container) => (everyState || container.state === 'running') && isFitting(call, container, filters))
    .sort((left, right) => right.createdAt - left.createdAt || (left.id < right.id ? -1 : 1));
  const shown = limit > 0 ? fitting.slice(0, limit) : fitting;
  answerJson(call, await Promise.all(shown.map((container) => containerSummary(call, container, flag(call, 'size')))));
}

export async function inspectContainer(call: Call): Promise<void> {
  const container = findContainer(call, call.path['id'] ?? '');
  const { spec } = container;
  const image = call.engine.images.get(container.imageDigest);
  const sandbox = call.engine.sandbox(container.sandbox);
  const [program = '', ...args] = commandLine(container, image);
  const environment = new Map(
    [...(image?.config.env ?? []), ...(spec.env ?? [])].map((entry) => [entry.split('=', 1)[0], entry]),
  );
  const sizes = flag(call, 'size') ? await sizesOf(call, container) : {};
  const limits = spec.limits ?? {};
  const settings = settingsOf(container);
  const isRestarting = call.docker.isRestarting(container.id);
  const exposed = exposedPorts(image, settings);
  const networks = containerNetworks(call, container);
  answerJson(call, {
    Id: container.id,
    Created: time(container.createdAt),
    Path: program,
    Args: args,
    State: { ...stateView(container, isRestarting), Health: healthView(call.docker.health.of(container)) },
    Image: container.imageId,
    ResolvConfPath: '',
    HostnamePath: '',
    HostsPath: '',
    LogPath: spec.log?.none === true ? '' : container.logPath,
    Name: `/${containerName(container)}`,
    RestartCount: call.docker.restartCount(container.id),
    Driver: 'overlay2',
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: runningExecs(container.id),
    ...sizes,
    HostConfig: {
      Binds:
        settings?.binds ??
        (spec.mounts ?? []).flatMap((mount) =>
          mount.kind === 'bind' ? [`${mount.source}:${mount.target}${mount.readOnly ? ':ro' : ''}`] : [],
        ),
      LogConfig: { Type: settings?.log?.type ?? 'json-file', Config: settings?.log?.options ?? {} },
      NetworkMode: networkMode(settings),
      Links: settings?.links ?? null,
      PortBindings: portMap([], settings?.bindings ?? []),
      PublishAllPorts: settings?.publishAll ?? false,
      RestartPolicy: { Name: settings?.restart.name ?? 'no', MaximumRetryCount: settings?.restart.maximum ?? 0 },
      AutoRemove: settings?.autoRemove ?? false,
      Dns: settings?.dns ?? [],
      DnsOptions: settings?.dnsOptions ?? [],
      DnsSearch: settings?.dnsSearch ?? [],
      ExtraHosts: settings?.extraHosts ?? null,
      Tmpfs: settings?.tmpfs ?? {},
      ShmSize: spec.sharedMemoryBytes ?? 64 * 1024 * 1024,
      Ulimits: (spec.resourceLimits ?? []).map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
      CapAdd: spec.capabilities?.add ?? null,
      CapDrop: spec.capabilities?.drop ?? null,
      GroupAdd: [...(spec.supplementaryGroups ?? []).map(String), ...(spec.supplementaryGroupNames ?? [])],
      ReadonlyRootfs: spec.readOnlyRoot ?? false,
      SecurityOpt: settings?.securityOpt ?? (spec.noNewPrivileges === false ? [] : ['no-new-privileges']),
      Runtime: call.engine.info().runtime.name,
      Memory: limits.memoryBytes ?? 0,
      NanoCpus: (limits.cpuMillis ?? 0) * 1_000_000,
      CpuShares: limits.cpuShares ?? 0,
      PidsLimit: limits.pids ?? null,
      ...restOfHostConfig(limits),
      ...riskView(container, sandbox),
      Init: spec.init ?? null,
      Sysctls: spec.sysctls ?? {},
      OomScoreAdj: spec.oomScoreAdjust ?? 0,
      VolumesFrom: settings?.volumesFrom ?? null,
      Annotations: spec.annotations ?? null,
    },
    GraphDriver: { Name: 'overlay2', Data: null },
    Mounts: mountViews(container),
    Config: {
      Hostname: settings?.hostname ?? sandbox?.hostname ?? '',
      Domainname: spec.domainName ?? '',
      User: spec.user ?? image?.config.user ?? '',
      AttachStdin: settings?.attach.stdin ?? false,
      AttachStdout: settings?.attach.stdout ?? true,
      AttachStderr: settings?.attach.stderr ?? true,
      ExposedPorts: Object.fromEntries(exposed.map((port) => [port, {}])),
      Tty: spec.tty ?? false,
      OpenStdin: spec.stdin ?? false,
      StdinOnce: settings?.stdinOnce ?? false,
      Env: [...environment.values()],
      Cmd: settings?.cmd ?? spec.args ?? (spec.command === undefined ? (image?.config.cmd ?? null) : null),
      Image: container.image,
      Volumes: volumeTargets(image, settings),
      WorkingDir: spec.workingDirectory ?? image?.config.workingDirectory ?? '',
      Entrypoint: settings?.entrypoint ?? spec.command ?? image?.config.entrypoint ?? null,
      OnBuild: null,
      Labels: visibleLabels(container),
      StopSignal: spec.stopSignal ?? image?.config.stopSignal ?? 'SIGTERM',
      Healthcheck: healthcheckView(settings?.health),
      ...(settings?.stopSeconds === undefined ? {} : { StopTimeout: settings.stopSeconds }),
    },
    NetworkSettings: {
      Bridge: '',
      SandboxID: container.sandbox,
      SandboxKey: sandbox?.networkNamespacePath ?? '',
      Ports: portMap(exposed, publishedOf(settings, sandbox)),
      ...defaultEndpoint(networks),
      Networks: networks,
    },
  });
}

export async function containerSummary(
  call: Call,
  container: Container,
  withSize: boolean,
): Promise<Record<string, unknown>> {
  const image = call.engine.images.get(container.imageDigest);
  const settings = settingsOf(container);
  const sandbox = call.engine.sandbox(container.sandbox);
  const isRestarting = call.docker.isRestarting(container.id);
  const health = call.docker.health.of(container);
  return {
    Id: container.id,
    Names: [`/${containerName(container)}`],
    Image: container.image,
    ImageID: container.imageId,
    Command: commandLine(container, image).join(' '),
    Created: Math.floor(container.createdAt / 1000),
    Ports: portViews(exposedPorts(image, settings), publishedOf(settings, sandbox)),
    Labels: visibleLabels(container),
    State: stateName(container, isRestarting),
    Status: statusText(container, { isRestarting, health: health?.status ?? 'none' }),
    ...(withSize ? await sizesOf(call, container) : {}),
    HostConfig: { NetworkMode: networkMode(settings) },
    NetworkSettings: { Networks: containerNetworks(call, container) },
    Mounts: mountViews(container),
  };
}

function networkMode(settings: Settings | undefined): string {
  return settings === undefined ? 'pod' : (settings.networkMode ?? 'bridge');
}

/** What is published belongs to whose sandbox it is, not to those who joined it. */
function publishedOf(settings: Settings | undefined, sandbox: Sandbox | undefined): PublishedPort[] {
  return settings?.networkMode?.startsWith('container:') === true ? [] : (sandbox?.published ?? []);
}

/** The same once more, as old clients read it: of the network that is always there. */
function defaultEndpoint(networks: Record<string, unknown>): Record<string, unknown> {
  const known = (networks['bridge'] ?? networks['pod'] ?? {}) as Record<string, unknown>;
  const names = ['EndpointID', 'Gateway', 'IPAddress', 'MacAddress'];
  return {
    ...Object.fromEntries(names.map((name) => [name, known[name] ?? ''])),
    IPPrefixLen: known['IPPrefixLen'] ?? 0,
  };
}

/** By name, id or the beginning of the id. */
function isIn(call: Call, container: Container, value: string): boolean {
  if (settingsOf(container) === undefined) return value === 'pod';
  return Object.entries(containerNetworks(call, container)).some(
    ([name, view]) => name === value || String((view as { NetworkID: string }).NetworkID).startsWith(value),
  );
}

async function sizesOf(call: Call, container: Container): Promise<{ SizeRw: number; SizeRootFs: number }> {
  const diskBytes = await call.engine.diskUse(container.id);
  return { SizeRw: diskBytes, SizeRootFs: diskBytes + (call.engine.images.get(container.imageDigest)?.sizeBytes ?? 0) };
}

function volumeTargets(image: Image | undefined, settings: Settings | undefined): Record<string, object> | null {
  const own = (settings?.volumes ?? []).filter(({ anonymous }) => anonymous).map(({ target }) => target);
  const all = [...new Set([...(image?.config.volumes ?? []), ...own])];
  return all.length === 0 ? null : Object.fromEntries(all.map((target) => [target, {}]));
}

function exposedPorts(image: Image | undefined, settings: Settings | undefined): string[] {
  const bound = (settings?.bindings ?? []).map(({ port, protocol }) => `${port}/${protocol}`);
  return [...new Set([...(image?.config.exposedPorts ?? []), ...(settings?.exposed ?? []), ...bound])];
}

function isFitting(call: Call, container: Container, filters: Filters): boolean {
  const { images } = call.engine;
  const name = containerName(container);
  return (
    hasLabels(filters, visibleLabels(container)) &&
    anyOf(filters, 'id', (value) => container.id.startsWith(value)) &&
    anyOf(filters, 'name', (value) => pattern(value).test(name) || pattern(value).test(`/${name}`)) &&
    anyOf(filters, 'status', (value) => stateName(container, call.docker.isRestarting(container.id)) === value) &&
    anyOf(filters, 'exited', (value) => container.state === 'exited' && container.exit?.code === Number(value)) &&
    anyOf(filters, 'ancestor', (value) => isAncestor(call, container, value)) &&
    anyOf(filters, 'volume', (value) => hasVolume(container, value)) &&
    anyOf(filters, 'publish', (value) => hasPort(call.engine.sandbox(container.sandbox)?.published ?? [], value)) &&
    anyOf(filters, 'expose', (value) => exposes(images.get(container.imageDigest), settingsOf(container), value)) &&
    anyOf(filters, 'network', (value) => isIn(call, container, value)) &&
    anyOf(filters, 'is-task', (value) => ['0', 'false'].includes(value)) &&
    anyOf(filters, 'health', (value) => value === (call.docker.health.of(container)?.status ?? 'none')) &&
    anyOf(filters, 'before', (value) => container.createdAt < findContainer(call, value).createdAt) &&
    anyOf(filters, 'since', (value) => container.createdAt > findContainer(call, value).createdAt)
  );
}

function isAncestor({ engine }: Call, container: Container, name: string): boolean {
  const image = engine.images.get(name) ?? engine.images.get(hubName(name));
  return container.image === name || image?.id === container.imageId;
}

function hasVolume(container: Container, value: string): boolean {
  const names = settingsOf(container)?.volumes.map(({ name }) => name) ?? [];
  return names.includes(value) || (container.spec.mounts ?? []).some(({ target }) => target === value);
}

/** `80`, `80/udp`, or a range of them. */
function inRange(value: string, port: number, protocol: string): boolean {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp))?$/.exec(value);
  if (match === null) throw new DockerError(400, `invalid filter: ${JSON.stringify(value)} is no port such as 80/tcp`);
  const first = Number(match[1]);
  return port >= first && port <= Number(match[2] ?? first) && protocol === (match[3] ?? 'tcp');
}

function hasPort(published: readonly PublishedPort[], value: string): boolean {
  return published.some(
    ({ hostPort, port, protocol }) => inRange(value, hostPort, protocol) || inRange(value, port, protocol),
  );
}

function exposes(image: Image | undefined, settings: Settings | undefined, value: string): boolean {
  return exposedPorts(image, settings)
    .map((text) => text.split('/'))
    .some(([port, protocol = 'tcp']) => inRange(value, Number(port), protocol));
}
