/** What a container may do to the host, in the words of `docker inspect` and `docker info`. */
import type { Container, EngineInfo, HostNamespace, Sandbox } from '../engine.ts';

/** Fields of `HostConfig`. */
export function riskView({ spec }: Container, sandbox: Sandbox | undefined): Record<string, unknown> {
  const shares = (name: HostNamespace): boolean => spec.hostNamespaces?.includes(name) === true;
  const unmasked = spec.systemPaths === 'unconfined' || spec.privileged === true;
  return {
    Privileged: spec.privileged ?? false,
    PidMode: shares('pid') ? 'host' : '',
    IpcMode: shares('ipc') ? 'host' : 'private',
    UTSMode: shares('uts') ? 'host' : '',
    CgroupnsMode: shares('cgroup') ? 'host' : 'private',
    // Empty where ids are the container's own.
    UsernsMode: sandbox !== undefined && sandbox.userNamespacePath === undefined ? 'host' : '',
    Devices: (spec.devices ?? []).map(({ hostPath, path, access }) => ({
      PathOnHost: hostPath,
      PathInContainer: path,
      CgroupPermissions: access,
    })),
    ...(unmasked ? { MaskedPaths: null, ReadonlyPaths: null } : {}),
  };
}

/** One line for each risk that the engine was opened with; null where there is none. */
export function riskWarnings(info: EngineInfo): string[] | null {
  const meanings: Record<EngineInfo['allowedRisks'][number], string> = {
    unconfined: 'containers may leave the system-call filter and the masks of /proc and /sys (--allow-unconfined)',
    'host-namespaces': "containers may have this host's users, network and processes (--allow-host-namespaces)",
    privileged: 'containers may be root on this host (--allow-privileged)',
  };
  const lines = [
    ...info.allowedRisks.map((risk) => meanings[risk]),
    ...(info.allowedDevices.length === 0
      ? []
      : [`containers may have the devices ${info.allowedDevices.join(', ')} (--allow-device)`]),
    ...(info.allowedBinds.length === 0
      ? []
      : [`containers may mount what lies below ${info.allowedBinds.join(', ')} (--allow-bind)`]),
  ].map((line) => `WARNING: whoever may use this socket: ${line}`);
  return lines.length === 0 ? null : lines;
}
