/** Whether the engine was opened with the risk that a spec asks for. What it was not opened with is refused, naming the option. */
import { realpathSync } from 'node:fs';
import { type ContainerSpec, EngineError, type Risk, type SandboxSpec } from '../engine.ts';
import type { EngineOptions } from '../options.ts';
import { resolveCapabilities } from './capabilities.ts';
import { weakerThan } from './seccomp-strength.ts';
import { seccompProfile } from './seccomp.ts';

export type AllowedRisks = Pick<EngineOptions, 'allowedRisks' | 'allowedDevices'>;

/** From the least to the greatest: each includes those before it. */
const order: readonly Risk[] = ['unconfined', 'host-namespaces', 'privileged'];

export function refuseSandboxRisks(spec: SandboxSpec, allowed: AllowedRisks): void {
  if (spec.network === 'host' && spec.userNamespace !== 'host')
    throw new EngineError('invalid', "network: the host's goes with userNamespace host only");
  if (spec.network === 'host') demand(allowed, 'host-namespaces', "network: the host's network");
  if (spec.userNamespace === 'host') demand(allowed, 'host-namespaces', "userNamespace: the host's user namespace");
}

type Risky = Pick<
  ContainerSpec,
  'privileged' | 'hostNamespaces' | 'systemPaths' | 'seccomp' | 'capabilities' | 'devices' | 'mounts'
>;

/** @param ownIds  whether its sandbox has a user namespace of its own */
export function refuseContainerRisks(spec: Risky, ownIds: boolean, allowed: AllowedRisks): void {
  if (spec.privileged === true) {
    demand(allowed, 'privileged', 'privileged: a container that is root on this host');
    if (ownIds)
      throw new EngineError('invalid', "privileged: its sandbox has a user namespace of its own; give it the host's");
  }
  for (const name of spec.hostNamespaces ?? []) {
    demand(allowed, 'host-namespaces', `hostNamespaces: the host's ${name} namespace`);
    if (ownIds && (name === 'pid' || name === 'ipc'))
      throw new EngineError('invalid', `hostNamespaces: ${name} needs a sandbox with the host's user namespace`);
  }
  if (spec.systemPaths === 'unconfined') demand(allowed, 'unconfined', 'systemPaths: unmasked /proc and /sys');
  refuseSeccomp(spec, allowed);
  if (spec.privileged !== true && spec.mounts?.some((one) => one.kind === 'bind' && one.propagation === 'rshared'))
    throw new EngineError('forbidden', 'mounts.propagation: rshared is for privileged containers');
  for (const { hostPath, trusted } of spec.devices ?? []) if (trusted !== true) refuseDevice(hostPath, allowed);
}

function refuseSeccomp(spec: Risky, allowed: AllowedRisks): void {
  if (spec.seccomp === undefined || isAllowed(allowed, 'unconfined')) return;
  if (spec.seccomp === 'unconfined') demand(allowed, 'unconfined', 'seccomp: no filter of system calls');
  else {
    const standard = seccompProfile(resolveCapabilities(spec.capabilities), process.arch);
    const gaps = weakerThan(spec.seccomp, standard);
    if (gaps.length === 0) return;
    const shown = gaps.length > 5 ? [...gaps.slice(0, 5), `${gaps.length - 5} more`] : gaps;
    demand(allowed, 'unconfined', `seccomp: a profile that allows more than the default one (${shown.join(', ')})`);
  }
}

/** The path without links must be one of those that are allowed, or lie below. */
function refuseDevice(hostPath: string, allowed: AllowedRisks): void {
  if (isAllowed(allowed, 'privileged')) return;
  const real = realOr(hostPath);
  const inside = (directory: string): boolean => real === directory || real.startsWith(`${directory}/`);
  if ((allowed.allowedDevices ?? []).some((path) => inside(realOr(path)))) return;
  throw new EngineError(
    'forbidden',
    `devices: ${hostPath} is refused: start the engine with --allow-device ${hostPath} to let containers have it`,
  );
}

function realOr(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // What is not there is told by whoever makes the node.
    return path;
  }
}

function isAllowed({ allowedRisks = [] }: AllowedRisks, risk: Risk): boolean {
  return allowedRisks.some((one) => order.indexOf(one) >= order.indexOf(risk));
}

function demand(allowed: AllowedRisks, risk: Risk, what: string): void {
  if (isAllowed(allowed, risk)) return;
  throw new EngineError('forbidden', `${what} is refused: start the engine with --allow-${risk} to take that risk`);
}
