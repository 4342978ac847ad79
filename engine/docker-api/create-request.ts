/** `POST /containers/create`: the body, checked and put into the engine's words. Pure. */
import { isIP } from 'node:net';
import { hostname as hostName, release } from 'node:os';
import type { ContainerSpec, EngineInfo, Healthcheck } from '../engine.ts';
import { formatAddress, parseAddress } from '../network/address-text.ts';
import type { LimitSupport } from '../verbs.ts';
import { Fields, type Document } from './body.ts';
import { readHealthcheck, readLogSettings, readOptions, readStorageSize, refuseUnknown } from './create-options.ts';
import { readLimits } from './limits-request.ts';
import { type MountWish, readMounts } from './mount-request.ts';
import { type NetworksWish, readNetworks } from './network-request.ts';
import { readRisks, type RiskRequest } from './risk-request.ts';
import { isReserved, type PortBinding, type RestartName, type Settings } from './settings.ts';

export interface CreateRequest {
  image: string;
  settings: Settings;
  spec: Omit<ContainerSpec, 'id' | 'sandbox' | 'name' | 'image' | 'labels' | 'mounts'>;
  labels: Record<string, string>;
  mounts: MountWish[];
  networks: NetworksWish;
  hostAliases: { ip: string; names: string[] }[];
  /** What was asked for and is not kept. */
  warnings: string[];
  sandbox: RiskRequest['sandbox'];
}

const RESTARTS: readonly RestartName[] = ['no', 'always', 'on-failure', 'unless-stopped'];

export interface CreateSurroundings {
  /** The container's: its beginning is the default host name. */
  id: string;
  engine: { limitSupport(): LimitSupport; info(): Pick<EngineInfo, 'runtime'> };
  /** What the image with this name says of its health, where it is there. */
  healthOf: (image: string) => Healthcheck | undefined;
}

export function readCreateRequest(body: Document, { id, engine, healthOf }: CreateSurroundings): CreateRequest {
  const config = new Fields(body);
  const host = config.object('HostConfig');
  refuseUnsupported(host);
  const risks = readRisks(config, host, { arch: process.arch, kernel: release() });
  const image = config.text('Image');
  if (image === '') throw config.refuse('Image', 'it is empty: name the image to run');
  const labels = config.stringMap('Labels');
  for (const label of Object.keys(labels))
    if (isReserved(label)) throw config.refuse('Labels', `${JSON.stringify(label)} is the engine's own`);
  const cmd = config.words('Cmd');
  const entrypoint = config.words('Entrypoint')?.filter((word, index) => index > 0 || word !== '');
  const mounts = readMounts(config, host);
  const networks = readNetworks(config, host);
  const stopSeconds = config.has('StopTimeout') ? config.integer('StopTimeout') : undefined;
  const tmpfs = host.stringMap('Tmpfs');
  const securityOpt = host.strings('SecurityOpt') ?? [];
  refuseUnknown(host, engine.info().runtime);
  const log = readLogSettings(host);
  const { limits, warnings } = readLimits(host, engine);
  const diskBytes = readStorageSize(host);
  if (diskBytes !== undefined) limits.diskBytes = diskBytes;
  const options = readOptions(config, host, log);
  const health = readHealthcheck(config, healthOf(image));
  const volumesFrom = host.strings('VolumesFrom') ?? [];
  const named = risks.sandbox.network === 'host' || risks.spec.hostNamespaces?.includes('uts') === true;
  const hostname = config.text('Hostname') || (named ? hostName() : id.slice(0, 12));
  return {
    image,
    labels,
    mounts,
    warnings,
    networks,
    hostAliases: extraHosts(host),
    sandbox: risks.sandbox,
    spec: {
      ...(entrypoint !== undefined && config.has('Entrypoint')
        ? { command: entrypoint, args: cmd ?? [] }
        : cmd !== undefined && cmd.length > 0
          ? { args: cmd }
          : {}),
      ...(config.text('WorkingDir') === '' ? {} : { workingDirectory: config.text('WorkingDir') }),
      env: environment(config),
      ...(config.text('User') === '' ? {} : { user: config.text('User') }),
      ...options,
      limits,
      readOnlyRoot: host.flag('ReadonlyRootfs'),
      capabilities: { add: capabilities(host, 'CapAdd'), drop: capabilities(host, 'CapDrop') },
      ...risks.spec,
      tty: config.flag('Tty'),
      stdin: config.flag('OpenStdin'),
      ...(config.text('StopSignal') === '' ? {} : { stopSignal: config.text('StopSignal') }),
      ...(host.integer('ShmSize') > 0 ? { sharedMemoryBytes: host.integer('ShmSize') } : {}),
      resourceLimits: host.objects('Ulimits').map((limit) => ({
        name: limit.text('Name'),
        soft: limit.integer('Soft'),
        hard: limit.integer('Hard'),
      })),
    },
    settings: {
      hostname,
      autoRemove: host.flag('AutoRemove'),
      restart: restartPolicy(host),
      attach: {
        stdin: config.flag('AttachStdin'),
        stdout: config.flag('AttachStdout'),
        stderr: config.flag('AttachStderr'),
      },
      stdinOnce: config.flag('StdinOnce'),
      ...(stopSeconds === undefined ? {} : { stopSeconds }),
      exposed: config.keys('ExposedPorts').map((port) => portText(config, 'ExposedPorts', port)),
      bindings: bindings(host),
      publishAll: host.flag('PublishAllPorts'),
      ...(entrypoint === undefined ? {} : { entrypoint }),
      ...(cmd === undefined ? {} : { cmd }),
      binds: host.strings('Binds') ?? [],
      volumes: [],
      dns: addresses(host, 'Dns'),
      dnsSearch: host.strings('DnsSearch') ?? [],
      dnsOptions: host.strings('DnsOptions') ?? [],
      extraHosts: host.strings('ExtraHosts') ?? [],
      networkMode: networks.mode,
      ...(host.has('Links') ? { links: host.strings('Links') ?? [] } : {}),
      tmpfs,
      securityOpt,
      log,
      ...(health === undefined ? {} : { health }),
      ...(volumesFrom.length === 0 ? {} : { volumesFrom }),
    },
  };
}

function refuseUnsupported(host: Fields): void {
  if ((host.strings('DeviceCgroupRules') ?? []).length > 0)
    throw host.refuse('DeviceCgroupRules', 'they are not supported; name the devices');
  if (host.objects('DeviceRequests').length > 0) throw host.refuse('DeviceRequests', 'devices are not given');
}

function environment(config: Fields): string[] {
  const entries = config.strings('Env') ?? [];
  for (const entry of entries)
    if (entry.startsWith('=')) throw config.refuse('Env', `${JSON.stringify(entry)} has no name`);
  // A name alone takes a variable away; what it would be here is what the image sets, so it is left as it is.
  return entries.filter((entry) => entry.includes('='));
}

function capabilities(host: Fields, field: string): string[] {
  return (host.words(field) ?? []).map((name) => name.toUpperCase().replace(/^CAP_/, ''));
}

export function restartPolicy(host: Fields): Settings['restart'] {
  const policy = host.object('RestartPolicy');
  const name = policy.text('Name') || 'no';
  const maximum = policy.integer('MaximumRetryCount');
  const known = RESTARTS.find((one) => one === name);
  if (known === undefined) throw policy.refuse('Name', `${JSON.stringify(name)} is none of ${RESTARTS.join(', ')}`);
  if (maximum < 0) throw policy.refuse('MaximumRetryCount', 'it is negative');
  if (maximum > 0 && known !== 'on-failure')
    throw policy.refuse('MaximumRetryCount', 'it goes with the restart policy on-failure only');
  if (known !== 'no' && host.flag('AutoRemove'))
    throw policy.refuse('Name', "can't set 'AutoRemove' container with a restart policy");
  return { name: known, maximum };
}

function addresses(host: Fields, field: string): string[] {
  const list = host.strings(field) ?? [];
  for (const address of list)
    if (isIP(address) === 0) throw host.refuse(field, `${JSON.stringify(address)} is no IP address`);
  return list;
}

function extraHosts(host: Fields): CreateRequest['hostAliases'] {
  return (host.strings('ExtraHosts') ?? []).map((entry) => {
    const colon = entry.search(/[:=]/);
    const name = entry.slice(0, Math.max(colon, 0));
    const ip = entry.slice(colon + 1).replace(/^\[(.*)\]$/, '$1');
    if (name === '' || isIP(ip) === 0)
      throw host.refuse('ExtraHosts', `${JSON.stringify(entry)} is not of the form name:address`);
    return { ip, names: [name] };
  });
}

function portText(fields: Fields, field: string, text: string): string {
  if (text.endsWith('/sctp'))
    throw fields.refuse(field, `${JSON.stringify(text)}: SCTP is not supported; use tcp or udp`);
  const match = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(text);
  const port = Number(match?.[1] ?? 0);
  if (port < 1 || port > 65_535) throw fields.refuse(field, `${JSON.stringify(text)} is no port such as 80/tcp`);
  return `${port}/${match?.[2] ?? 'tcp'}`;
}

function bindings(host: Fields): PortBinding[] {
  const map = host.object('PortBindings');
  return host.keys('PortBindings').flatMap((key) => {
    const [port = '', protocol] = portText(host, 'PortBindings', key).split('/');
    return map.objects(key).map((binding): PortBinding => {
      const hostIp = binding.text('HostIp');
      const hostPort = binding.text('HostPort') || '0';
      if (!/^\d{1,5}$/.test(hostPort) || Number(hostPort) > 65_535)
        throw binding.refuse('HostPort', `${JSON.stringify(hostPort)} is no port`);
      if (hostIp !== '' && (isIP(hostIp) === 0 || hostIp.includes('%')))
        throw binding.refuse('HostIp', `${JSON.stringify(hostIp)} is no address`);
      return {
        port: Number(port),
        protocol: protocol === 'udp' ? 'udp' : 'tcp',
        ...(hostIp === '' ? {} : { hostIp: formatAddress(parseAddress(hostIp)) }),
        hostPort: Number(hostPort),
      };
    });
  });
}
