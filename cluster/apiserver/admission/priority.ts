/** A pod's priority is the number behind its PriorityClass (Kubernetes "Pod Priority and Preemption"). */
import { pods, priorityClasses } from '../../kinds/resources.ts';
import type { Pod } from '../../kinds/types/core.ts';
import type { PriorityClass } from '../../kinds/types/scheduling.ts';
import type { Core } from '../core.ts';
import { forbidden } from '../errors.ts';
import { all, find } from './lookup.ts';
import { type AdmissionPlugin, type AdmissionRequest, isKind } from './plugin.ts';

export function priority(core: Core): AdmissionPlugin {
  return {
    name: 'Priority',
    mutate(request) {
      if (request.operation === 'CREATE' && isKind(request, pods)) resolve(core, request);
    },
    validate(request) {
      if (request.operation === 'DELETE' || !isKind(request, priorityClasses)) return;
      const wanted = request.object as unknown as PriorityClass;
      const other = defaultClass(core);
      if (wanted.globalDefault === true && other !== undefined && other.metadata.name !== request.name)
        throw forbidden(
          request.kind,
          request.name,
          `PriorityClass ${other.metadata.name} is already marked as default. Only one default can exist`,
        );
    },
  };
}

function resolve(core: Core, request: AdmissionRequest): void {
  const { spec } = request.object as Pod;
  if (spec === undefined) return;
  const named = spec.priorityClassName ? find(core, priorityClasses, '', spec.priorityClassName) : defaultClass(core);
  if (spec.priorityClassName && named === undefined)
    throw forbidden(request.kind, request.name, `no PriorityClass with name ${spec.priorityClassName} was found`);
  const value = named?.value ?? 0;
  const policy = named?.preemptionPolicy ?? 'PreemptLowerPriority';
  const from = 'priority admission controller computed';
  if (spec.priority !== undefined && spec.priority !== value)
    throw forbidden(
      request.kind,
      request.name,
      `the integer value of priority (${spec.priority}) must not be provided in pod spec; ${from} ${value} from the given PriorityClass name`,
    );
  if (spec.preemptionPolicy !== undefined && spec.preemptionPolicy !== policy)
    throw forbidden(
      request.kind,
      request.name,
      `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in pod spec; ${from} ${policy} from the given PriorityClass name`,
    );
  if (named?.metadata.name !== undefined) spec.priorityClassName = named.metadata.name;
  spec.priority = value;
  spec.preemptionPolicy = policy;
}

/** The lowest, should two have slipped in at once. */
function defaultClass(core: Core): PriorityClass | undefined {
  return all(core, priorityClasses)
    .filter(({ globalDefault }) => globalDefault === true)
    .sort((a, b) => a.value - b.value)[0];
}
