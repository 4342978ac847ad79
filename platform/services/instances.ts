/** Service instances of brokers: provisioned, updated, deprovisioned. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { nameGuid } from '#lib/name-guid.ts';
import type { BrokerRequest, ServiceBinding, ServiceInstance } from '../resources/service-types.ts';
import { readProvisioned } from './answers.ts';
import { releaseInstanceName } from './names.ts';
import {
  chainOf,
  clientOf,
  contextOf,
  instanceIds,
  maintenanceVersion,
  planGuid,
  publicAnnotations,
  requireChain,
  requirePlace,
  type ServicesContext,
} from './context.ts';
import type { Json } from './json.ts';
import { type Course, isUnderWay, type Step, stepOfProgress } from './operations.ts';
import { readParameters } from './secrets.ts';

type Instance = Stored<ServiceInstance>;
type Request = NonNullable<ServiceInstance['spec']['request']>;

export function instanceCourse(context: ServicesContext): Course<ServiceInstance> {
  const { records } = context;
  return {
    collection: records.serviceInstances,
    longestSeconds: (instance) =>
      chainOf(context, planGuid(instance))?.plan.spec.maximumPollingSeconds ?? Number.POSITIVE_INFINITY,
    ask: (instance, { type }) => {
      if (type === 'create') return provision(context, instance);
      return type === 'update' ? update(context, instance) : deprovision(context, instance);
    },
    poll: (instance, request, operation) => poll(context, instance, request, operation.brokerOperation),
    succeed: (instance) => applyChanges(context, instance),
    fail: async (instance, { type }) => {
      const { displayName } = instance.spec.request ?? {};
      if (type === 'update' && displayName !== undefined && displayName !== instance.spec.displayName) {
        await releaseInstanceName(context, instance, displayName);
      }
    },
    remove: async (instance) => {
      await records.serviceInstances.delete(instance.metadata.name);
      await releaseInstanceName(context, instance, instance.spec.displayName);
    },
    verb: ({ type }) => (type === 'delete' ? 'delete' : type),
    tell: (instance, request, what) => tell(context, instance, request, what),
    orphan: (instance) => {
      const chain = chainOf(context, planGuid(instance));
      if (!chain) return undefined;
      const ids = instanceIds(instance.metadata.name, chain);
      return { broker: chain.broker.metadata.name, ...ids, reason: '' };
    },
  };
}

async function provision(context: ServicesContext, instance: Instance): Promise<Step> {
  const request = requestOf(instance);
  const chain = requireChain(context, planGuid(instance));
  const place = requirePlace(context, instance);
  const client = await clientOf(context, chain.broker, request);
  const parameters = await readParameters(context.client, request);
  const version = maintenanceVersion(instance);
  const answer = await client.provision({
    ...instanceIds(instance.metadata.name, chain),
    organization: place.organization.metadata.name,
    space: place.space.metadata.name,
    context: {
      ...contextOf(place),
      instance_name: instance.spec.displayName,
      instance_annotations: publicAnnotations(instance.spec.userMetadata),
    },
    ...someOf(parameters),
    ...(version === undefined ? {} : { maintenanceInfo: { version } }),
  });
  return stepOf(answer, statusOf(readProvisioned(answer)));
}

async function update(context: ServicesContext, instance: Instance): Promise<Step> {
  const request = requestOf(instance);
  const chain = requireChain(context, planGuid(instance));
  const target = requireChain(context, request.plan ?? planGuid(instance));
  const place = requirePlace(context, instance);
  const client = await clientOf(context, chain.broker, request);
  const parameters = await readParameters(context.client, request);
  const before = maintenanceVersion(instance);
  const version = request.maintenanceVersion;
  const previous: Json = {
    ...instanceIds(instance.metadata.name, chain),
    organization_id: place.organization.metadata.name,
    space_id: place.space.metadata.name,
  };
  const answer = await client.update({
    ...instanceIds(instance.metadata.name, target),
    context: { ...contextOf(place), instance_name: request.displayName ?? instance.spec.displayName },
    previous: {
      plan_id: previous.planId,
      service_id: previous.serviceId,
      organization_id: previous.organization_id,
      space_id: previous.space_id,
      ...(before === undefined ? {} : { maintenance_info: { version: before } }),
    },
    ...(request.parameters ? { parameters } : {}),
    ...(version === undefined ? {} : { maintenanceInfo: { version } }),
  });
  const facts = statusOf(readProvisioned(answer));
  return stepOf(answer, answer.accepted ? facts : { ...facts, ...changesOf(instance, request) });
}

async function deprovision(context: ServicesContext, instance: Instance): Promise<Step> {
  const request = requestOf(instance);
  const blocked = await unbindAll(context, instance, request);
  if (blocked) return blocked;
  const chain = chainOf(context, planGuid(instance));
  if (!chain) return { state: 'gone' };
  const client = await clientOf(context, chain.broker, request);
  const answer = await client.deprovision(instanceIds(instance.metadata.name, chain));
  return answer.accepted ? stepOf(answer, {}) : { state: 'gone' };
}

/** Bindings and keys go first, each by a request of its own. Undefined: there are none left. */
async function unbindAll(context: ServicesContext, instance: Instance, request: Request): Promise<Step | undefined> {
  const { serviceBindings } = context.records;
  const bindings = serviceBindings.all().filter(({ spec }) => spec.instance === instance.metadata.name);
  const failures: string[] = [];
  for (const binding of bindings) {
    // The same one, however often this is looked at.
    const id = nameGuid(`${request.id}\n${binding.metadata.name}`);
    if (binding.spec.request?.id === id) {
      const { operation } = binding.status ?? {};
      if (!isUnderWay(binding)) failures.push(operation?.error?.detail ?? operation?.description ?? '');
    } else await requestUnbind(context, binding, { ...request, id });
  }
  if (failures.length > 0) return { state: 'failed', description: failures.join('; ') };
  return bindings.length > 0 ? { state: 'waiting' } : undefined;
}

async function requestUnbind(
  context: ServicesContext,
  binding: Stored<ServiceBinding>,
  { id, by, at }: BrokerRequest,
): Promise<void> {
  await context.records.serviceBindings.modify(binding.metadata.name, (current) => {
    const { operation } = current.status ?? {};
    // What a broker is being asked is waited for.
    if (isUnderWay(current) && !(current.spec.request?.type === 'create' && operation?.phase === 'accepted')) {
      return undefined;
    }
    return { ...current, spec: { ...current.spec, request: { id, type: 'delete', by, at } } };
  });
}

async function poll(
  context: ServicesContext,
  instance: Instance,
  request: BrokerRequest,
  operation: string | undefined,
): Promise<Step> {
  const chain = chainOf(context, planGuid(instance));
  if (!chain) return request.type === 'delete' ? { state: 'gone' } : { state: 'in progress' };
  const client = await clientOf(context, chain.broker, request);
  const ids = instanceIds(instance.metadata.name, chain);
  const progress = await client.progress(ids, operation);
  const step = stepOfProgress(progress, request);
  if (step) return step;
  const facts = chain.offering.spec.instancesRetrievable ? await fetched(client.fetchInstance(ids)) : {};
  const changes = request.type === 'update' ? changesOf(instance, requestOf(instance)) : {};
  const { description } = progress;
  return {
    state: 'succeeded',
    status: { ...facts, ...changes },
    ...(description === undefined ? {} : { description }),
  };
}

/** Nice to have: a broker that does not tell does not undo what it made. */
async function fetched(body: Promise<Json>): Promise<object> {
  try {
    return statusOf(readProvisioned({ body: await body, orphan: false }));
  } catch {
    return {};
  }
}

function stepOf(answer: { accepted: boolean; operation?: string }, status: object): Step {
  if (!answer.accepted) return { state: 'succeeded', status };
  const { operation } = answer;
  return { state: 'in progress', status, ...(operation === undefined ? {} : { operation }) };
}

function statusOf({ dashboardUrl, metadata }: { dashboardUrl?: string; metadata?: Json }): object {
  return {
    ...(dashboardUrl === undefined ? {} : { dashboardUrl }),
    ...(metadata === undefined ? {} : { brokerMetadata: metadata }),
  };
}

function changesOf(instance: Instance, request: Request): object {
  return {
    plan: request.plan ?? planGuid(instance),
    ...(request.maintenanceVersion === undefined ? {} : { maintenanceVersion: request.maintenanceVersion }),
  };
}

/** What the user named beside what the broker did. */
async function applyChanges(context: ServicesContext, instance: Instance): Promise<void> {
  const request = requestOf(instance);
  const { displayName, tags, userMetadata } = request;
  if (request.type !== 'update') return;
  // Before its object has the new name: who comes after a crash does it again.
  if (displayName !== undefined && displayName.toLowerCase() !== instance.spec.displayName.toLowerCase()) {
    await releaseInstanceName(context, instance, instance.spec.displayName);
  }
  await context.records.serviceInstances.modify(instance.metadata.name, (current) => ({
    ...current,
    spec: {
      ...current.spec,
      displayName: displayName ?? current.spec.displayName,
      tags: tags ?? current.spec.tags,
      ...(userMetadata ? { userMetadata } : {}),
    },
  }));
}

function someOf(parameters: Json): { parameters?: Json } {
  return Object.keys(parameters).length === 0 ? {} : { parameters };
}

function requestOf(instance: Instance): Request {
  const { request } = instance.spec;
  if (!request) throw new Error(`the service instance ${instance.metadata.name} has no request`);
  return request;
}

async function tell(
  context: ServicesContext,
  instance: Instance,
  request: BrokerRequest,
  what: 'start' | 'end',
): Promise<void> {
  const space = context.records.spaceOf(instance);
  await context.audit.record({
    type: `audit.service_instance.${what === 'start' ? 'start_' : ''}${request.type}`,
    actor: { ...request.by, type: 'user' },
    target: { guid: instance.metadata.name, type: 'service_instance', name: instance.spec.displayName },
    ...(space ? { space } : {}),
    data: { request: { ...(request.parameters ? { parameters: '[PRIVATE DATA HIDDEN]' } : {}) } },
    key: what === 'start' ? `${request.id}-start` : request.id,
  });
}
