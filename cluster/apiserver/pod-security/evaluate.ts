/** Levels and versions of the policy, from a namespace's labels, and what a pod violates of one. */
import { invalid } from '../../kinds/field-errors.ts';
import type { FieldError } from '../../kinds/field-error.ts';
import { BASELINE } from './baseline.ts';
import type { Check, Checked, Violation } from './check.ts';
import { RESTRICTED } from './restricted.ts';

export type Level = 'privileged' | 'baseline' | 'restricted';
export type Mode = 'enforce' | 'audit' | 'warn';

export interface LevelVersion {
  level: Level;
  /** `latest` or `v1.<minor>` */
  version: string;
}

export type Policy = Record<Mode, LevelVersion>;

const LEVELS: readonly Level[] = ['privileged', 'baseline', 'restricted'];
const MODES: readonly Mode[] = ['enforce', 'audit', 'warn'];
const PREFIX = 'pod-security.kubernetes.io/';
const LATEST = 'latest';

export const PRIVILEGED: Policy = {
  enforce: { level: 'privileged', version: LATEST },
  audit: { level: 'privileged', version: LATEST },
  warn: { level: 'privileged', version: LATEST },
};

/** Labels that cannot be read enforce the strictest, and neither warn nor note. */
export function policyOf(
  labels: Readonly<Record<string, string>> | undefined,
  defaults: Policy,
): { policy: Policy; errors: FieldError[] } {
  const policy = structuredClone(defaults);
  const errors: FieldError[] = [];
  for (const mode of MODES) {
    const [level, version] = [labels?.[PREFIX + mode], labels?.[`${PREFIX}${mode}-version`]];
    if (level !== undefined) {
      if ((LEVELS as readonly string[]).includes(level)) policy[mode].level = level as Level;
      else {
        policy[mode].level = mode === 'enforce' ? 'restricted' : 'privileged';
        errors.push(invalid(`metadata.labels[${PREFIX}${mode}]`, level, `must be one of ${LEVELS.join(', ')}`));
      }
    }
    if (version !== undefined) {
      const known = version === LATEST || /^v1\.\d{1,3}$/.test(version);
      policy[mode].version = known ? version : LATEST;
      if (!known)
        errors.push(invalid(`metadata.labels[${PREFIX}${mode}-version]`, version, 'must be "latest" or "v1.x"'));
    }
  }
  // Who makes a Deployment learns that its pods would be refused.
  const { enforce, warn } = policy;
  const stricter = LEVELS.indexOf(enforce.level) > LEVELS.indexOf(warn.level);
  if (labels?.[`${PREFIX}enforce`] !== undefined && labels[`${PREFIX}warn`] === undefined && stricter)
    policy.warn = { ...enforce };
  return { policy, errors };
}

export function compareLevels(one: Level, other: Level): number {
  return LEVELS.indexOf(one) - LEVELS.indexOf(other);
}

/** Those of `baseline` first, in the order of their names. */
export function violations(pod: Checked, { level, version }: LevelVersion): Violation[] {
  if (level === 'privileged') return [];
  const minor = version === LATEST ? Number.POSITIVE_INFINITY : Number(version.slice('v1.'.length));
  const restricted = level === 'restricted' ? RESTRICTED.filter((check) => inForce(check, minor) !== undefined) : [];
  const replaced = new Set(restricted.map(({ replaces }) => replaces));
  return [...BASELINE.filter(({ id }) => !replaced.has(id)), ...restricted].flatMap(
    (check) => inForce(check, minor)?.(pod) ?? [],
  );
}

function inForce({ versions }: Check, minor: number): ((pod: Checked) => Violation | undefined) | undefined {
  return versions.findLast(({ since }) => since <= minor)?.find;
}

export function describe(found: readonly Violation[]): string {
  return found.map(({ reason, detail }) => `${reason} (${detail})`).join(', ');
}
