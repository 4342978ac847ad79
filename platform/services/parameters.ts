/** Parameters of instances and bindings: the broker is asked while the client waits, as nothing is kept of them here. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { CloudFoundryError } from '../cloud-controller/errors.ts';
import type { ServiceInstance } from '../resources/service-types.ts';
import { instanceIds, clientOf, type PlanChain, planGuid, requireChain, type ServicesContext } from './context.ts';
import { isObject, type Json } from './json.ts';
import { isUnderWay } from './operations.ts';
import { BrokerError, type Services } from './services.ts';

export function parameterReaders(context: ServicesContext): Pick<Services, 'instanceParameters' | 'bindingParameters'> {
  return {
    instanceParameters: (instance, by) => {
      const chain = managedChain(context, instance);
      if (!chain?.offering.spec.instancesRetrievable) {
        throw new CloudFoundryError(
          'ServiceFetchInstanceParametersNotSupported',
          'This service does not support fetching service instance parameters.',
        );
      }
      return told(async () => {
        const client = await clientOf(context, chain.broker, { by: { guid: by, name: '' } });
        return client.fetchInstance(instanceIds(instance.metadata.name, chain));
      });
    },
    bindingParameters: (binding, by) => {
      const instance = context.records.serviceInstances.get(binding.spec.instance);
      const chain = instance && managedChain(context, instance);
      if (!chain?.offering.spec.bindingsRetrievable) {
        throw new CloudFoundryError(
          'ServiceFetchBindingParametersNotSupported',
          'This service does not support fetching service binding parameters.',
        );
      }
      return told(async () => {
        const client = await clientOf(context, chain.broker, { by: { guid: by, name: '' } });
        const ids = instanceIds(binding.spec.instance, chain);
        return client.fetchBinding({ ...ids, binding: binding.metadata.name });
      });
    },
  };
}

function managedChain(context: ServicesContext, instance: Stored<ServiceInstance>): PlanChain | undefined {
  if (!instance.spec.managed) return undefined;
  if (isUnderWay(instance)) {
    throw new CloudFoundryError(
      'AsyncServiceInstanceOperationInProgress',
      `An operation for service instance ${instance.spec.displayName} is in progress.`,
    );
  }
  return requireChain(context, planGuid(instance));
}

async function told(fetch: () => Promise<Json>): Promise<Json> {
  try {
    const { parameters } = await fetch();
    return isObject(parameters) ? parameters : {};
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    throw new CloudFoundryError(error.title, error.message, { cause: error });
  }
}
