/** Asks for service instances of brokers, and for changes of them. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Space } from '../../resources/types.ts';
import type { ServiceInstance, ServicePlan } from '../../resources/service-types.ts';
import type { Identity } from '../../uaa/uaa.ts';
import { maintenanceVersion, planGuid, requireChain } from '../../services/context.ts';
import { isUnderWay } from '../../services/operations.ts';
import { type ApiRequest, type Context, type Json, ok, type Reply } from '../api.ts';
import { unprocessable } from '../errors.ts';
import { requested } from '../request-jobs.ts';
import { isOpenTo, seesPlan } from '../service-access.ts';
import { instancePresenter } from '../service-fields.ts';
import { mergeMetadata, Reader } from '../validate.ts';
import { requireInstance, underQuota } from './quota.ts';
import { newRequest, putRequest } from './requests.ts';
import { readParameters, readTags } from './service-content.ts';
import {
  bindingsOfInstance,
  changeServiceInstance,
  createServiceInstance,
  isCreateFailed,
  refuseWhileUnderWay,
  takeNewName,
} from './service-instances.ts';

type Instance = Stored<ServiceInstance>;
const KIND = 'service_instances';

export interface WantedInstance {
  space: Stored<Space>;
  /** Guid. */
  plan: string;
  spec: ServiceInstance['spec'];
  parameters?: Json | undefined;
}

export async function createManaged(context: Context, identity: Identity, wanted: WantedInstance): Promise<Reply> {
  const { space, spec, parameters } = wanted;
  const plan = requirePlan(context, identity, { guid: wanted.plan, space });
  const { broker } = requireChain(context, plan.metadata.name);
  if (isUnderWay(broker)) {
    throw unprocessable(
      'The service instance cannot be created because there is an operation in progress for the service broker.',
    );
  }
  const version = plan.spec.maintenanceInfo?.version;
  const managed = { plan: plan.metadata.name, ...(version === undefined ? {} : { maintenanceVersion: version }) };
  return underQuota(space, async () => {
    requireInstance(context, space, { free: plan.spec.free, more: 1 });
    const request = await newRequest(context, identity, 'create', parameters);
    const instance = await createServiceInstance(context, identity, { space, spec: { ...spec, managed, request } });
    return requested(context, KIND, instance.metadata.name, request);
  });
}

function requirePlan(
  context: Context,
  identity: Identity,
  { guid, space }: { guid: string; space: Stored<Space> },
): Stored<ServicePlan> {
  const plan = context.records.servicePlans.get(guid);
  if (!plan || !seesPlan(context, identity, plan) || !plan.spec.available) {
    throw unprocessable(
      'Invalid service plan. Ensure that the service plan exists, is available, and you have access to it.',
    );
  }
  if (!isOpenTo(context, plan, space)) {
    throw unprocessable(
      'Invalid service plan. This could be due to a space-scoped broker which is offering the service plan ' +
        `'${plan.spec.displayName}' with guid '${guid}' in another space or that the plan is not enabled in this organization. ` +
        'Ensure that the service plan is visible in your current space ' +
        `'${space.spec.displayName}' with guid '${space.metadata.name}'.`,
    );
  }
  return plan;
}

interface Change {
  name: string | undefined;
  tags: string[] | undefined;
  parameters: Json | undefined;
  /** Guid of another plan, or of the one that it has. */
  plan: string | undefined;
  version: string | undefined;
  userMetadata: ServiceInstance['spec']['userMetadata'];
}

/** A broker takes part in changes of plan, parameters and version, and of the name where it wants to know. */
export async function updateManaged(context: Context, request: ApiRequest, instance: Instance): Promise<Reply> {
  const { guid, change } = { guid: instance.metadata.name, change: readChange(request.body, instance) };
  const isOnlyMetadata = Object.keys(request.body).every((key) => key === 'metadata');
  const isGoing = instance.spec.request?.type === 'delete';
  if (!isOnlyMetadata || isGoing) refuseUpdate(context, instance);
  const { offering, plan } = requireChain(context, planGuid(instance));
  const space = context.records.spaceOf(instance);
  if (change.plan !== undefined && space)
    requireTarget(context, request.identity, { instance, space, guid: change.plan });
  requireVersion(instance, plan, change);
  const renamed = change.name !== undefined && change.name !== instance.spec.displayName;
  if (renamed && (instance.spec.sharedWith ?? []).length > 0) {
    throw unprocessable('Service instances that have been shared cannot be renamed');
  }
  const isMoved = change.plan !== undefined && change.plan !== planGuid(instance);
  const isUpgraded = change.version !== undefined && change.version !== maintenanceVersion(instance);
  const isTold = renamed && offering.spec.allowContextUpdates;
  if (!isMoved && !isUpgraded && !isTold && change.parameters === undefined) {
    return ok(instancePresenter(context)(await changeServiceInstance(context, instance, ownChanges(change))));
  }
  requireActive(plan, { isTold, isUpgraded, parameters: change.parameters !== undefined });
  await takeNewName(context, instance, change.name);
  const { displayName, tags, userMetadata } = ownChanges(change);
  const version = isMoved
    ? context.records.servicePlans.get(change.plan ?? '')?.spec.maintenanceInfo?.version
    : change.version;
  const wish = {
    ...(await newRequest(context, request.identity, 'update', change.parameters)),
    ...(isMoved && change.plan !== undefined ? { plan: change.plan } : {}),
    ...(version === undefined ? {} : { maintenanceVersion: version }),
    ...(displayName === undefined ? {} : { displayName }),
    ...(tags === undefined ? {} : { tags }),
    ...(userMetadata ? { userMetadata } : {}),
  };
  await putRequest(context.records.serviceInstances, guid, wish, (current) =>
    refuseUpdate(context, current as Instance),
  );
  return requested(context, KIND, guid, wish);
}

function readChange(body: unknown, instance: Instance): Change {
  const reader = new Reader(body).only('name', 'tags', 'parameters', 'maintenance_info', 'relationships', 'metadata');
  const info = reader.object('maintenance_info')?.only('version', 'description');
  const metadata = reader.metadata();
  const change: Change = {
    name: reader.name(),
    tags: readTags(reader),
    parameters: readParameters(reader),
    plan: reader.relationship('service_plan'),
    version: info?.string('version'),
    userMetadata: metadata && mergeMetadata(instance.spec.userMetadata, metadata),
  };
  if (info && change.version === undefined) reader.fail('Maintenance info version must be present');
  reader.done();
  return change;
}

function ownChanges({ name, tags, userMetadata }: Change): Partial<ServiceInstance['spec']> {
  return {
    ...(name === undefined ? {} : { displayName: name }),
    ...(tags === undefined ? {} : { tags }),
    ...(userMetadata ? { userMetadata } : {}),
  };
}

function refuseUpdate(context: Context, instance: Instance): void {
  if (isCreateFailed(instance)) {
    throw unprocessable(`The service instance could not be found: ${instance.spec.displayName}`);
  }
  refuseWhileUnderWay(context, instance, { cancels: false });
}

function requireTarget(
  context: Context,
  identity: Identity,
  { instance, space, guid }: { instance: Instance; space: Stored<Space>; guid: string },
): void {
  const before = requireChain(context, planGuid(instance));
  if (guid === before.plan.metadata.name) return;
  if (!(before.plan.spec.planUpdateable ?? before.offering.spec.planUpdateable)) {
    throw unprocessable('The service does not support changing plans.');
  }
  const plan = requirePlan(context, identity, { guid, space });
  if (plan.spec.offering !== before.plan.spec.offering) {
    throw unprocessable('service plan relates to a different service offering');
  }
  if (!(plan.spec.bindable ?? before.offering.spec.bindable) && bindingsOfInstance(context, instance).length > 0) {
    throw unprocessable('The service plan is invalid: cannot switch to non-bindable plan when service bindings exist');
  }
  requireInstance(context, space, { free: plan.spec.free, more: 0 });
}

function requireVersion(instance: Instance, plan: Stored<ServicePlan>, change: Change): void {
  if (change.version === undefined) return;
  if (change.plan !== undefined && change.plan !== planGuid(instance)) {
    throw unprocessable('maintenance_info should not be changed when switching to different plan.');
  }
  const { maintenanceInfo } = plan.spec;
  if (!maintenanceInfo) {
    throw unprocessable('The service broker does not support upgrades for service instances created from this plan.');
  }
  if (change.version !== maintenanceInfo.version && change.version !== maintenanceVersion(instance)) {
    throw unprocessable(
      'maintenance_info.version requested is invalid. Please ensure the catalog is up to date and you are providing a version supported by this service plan.',
    );
  }
}

function requireActive(
  plan: Stored<ServicePlan>,
  { isTold, isUpgraded, parameters }: { isTold: boolean; isUpgraded: boolean; parameters: boolean },
): void {
  if (plan.spec.available) return;
  const what = parameters ? 'parameters' : isTold ? 'name' : isUpgraded ? 'maintenance_info' : undefined;
  if (what === undefined) return;
  throw unprocessable(`Cannot update ${what} of a service instance that belongs to inaccessible plan`);
}
