/**
 * What of `POST /containers/create` would open the host to the container. It is only read here: the engine decides, by
 * the risks that it was opened with. Pure.
 *
 * Docker without user namespaces is what clients know, so what cannot be had in a user namespace of the container's own
 * (host processes, IPC, network, and `--privileged`) is given in the host's, where root inside is root outside.
 */
import type { ContainerSpec, HostNamespace, SandboxSpec } from '../engine.ts';
import { resolveCapabilities } from '../containers/capabilities.ts';
import type { Fields } from './body.ts';
import { DockerError } from './errors.ts';
import { type ProfileSurroundings, readSeccompProfile } from './seccomp-profile.ts';

export interface RiskRequest {
  spec: Pick<
    ContainerSpec,
    'privileged' | 'hostNamespaces' | 'devices' | 'seccomp' | 'systemPaths' | 'noNewPrivileges'
  >;
  sandbox: Pick<SandboxSpec, 'userNamespace' | 'network'>;
}

const namespaceFields: readonly [field: string, namespace: HostNamespace][] = [
  ['PidMode', 'pid'],
  ['IpcMode', 'ipc'],
  ['UTSMode', 'uts'],
  ['CgroupnsMode', 'cgroup'],
];

export function readRisks(config: Fields, host: Fields, where: Omit<ProfileSurroundings, 'capabilities'>): RiskRequest {
  const privileged = host.flag('Privileged');
  const hostNamespaces = namespaceFields.filter(([field]) => isHost(host, field)).map(([, namespace]) => namespace);
  const hostUsers = isHost(host, 'UsernsMode');
  const hostNetwork = host.text('NetworkMode') === 'host';
  if (hostNamespaces.includes('uts') && config.text('Hostname') !== '')
    throw new DockerError(400, 'conflicting options: hostname and the UTS mode');
  const needsHostIds =
    privileged || hostUsers || hostNetwork || hostNamespaces.includes('pid') || hostNamespaces.includes('ipc');
  const devices = host.objects('Devices').map((device) => ({
    hostPath: device.text('PathOnHost'),
    path: device.text('PathInContainer') || device.text('PathOnHost'),
    access: device.text('CgroupPermissions') || 'rwm',
  }));
  const capabilities = resolveCapabilities({
    add: (host.words('CapAdd') ?? []).filter((name) => name !== ''),
    drop: (host.words('CapDrop') ?? []).filter((name) => name !== ''),
  });
  return {
    spec: {
      ...securityOptions(host, { ...where, capabilities }),
      ...(privileged ? { privileged } : {}),
      ...(hostNamespaces.length > 0 ? { hostNamespaces } : {}),
      ...(devices.length > 0 ? { devices } : {}),
      ...(isUnmasked(host) ? { systemPaths: 'unconfined' as const } : {}),
    },
    sandbox: {
      ...(needsHostIds ? { userNamespace: 'host' as const } : {}),
      ...(hostNetwork ? { network: 'host' as const } : {}),
    },
  };
}

function isHost(host: Fields, field: string): boolean {
  const mode = host.text(field);
  if (['', 'private', 'shareable', 'default'].includes(mode)) return false;
  if (mode === 'host') return true;
  throw host.refuse(field, `${JSON.stringify(mode)} is not supported; it is private or host`);
}

/** The client turns `systempaths=unconfined` into two empty lists. */
function isUnmasked(host: Fields): boolean {
  const lists = ['MaskedPaths', 'ReadonlyPaths'].map((field) => host.strings(field));
  if (lists.some((list) => list !== undefined && list.length > 0))
    throw host.refuse('MaskedPaths', 'lists of paths are not supported: leave them out, or empty for none at all');
  return lists.some((list) => list !== undefined);
}

function securityOptions(
  host: Fields,
  where: ProfileSurroundings,
): Pick<ContainerSpec, 'noNewPrivileges' | 'seccomp' | 'systemPaths'> {
  const found: Pick<ContainerSpec, 'noNewPrivileges' | 'seccomp' | 'systemPaths'> = { noNewPrivileges: false };
  for (const option of host.strings('SecurityOpt') ?? []) {
    const [, name = option, value] = /^([a-z-]+)[=:](.*)$/s.exec(option) ?? [];
    if (name === 'no-new-privileges') found.noNewPrivileges = boolean(option, value ?? 'true');
    else if (value === undefined) throw new DockerError(400, `invalid --security-opt 1: ${JSON.stringify(option)}`);
    else if (name === 'seccomp') {
      if (value === 'unconfined') found.seccomp = 'unconfined';
      else if (value !== 'builtin') found.seccomp = readSeccompProfile(value, where);
    } else if (name === 'systempaths' && value === 'unconfined') found.systemPaths = 'unconfined';
    else if (name === 'apparmor' && !['', 'unconfined'].includes(value))
      throw host.refuse('SecurityOpt', `${JSON.stringify(option)}: there are no AppArmor profiles here`);
    else if (!['label', 'apparmor'].includes(name))
      throw new DockerError(400, `invalid --security-opt 2: ${JSON.stringify(option)}`);
  }
  return found;
}

function boolean(option: string, text: string): boolean {
  if (['1', 't', 'true'].includes(text.toLowerCase())) return true;
  if (['0', 'f', 'false'].includes(text.toLowerCase())) return false;
  throw new DockerError(400, `invalid --security-opt 2: ${JSON.stringify(option)}`);
}
