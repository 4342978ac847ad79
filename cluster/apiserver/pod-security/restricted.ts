/** The level `restricted`: current practice for hardening (Kubernetes "Pod Security Standards"); `baseline` holds too. */
import type { Volume } from '../../kinds/types/core.ts';
import {
  type Check,
  type Checked,
  containersOf,
  named,
  plural,
  quoted,
  setters,
  sortedSet,
  type Violation,
} from './check.ts';
import { profileDemanded } from './seccomp.ts';

const VOLUMES = new Set([
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
]);

export const RESTRICTED: readonly Check[] = [
  { id: 'allowPrivilegeEscalation', versions: linuxOnly(8, escalation) },
  { id: 'capabilities_restricted', replaces: 'capabilities_baseline', versions: linuxOnly(22, capabilities) },
  { id: 'restrictedVolumes', replaces: 'hostPathVolumes', versions: [{ since: 0, find: volumes }] },
  { id: 'runAsNonRoot', versions: [{ since: 0, find: nonRoot }] },
  { id: 'runAsUser', versions: [{ since: 23, find: user }] },
  { id: 'seccompProfile_restricted', replaces: 'seccompProfile_baseline', versions: linuxOnly(19, profileDemanded) },
];

/** From 1.25 on pods that say they are for Windows are not asked for what only Linux has. */
function linuxOnly(since: number, find: (pod: Checked) => Violation | undefined): Check['versions'] {
  return [
    { since, find },
    { since: 25, find: (pod) => (pod.spec.os?.name === 'windows' ? undefined : find(pod)) },
  ];
}

function escalation(pod: Checked): Violation | undefined {
  const bad = containersOf(pod).filter(({ securityContext }) => securityContext?.allowPrivilegeEscalation !== false);
  return bad.length === 0
    ? undefined
    : {
        reason: 'allowPrivilegeEscalation != false',
        detail: `${named(bad)} must set securityContext.allowPrivilegeEscalation=false`,
      };
}

function capabilities(pod: Checked): Violation | undefined {
  const containers = containersOf(pod);
  const keeping = containers.filter(
    ({ securityContext }) => securityContext?.capabilities?.drop?.includes('ALL') !== true,
  );
  const extra = (add: string[] | undefined) => (add ?? []).filter((name) => name !== 'NET_BIND_SERVICE');
  const adding = containers.filter(({ securityContext }) => extra(securityContext?.capabilities?.add).length > 0);
  const details: string[] = [];
  if (keeping.length > 0) details.push(`${named(keeping)} must set securityContext.capabilities.drop=["ALL"]`);
  if (adding.length > 0) {
    const names = sortedSet(adding.flatMap(({ securityContext }) => extra(securityContext?.capabilities?.add)));
    details.push(`${named(adding)} must not include ${quoted(names)} in securityContext.capabilities.add`);
  }
  return details.length === 0 ? undefined : { reason: 'unrestricted capabilities', detail: details.join('; ') };
}

function volumes({ spec }: Checked): Violation | undefined {
  const typeOf = (volume: Volume) => Object.keys(volume).find((key) => key !== 'name') ?? 'unknown';
  const bad = (spec.volumes ?? []).filter((volume) => !VOLUMES.has(typeOf(volume)));
  if (bad.length === 0) return undefined;
  const types = sortedSet(bad.map(typeOf));
  return {
    reason: 'restricted volume types',
    detail: `${plural(bad.length, 'volume')} ${quoted(bad.map(({ name }) => name))} ${plural(bad.length, 'uses', 'use')} restricted volume ${plural(types.length, 'type')} ${quoted(types)}`,
  };
}

function nonRoot(pod: Checked): Violation | undefined {
  const reason = 'runAsNonRoot != true';
  const ofPod = pod.spec.securityContext?.runAsNonRoot;
  const refusing = containersOf(pod).filter(({ securityContext }) => securityContext?.runAsNonRoot === false);
  const who = setters(ofPod === false, refusing);
  if (who !== '') return { reason, detail: `${who} must not set securityContext.runAsNonRoot=false` };
  if (ofPod === true) return undefined;
  const silent = containersOf(pod).filter(({ securityContext }) => securityContext?.runAsNonRoot === undefined);
  return silent.length === 0
    ? undefined
    : { reason, detail: `pod or ${named(silent)} must set securityContext.runAsNonRoot=true` };
}

function user(pod: Checked): Violation | undefined {
  const bad = containersOf(pod).filter(({ securityContext }) => securityContext?.runAsUser === 0);
  const who = setters(pod.spec.securityContext?.runAsUser === 0, bad);
  return who === '' ? undefined : { reason: 'runAsUser=0', detail: `${who} must not set runAsUser=0` };
}
