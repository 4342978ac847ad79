/** The part of a container's spec that its and its pod's `securityContext` decide, but for users (`security.ts`). */
import type { ContainerSpec, HostNamespace } from '#engine/engine.ts';
import type { Container, Pod } from '../kinds/types/core.ts';
import { readProfile } from './seccomp-profile.ts';

type SecurityPart = Pick<
  ContainerSpec,
  | 'capabilities'
  | 'hostNamespaces'
  | 'noNewPrivileges'
  | 'privileged'
  | 'readOnlyRoot'
  | 'seccomp'
  | 'sysctls'
  | 'systemPaths'
>;

export async function securityOf(pod: Pod, container: Container, profiles: string | undefined): Promise<SecurityPart> {
  const own = container.securityContext;
  const sysctls = pod.spec?.securityContext?.sysctls ?? [];
  const seccomp = await seccompOf(pod, container, profiles);
  const hostNamespaces: HostNamespace[] = [
    ...(pod.spec?.hostPID ? (['pid'] as const) : []),
    ...(pod.spec?.hostIPC ? (['ipc'] as const) : []),
  ];
  return {
    noNewPrivileges: own?.allowPrivilegeEscalation !== true && own?.privileged !== true,
    ...(own?.readOnlyRootFilesystem && { readOnlyRoot: true }),
    ...(own?.capabilities && {
      capabilities: { add: own.capabilities.add ?? [], drop: own.capabilities.drop ?? [] },
    }),
    ...(own?.privileged && { privileged: true }),
    ...(own?.procMount === 'Unmasked' && { systemPaths: 'unconfined' }),
    ...(hostNamespaces.length > 0 && { hostNamespaces }),
    ...(sysctls.length > 0 && { sysctls: Object.fromEntries(sysctls.map(({ name, value }) => [name, value])) }),
    ...(seccomp !== undefined && { seccomp }),
  };
}

/** Undefined: the engine's default, which is what `RuntimeDefault` means; also where nothing is said. */
async function seccompOf(
  pod: Pod,
  container: Container,
  profiles: string | undefined,
): Promise<ContainerSpec['seccomp']> {
  const profile = container.securityContext?.seccompProfile ?? pod.spec?.securityContext?.seccompProfile;
  if (profile?.type === 'Unconfined') return 'unconfined';
  if (profile?.type !== 'Localhost') return undefined;
  return await readProfile(profiles, profile.localhostProfile ?? '');
}
