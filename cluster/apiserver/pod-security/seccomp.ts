/** Seccomp profiles: what both levels forbid, and what `restricted` demands besides. */
import { type Checked, containersOf, named, quoted, setters, sortedSet, type Violation } from './check.ts';

const reason = 'seccompProfile';

/** As an annotation, before there was a field. */
export function allowedProfile(value: string): boolean {
  return value === 'runtime/default' || value === 'docker/default' || value.startsWith('localhost/');
}

function isForbidden(type: string | undefined): type is string {
  return type !== undefined && type !== 'RuntimeDefault' && type !== 'Localhost';
}

/** Who names another profile than the runtime's or one of the node's. */
export function profileSetters(pod: Checked): Violation | undefined {
  const ofPod = pod.spec.securityContext?.seccompProfile?.type;
  const bad = containersOf(pod).filter(({ securityContext }) => isForbidden(securityContext?.seccompProfile?.type));
  const who = setters(isForbidden(ofPod), bad);
  if (who === '') return undefined;
  const types = [ofPod, ...bad.map(({ securityContext }) => securityContext?.seccompProfile?.type)].filter(isForbidden);
  return { reason, detail: `${who} must not set securityContext.seccompProfile.type to ${quoted(sortedSet(types))}` };
}

export function profileDemanded(pod: Checked): Violation | undefined {
  const forbidden = profileSetters(pod);
  if (forbidden !== undefined || pod.spec.securityContext?.seccompProfile !== undefined) return forbidden;
  const without = containersOf(pod).filter(({ securityContext }) => securityContext?.seccompProfile === undefined);
  return without.length === 0
    ? undefined
    : {
        reason,
        detail: `pod or ${named(without)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"`,
      };
}
