/**
 * Creates the default FlowSchemas and PriorityLevelConfigurations and puts them back when they are deleted; the suggested ones are kept as they
 * are here while their annotation `apf.kubernetes.io/autoupdate-spec` is `true`. Says in the status of each FlowSchema whether its
 * level is there.
 */
import { isDeepStrictEqual } from 'node:util';
import { coalesced } from '#lib/coalesced.ts';
import {
  mandatoryFlowSchemas,
  mandatoryPriorityLevels,
  suggestedFlowSchemas,
  suggestedPriorityLevels,
} from '../../kinds/flow-control-bootstrap.ts';
import type { ApiObject, KindDefinition } from '../../kinds/kind.ts';
import { flowSchemas, priorityLevelConfigurations } from '../../kinds/resources.ts';
import type { FlowSchema } from '../../kinds/types/flowcontrol.ts';
import { OWN_WRITE } from '../bootstrap.ts';
import { type CachedObject, kindPrefix, objectKey, objectOf } from '../cache.ts';
import type { Core } from '../core.ts';
import { createObject } from '../create.ts';
import { StatusError } from '../errors.ts';
import { changeObject } from '../update.ts';
import { danglingCondition } from './dangling.ts';

const AUTO_UPDATE = 'apf.kubernetes.io/autoupdate-spec';

export async function createFlowControlObjects(core: Core): Promise<void> {
  await ensureAll(core);
  await tellDangling(core);
  const follow = coalesced(async () => {
    await ensureAll(core);
    await tellDangling(core);
  });
  const change = (): void => {
    follow().catch((error: unknown) => {
      if (!core.closing)
        core.log('warn', 'what requests are ordered by could not be written', { error: String(error) });
    });
  };
  for (const kind of [flowSchemas, priorityLevelConfigurations])
    core.cache.resource(kindPrefix(kind)).listeners.add(change);
}

async function ensureAll(core: Core): Promise<void> {
  const [schemas, levels] = kindsOf(core);
  await Promise.all([
    ...[...mandatoryPriorityLevels].map(([name, spec]) => ensure(core, levels, name, spec, name !== 'exempt')),
    ...[...suggestedPriorityLevels].map(([name, spec]) => ensure(core, levels, name, spec, false)),
  ]);
  await Promise.all([
    ...[...mandatoryFlowSchemas].map(([name, spec]) => ensure(core, schemas, name, spec, true)),
    ...[...suggestedFlowSchemas].map(([name, spec]) => ensure(core, schemas, name, spec, false)),
  ]);
}

function kindsOf(core: Core): [KindDefinition, KindDefinition] {
  const kindOf = ({ group, version, resource }: { group: string; version: string; resource: string }) => {
    const kind = core.registry.find(group, version, resource);
    if (kind === undefined) throw new Error(`the kind of ${resource} is not served`);
    return kind;
  };
  return [kindOf(flowSchemas), kindOf(priorityLevelConfigurations)];
}

async function ensure(core: Core, kind: KindDefinition, name: string, spec: object, always: boolean): Promise<void> {
  const cached = core.cache.resource(kindPrefix(kind)).objects.get(objectKey(kind, '', name));
  if (cached === undefined) {
    const object: ApiObject = {
      apiVersion: `${kind.group}/${kind.version}`,
      kind: kind.kind,
      metadata: { name, annotations: { [AUTO_UPDATE]: 'true' } },
      spec: structuredClone(spec),
    };
    await but('AlreadyExists', createObject(core, kind, '', object, OWN_WRITE));
    return;
  }
  const current = objectOf(cached);
  if (isDeepStrictEqual(current['spec'], spec)) return;
  if (!always && current.metadata.annotations?.[AUTO_UPDATE] !== 'true') return;
  const change = (now: ApiObject) => ({ ...withoutRevision(now), spec: structuredClone(spec) });
  await but('NotFound', changeObject(core, kind, { namespace: '', name }, OWN_WRITE, { part: '', change }));
}

async function tellDangling(core: Core): Promise<void> {
  const [schemas] = kindsOf(core);
  await Promise.all(
    [...core.cache.resource(kindPrefix(schemas)).objects.values()].map((object) => tell(core, schemas, object)),
  );
}

async function tell(core: Core, kind: KindDefinition, object: CachedObject): Promise<void> {
  const schema = objectOf(object) as unknown as FlowSchema;
  const condition = danglingCondition(core, schema);
  const shown = schema.status?.conditions?.find(({ type }) => type === condition.type);
  if (shown !== undefined && shown.status === condition.status && shown.message === condition.message) return;
  const change = (current: ApiObject) => {
    const conditions = (current['status'] as FlowSchema['status'])?.conditions ?? [];
    const others = conditions.filter(({ type }) => type !== condition.type);
    return { ...withoutRevision(current), status: { conditions: [...others, condition] } };
  };
  const where = { namespace: '', name: object.name };
  await but('NotFound', changeObject(core, kind, where, OWN_WRITE, { part: 'status', change }));
}

function withoutRevision(object: ApiObject): ApiObject {
  const { resourceVersion, ...metadata } = object.metadata;
  void resourceVersion;
  return { ...object, metadata };
}

/** Somebody was faster. */
async function but(reason: string, work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof StatusError && error.reason === reason)) throw error;
  }
}
