/**
 * What opens the host to a pod, and whether this node was told to allow it. The risks are the engine's (`Risk`): the node gives what
 * its engine was opened with and nothing else, so that one flag decides for `docker` and `kubectl` alike.
 */
import type { Risk } from '#engine/engine.ts';
import type { Container, Pod, SecurityContext } from '../kinds/types/core.ts';
import { allDefinitions } from './records.ts';

/** From the least to the greatest: each includes those before it. */
const order: readonly Risk[] = ['unconfined', 'host-namespaces', 'privileged'];

/** Whether its root is the host's. */
export function needsHostIds(pod: Pod): boolean {
  const { hostNetwork, hostPID, hostIPC } = pod.spec ?? {};
  const isPrivileged = ({ securityContext }: Container): boolean => securityContext?.privileged === true;
  return hostNetwork === true || hostPID === true || hostIPC === true || allDefinitions(pod).some(isPrivileged);
}

/** The first thing that it may not have here, in words; undefined where there is none. */
export function riskRefusal(pod: Pod, allowed: readonly Risk[]): string | undefined {
  const may = (risk: Risk): boolean => allowed.some((one) => order.indexOf(one) >= order.indexOf(risk));
  const remedy = (risk: Risk): string =>
    `is not allowed on this node: remove it, or start the node with --allow-risk ${risk}`;
  for (const field of ['hostNetwork', 'hostPID', 'hostIPC'] as const) {
    if (pod.spec?.[field] && !may('host-namespaces')) return `spec.${field} ${remedy('host-namespaces')}`;
  }
  for (const container of allDefinitions(pod)) {
    for (const [risk, field] of risksOf(pod.spec?.securityContext, container.securityContext))
      if (!may(risk)) return `container "${container.name}": securityContext.${field} ${remedy(risk)}`;
  }
  return undefined;
}

type Seccomp = Pick<SecurityContext, 'seccompProfile'>;

function risksOf(pod: Seccomp | undefined, container: SecurityContext | undefined): [Risk, string][] {
  const found: [Risk, string][] = [];
  if (container?.privileged) found.push(['privileged', 'privileged']);
  const { procMount } = container ?? {};
  if (procMount && procMount !== 'Default') found.push(['unconfined', `procMount "${procMount}"`]);
  const profile = container?.seccompProfile ?? pod?.seccompProfile;
  if (profile?.type === 'Unconfined' && !container?.privileged)
    found.push(['unconfined', 'seccompProfile.type "Unconfined"']);
  return found;
}
