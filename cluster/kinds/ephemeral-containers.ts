/** Containers that are added to a running pod (`kubectl debug`): they are only ever added. */
import { isDeepStrictEqual } from 'node:util';
import type { FieldError } from './field-error.ts';
import { duplicate, forbidden, invalid, required } from './field-errors.ts';
import { dnsLabelProblem } from './names.ts';
import type { Pod } from './types/core.ts';

const AT = 'spec.ephemeralContainers';
/** Nothing of a container that is there for a while only. */
const REFUSED = [
  'ports',
  'lifecycle',
  'livenessProbe',
  'readinessProbe',
  'startupProbe',
  'restartPolicy',
  'resizePolicy',
] as const;

export function validateEphemeralContainers(now: Pod, old: Pod): FieldError[] {
  const errors: FieldError[] = [];
  const { containers = [], initContainers = [], ephemeralContainers = [] } = now.spec ?? {};
  const others = new Set([...containers, ...initContainers].map(({ name }) => name));
  const names = new Set(others);
  for (const [index, container] of ephemeralContainers.entries()) {
    const at = `${AT}[${index}]`;
    const problem = container.name ? dnsLabelProblem(container.name) : undefined;
    if (!container.name) errors.push(required(`${at}.name`));
    else if (problem !== undefined) errors.push(invalid(`${at}.name`, container.name, problem));
    else if (names.has(container.name)) errors.push(duplicate(`${at}.name`, container.name));
    names.add(container.name);
    if (!container.image) errors.push(required(`${at}.image`));
    const target = container.targetContainerName;
    if (target && !others.has(target))
      errors.push({
        reason: 'FieldValueInvalid',
        field: `${at}.targetContainerName`,
        message: `Not found: ${JSON.stringify(target)}`,
      });
    for (const field of REFUSED)
      if (container[field] !== undefined)
        errors.push(forbidden(`${at}.${field}`, 'cannot be set for an Ephemeral Container'));
    if (Object.keys(container.resources ?? {}).length > 0)
      errors.push(forbidden(`${at}.resources`, 'cannot be set for an Ephemeral Container'));
  }
  for (const before of old.spec?.ephemeralContainers ?? []) {
    const same = ephemeralContainers.find(({ name }) => name === before.name);
    if (same === undefined)
      errors.push(forbidden(AT, `existing ephemeral containers ${JSON.stringify(before.name)} may not be removed\n`));
    else if (!isDeepStrictEqual(same, before))
      errors.push(forbidden(AT, `existing ephemeral containers ${JSON.stringify(before.name)} may not be changed\n`));
  }
  return errors;
}
