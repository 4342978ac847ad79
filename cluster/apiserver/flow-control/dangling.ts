/** Whether a FlowSchema's priority level is there, as its condition `Dangling` says. */
import { flowSchemas, priorityLevelConfigurations } from '../../kinds/resources.ts';
import type { FlowSchema, FlowSchemaCondition } from '../../kinds/types/flowcontrol.ts';
import { type AdmissionPlugin, isKind } from '../admission/plugin.ts';
import { kindPrefix } from '../cache.ts';
import type { Core } from '../core.ts';
import { timestamp } from '../timestamp.ts';

export function danglingCondition(core: Core, { spec }: FlowSchema): FlowSchemaCondition {
  const prefix = kindPrefix(priorityLevelConfigurations);
  const name = spec?.priorityLevelConfiguration?.name ?? '';
  const about = `This FlowSchema references the PriorityLevelConfiguration object named ${JSON.stringify(name)}`;
  const found = core.cache.resource(prefix).objects.has(prefix + name);
  return {
    type: 'Dangling',
    status: found ? 'False' : 'True',
    reason: found ? 'Found' : 'NotFound',
    message: found ? `${about} and it exists` : `${about} but there is no such object`,
    lastTransitionTime: timestamp(core.now()),
  };
}

/** A new one says so from the start, so that nobody who creates one is overtaken by a write of its status. */
export function newFlowSchema(core: Core): AdmissionPlugin {
  return {
    name: 'FlowSchemaStatus',
    mutate(request) {
      if (request.operation !== 'CREATE' || !isKind(request, flowSchemas)) return;
      const schema = request.object as unknown as FlowSchema;
      schema.status = { conditions: [danglingCondition(core, schema)] };
    },
  };
}
