/** `/containers/json` and `/containers/{id}/json`. */
import type { Container } from '../engine.ts';
import { answerJson, type Call, findContainer, flag } from './call.ts';
import {
  commandLine,
  containerName,
  mountViews,
  networkView,
  portViews,
  stateView,
  statusText,
  time,
} from './container-view.ts';
import { DockerError } from './errors.ts';
import { anyOf, type Filters, hasLabels, parseFilters, pattern } from './filters.ts';

const FILTERS = ['ancestor', 'before', 'exited', 'id', 'label', 'name', 'since', 'status'];
/** Docker knows more states than the engine has; asking for one of those finds nothing. */
const STATES = ['created', 'restarting', 'running', 'removing', 'paused', 'exited', 'dead'];

export async function listContainers(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), FILTERS);
  for (const state of filters.get('status') ?? []) {
    if (!STATES.includes(state))
      throw new DockerError(400, `invalid filter 'status=${state}'; known are ${STATES.join(', ')}`);
  }
  const limit = Number(call.query.get('limit') ?? 0);
  if (!Number.isInteger(limit))
    throw new DockerError(400, `limit ${JSON.stringify(call.query.get('limit'))} is no number`);
  const everyState = flag(call, 'all') || limit > 0 || filters.has('status') || filters.has('exited');
  const fitting = call.engine
    .containers()
    .filter((container) => (everyState || container.state === 'running') && isFitting(call, container, filters))
    .sort((left, right) => right.createdAt - left.createdAt || (left.id < right.id ? -1 : 1));
  const shown = limit > 0 ? fitting.slice(0, limit) : fitting;
  answerJson(call, await Promise.all(shown.map((container) => summary(call, container))));
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
  answerJson(call, {
    Id: container.id,
    Created: time(container.createdAt),
    Path: program,
    Args: args,
    State: stateView(container),
    Image: container.imageId,
    ResolvConfPath: '',
    HostnamePath: '',
    HostsPath: '',
    LogPath: container.logPath,
    Name: `/${containerName(container)}`,
    RestartCount: 0,
    Driver: 'overlay2',
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: null,
    ...sizes,
    HostConfig: {
      Binds: (spec.mounts ?? []).flatMap((mount) =>
        mount.kind === 'bind' ? [`${mount.source}:${mount.target}${mount.readOnly ? ':ro' : ''}`] : [],
      ),
      LogConfig: { Type: 'k8s-file', Config: {} },
      NetworkMode: 'pod',
      PortBindings: {},
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
      AutoRemove: false,
      CapAdd: spec.capabilities?.add ?? null,
      CapDrop: spec.capabilities?.drop ?? null,
      GroupAdd: spec.supplementaryGroups?.map(String) ?? null,
      Privileged: false,
      ReadonlyRootfs: spec.readOnlyRoot ?? false,
      SecurityOpt: spec.noNewPrivileges === false ? [] : ['no-new-privileges'],
      Runtime: call.engine.info().runtime.name,
      Memory: limits.memoryBytes ?? 0,
      NanoCpus: (limits.cpuMillis ?? 0) * 1_000_000,
      CpuShares: limits.cpuShares ?? 0,
      PidsLimit: limits.pids ?? null,
    },
    GraphDriver: { Name: 'overlay2', Data: null },
    Mounts: mountViews(container),
    Config: {
      Hostname: sandbox?.hostname ?? '',
      Domainname: '',
      User: spec.user ?? image?.config.user ?? '',
      AttachStdin: false,
      AttachStdout: true,
      AttachStderr: true,
      ExposedPorts: Object.fromEntries((image?.config.exposedPorts ?? []).map((port) => [port, {}])),
      Tty: spec.tty ?? false,
      OpenStdin: spec.stdin ?? false,
      StdinOnce: false,
      Env: [...environment.values()],
      Cmd: spec.args ?? (spec.command === undefined ? (image?.config.cmd ?? null) : null),
      Image: container.image,
      Volumes: null,
      WorkingDir: spec.workingDirectory ?? image?.config.workingDirectory ?? '',
      Entrypoint: spec.command ?? image?.config.entrypoint ?? null,
      OnBuild: null,
      Labels: container.labels,
      StopSignal: spec.stopSignal ?? image?.config.stopSignal ?? 'SIGTERM',
    },
    NetworkSettings: {
      Bridge: '',
      SandboxID: container.sandbox,
      SandboxKey: sandbox?.networkNamespacePath ?? '',
      Ports: {},
      IPAddress: sandbox?.ip ?? '',
      IPPrefixLen: 32,
      Gateway: '',
      MacAddress: '',
      Networks: networkView(sandbox),
    },
  });
}

async function summary(call: Call, container: Container): Promise<Record<string, unknown>> {
  const image = call.engine.images.get(container.imageDigest);
  return {
    Id: container.id,
    Names: [`/${containerName(container)}`],
    Image: container.image,
    ImageID: container.imageId,
    Command: commandLine(container, image).join(' '),
    Created: Math.floor(container.createdAt / 1000),
    Ports: portViews(image),
    Labels: container.labels,
    State: container.state,
    Status: statusText(container),
    ...(flag(call, 'size') ? await sizesOf(call, container) : {}),
    HostConfig: { NetworkMode: 'pod' },
    NetworkSettings: { Networks: networkView(call.engine.sandbox(container.sandbox)) },
    Mounts: mountViews(container),
  };
}

async function sizesOf(call: Call, container: Container): Promise<{ SizeRw: number; SizeRootFs: number }> {
  const { diskBytes } = await call.engine.stats(container.id);
  return { SizeRw: diskBytes, SizeRootFs: diskBytes + (call.engine.images.get(container.imageDigest)?.sizeBytes ?? 0) };
}

function isFitting(call: Call, container: Container, filters: Filters): boolean {
  const { images } = call.engine;
  const name = containerName(container);
  return (
    hasLabels(filters, container.labels) &&
    anyOf(filters, 'id', (value) => container.id.startsWith(value)) &&
    anyOf(filters, 'name', (value) => pattern(value).test(name) || pattern(value).test(`/${name}`)) &&
    anyOf(filters, 'status', (value) => container.state === value) &&
    anyOf(filters, 'exited', (value) => container.state === 'exited' && container.exit?.code === Number(value)) &&
    anyOf(filters, 'ancestor', (value) => container.image === value || images.get(value)?.id === container.imageId) &&
    anyOf(filters, 'before', (value) => container.createdAt < findContainer(call, value).createdAt) &&
    anyOf(filters, 'since', (value) => container.createdAt > findContainer(call, value).createdAt)
  );
}
