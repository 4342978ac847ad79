/** Bindings of apps and routes, and keys: what a broker gives to apps and keys is a Secret beside them. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { routeUrl } from '../cloud-controller/present/routes.ts';
import {
  bindingKind,
  type BrokerOperation,
  type BrokerRequest,
  type ServiceBinding,
  type ServiceInstance,
} from '../resources/service-types.ts';
import { type Bound, readBound } from './answers.ts';
import type { BindingIds, BrokerClient } from './client.ts';
import {
  chainOf,
  clientOf,
  contextOf,
  instanceIds,
  type PlanChain,
  planGuid,
  publicAnnotations,
  requireChain,
  requirePlace,
  type ServicesContext,
} from './context.ts';
import { writeCredentials } from './credentials.ts';
import type { Json } from './json.ts';
import { type Course, type Step, stepOfProgress } from './operations.ts';
import { readParameters } from './secrets.ts';
import { BrokerError } from './services.ts';

type Binding = Stored<ServiceBinding>;

export function bindingCourse(context: ServicesContext): Course<ServiceBinding> {
  const { records } = context;
  const chain = (binding: ServiceBinding): PlanChain | undefined => {
    const instance = records.serviceInstances.get(binding.spec.instance);
    return instance && chainOf(context, planGuid(instance));
  };
  return {
    collection: records.serviceBindings,
    longestSeconds: (binding) => chain(binding)?.plan.spec.maximumPollingSeconds ?? Number.POSITIVE_INFINITY,
    ask: (binding, request) =>
      request.type === 'create' ? bind(context, binding, request) : unbind(context, binding, request),
    poll: (binding, request, operation) => poll(context, binding, request, operation),
    remove: (binding) => records.serviceBindings.delete(binding.metadata.name),
    verb: ({ type }) => (type === 'create' ? 'bind' : 'unbind'),
    tell: (binding, request, what) => tell(context, binding, request, what),
    orphan: (binding) => {
      const found = chain(binding);
      if (!found) return undefined;
      return { broker: found.broker.metadata.name, ...idsOf(binding, found), reason: '' };
    },
  };
}

function idsOf(binding: Binding, chain: PlanChain): BindingIds {
  return { ...instanceIds(binding.spec.instance, chain), binding: binding.metadata.name };
}

function requireInstance({ records }: ServicesContext, binding: Binding): Stored<ServiceInstance> {
  const instance = records.serviceInstances.get(binding.spec.instance);
  if (instance) return instance;
  throw new BrokerError('The service instance is not there any more', { title: 'ResourceNotFound' });
}

async function bind(context: ServicesContext, binding: Binding, request: BrokerRequest): Promise<Step> {
  const instance = requireInstance(context, binding);
  const chain = requireChain(context, planGuid(instance));
  const client = await clientOf(context, chain.broker, request);
  const parameters = await readParameters(context.client, request);
  const { app } = binding.spec;
  const answer = await client.bind({
    ...idsOf(binding, chain),
    ...(app === undefined ? {} : { app }),
    resource: resourceOf(context, binding),
    context: contextOf(requirePlace(context, instance)),
    ...(Object.keys(parameters).length === 0 ? {} : { parameters }),
  });
  if (!answer.accepted) return keep(context, binding, readBound(answer, chain.offering.spec.requires));
  if (!chain.offering.spec.bindingsRetrievable) {
    const description = 'The broker responded asynchronously but does not support fetching binding data';
    return { state: 'failed', description, orphan: true };
  }
  const { operation } = answer;
  return { state: 'in progress', ...(operation === undefined ? {} : { operation }) };
}

function resourceOf({ records }: ServicesContext, { spec }: Binding): Json {
  if (spec.route !== undefined) {
    const route = records.routes.get(spec.route);
    return route ? { route: routeUrl(route) } : {};
  }
  const { app: guid } = spec;
  if (guid === undefined) return {};
  const app = records.apps.get(guid);
  return {
    app_guid: guid,
    space_guid: app && records.spaceOf(app)?.metadata.name,
    app_annotations: publicAnnotations(app?.spec.userMetadata),
  };
}

/** The Secret first: a binding that is said to be there is whole. Routes have no use for one. */
async function keep(context: ServicesContext, binding: Binding, bound: Bound): Promise<Step> {
  const { routeServiceUrl } = bound;
  if (bindingKind(binding) === 'route') {
    return { state: 'succeeded', status: routeServiceUrl === undefined ? {} : { routeServiceUrl } };
  }
  await writeCredentials(context, { kind: 'ServiceBinding', object: binding }, bound.credentials);
  const { syslogDrainUrl } = bound;
  return { state: 'succeeded', status: syslogDrainUrl === undefined ? {} : { syslogDrainUrl } };
}

async function unbind(context: ServicesContext, binding: Binding, request: BrokerRequest): Promise<Step> {
  const instance = context.records.serviceInstances.get(binding.spec.instance);
  const chain = instance && chainOf(context, planGuid(instance));
  if (!chain || !instance.spec.managed) return { state: 'gone' };
  const client = await clientOf(context, chain.broker, request);
  const answer = await client.unbind(idsOf(binding, chain));
  if (!answer.accepted) return { state: 'gone' };
  const { operation } = answer;
  return { state: 'in progress', ...(operation === undefined ? {} : { operation }) };
}

async function poll(
  context: ServicesContext,
  binding: Binding,
  request: BrokerRequest,
  { brokerOperation }: BrokerOperation,
): Promise<Step> {
  const instance = context.records.serviceInstances.get(binding.spec.instance);
  const chain = instance && chainOf(context, planGuid(instance));
  if (!chain) return request.type === 'delete' ? { state: 'gone' } : { state: 'in progress' };
  const client = await clientOf(context, chain.broker, request);
  const ids = idsOf(binding, chain);
  const step = stepOfProgress(await client.progress(ids, brokerOperation), request);
  return step ?? (await fetchBound(context, binding, { client, ids, chain }));
}

/** Nobody there just now: it is asked again. */
const PASSING = new Set(['HttpClientTimeout', 'ServiceBrokerApiUnreachable', 'ServiceBrokerApiTimeout']);

async function fetchBound(
  context: ServicesContext,
  binding: Binding,
  { client, ids, chain }: { client: BrokerClient; ids: BindingIds; chain: PlanChain },
): Promise<Step> {
  try {
    const body = await client.fetchBinding(ids);
    return await keep(context, binding, readBound({ body, orphan: true }, chain.offering.spec.requires));
  } catch (error) {
    if (!(error instanceof BrokerError) || PASSING.has(error.title)) throw error;
    return { state: 'failed', description: error.message, title: error.title, orphan: true };
  }
}

const EVENTS = { app: 'service_binding', key: 'service_key', route: 'service_route_binding' };

async function tell(
  context: ServicesContext,
  binding: Binding,
  request: BrokerRequest,
  what: 'start' | 'end',
): Promise<void> {
  const kind = EVENTS[bindingKind(binding)];
  const { app, route } = binding.spec;
  const space = context.records.spaceOf(binding);
  await context.audit.record({
    type: `audit.${kind}.${what === 'start' ? 'start_' : ''}${request.type}`,
    actor: { ...request.by, type: 'user' },
    target: { guid: binding.metadata.name, type: kind, name: binding.spec.displayName ?? '' },
    ...(space ? { space } : {}),
    data: {
      ...(app === undefined ? {} : { app_guid: app }),
      ...(route === undefined ? {} : { route_guid: route }),
      service_instance_guid: binding.spec.instance,
      request: { ...(request.parameters ? { parameters: '[PRIVATE DATA HIDDEN]' } : {}) },
    },
    key: what === 'start' ? `${request.id}-start` : request.id,
  });
}
