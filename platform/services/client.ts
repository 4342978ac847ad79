/** The requests of the API, one function each: what is sent, and how the answer is read. */
import type { MaintenanceInfo } from '../resources/service-types.ts';
import {
  type Answer,
  type Question,
  readAnswer,
  readFetched,
  readProgress,
  type Progress,
  refusal,
} from './answers.ts';
import { CATALOG_BYTES, type CatalogService, readCatalog } from './catalog.ts';
import type { Json } from './json.ts';
import type { BrokerAccess } from './services.ts';
import { type BrokerCall, callBroker, type Transport } from './transport.ts';

/** What the broker calls service and plan; guids of instance and binding are ours. */
export interface InstanceIds {
  instance: string;
  serviceId: string;
  planId: string;
}

export interface BindingIds extends InstanceIds {
  binding: string;
}

export interface NewInstance extends InstanceIds {
  organization: string;
  space: string;
  context: Json;
  parameters?: Json;
  maintenanceInfo?: Pick<MaintenanceInfo, 'version'>;
}

export interface InstanceChange extends InstanceIds {
  context: Json;
  parameters?: Json;
  maintenanceInfo?: Pick<MaintenanceInfo, 'version'>;
  previous: Json;
}

export interface NewBinding extends BindingIds {
  app?: string;
  resource: Json;
  context: Json;
  parameters?: Json;
}

export class BrokerClient {
  readonly #transport: Transport;
  readonly #access: BrokerAccess;
  readonly #signal: AbortSignal;
  readonly #by: string | undefined;

  /** @param options.by  guid of the user who is behind it */
  constructor(options: { transport: Transport; access: BrokerAccess; signal: AbortSignal; by?: string }) {
    this.#transport = options.transport;
    this.#access = options.access;
    this.#signal = options.signal;
    this.#by = options.by;
  }

  async catalog(): Promise<CatalogService[]> {
    const response = await this.#call({ method: 'GET', path: '/v2/catalog', most: CATALOG_BYTES });
    if (response.status !== 200) throw refusal('catalog', response);
    return readCatalog(response.text);
  }

  provision(instance: NewInstance): Promise<Answer> {
    const body = {
      service_id: instance.serviceId,
      plan_id: instance.planId,
      organization_guid: instance.organization,
      space_guid: instance.space,
      context: instance.context,
      parameters: instance.parameters,
      maintenance_info: instance.maintenanceInfo,
    };
    return this.#ask('provision', { method: 'PUT', path: instancePath(instance), query: INCOMPLETE, body });
  }

  update(change: InstanceChange): Promise<Answer> {
    const body = {
      service_id: change.serviceId,
      plan_id: change.planId,
      previous_values: change.previous,
      context: change.context,
      parameters: change.parameters,
      maintenance_info: change.maintenanceInfo,
    };
    return this.#ask('update', { method: 'PATCH', path: instancePath(change), query: INCOMPLETE, body });
  }

  deprovision(instance: InstanceIds): Promise<Answer> {
    const query = { ...INCOMPLETE, ...idQuery(instance) };
    return this.#ask('deprovision', { method: 'DELETE', path: instancePath(instance), query });
  }

  bind(binding: NewBinding): Promise<Answer> {
    const body = {
      service_id: binding.serviceId,
      plan_id: binding.planId,
      app_guid: binding.app,
      bind_resource: binding.resource,
      context: binding.context,
      parameters: binding.parameters,
    };
    return this.#ask('bind', { method: 'PUT', path: bindingPath(binding), query: INCOMPLETE, body });
  }

  unbind(binding: BindingIds): Promise<Answer> {
    const query = { ...INCOMPLETE, ...idQuery(binding) };
    return this.#ask('unbind', { method: 'DELETE', path: bindingPath(binding), query });
  }

  /** How far it is with what it accepted. */
  async progress(of: InstanceIds & { binding?: string }, operation: string | undefined): Promise<Progress> {
    const path = of.binding === undefined ? instancePath(of) : bindingPath({ ...of, binding: of.binding });
    const query = { ...idQuery(of), operation };
    return readProgress(await this.#call({ method: 'GET', path: `${path}/last_operation`, query }));
  }

  async fetchInstance(instance: InstanceIds): Promise<Json> {
    return readFetched(await this.#call({ method: 'GET', path: instancePath(instance), query: idQuery(instance) }));
  }

  async fetchBinding(binding: BindingIds): Promise<Json> {
    return readFetched(await this.#call({ method: 'GET', path: bindingPath(binding), query: idQuery(binding) }));
  }

  async #ask(question: Question, call: BrokerCall): Promise<Answer> {
    return readAnswer(question, await this.#call(call));
  }

  #call(call: BrokerCall) {
    const by = this.#by === undefined ? {} : { by: this.#by };
    return callBroker(this.#transport, this.#access, { ...call, ...by }, this.#signal);
  }
}

const INCOMPLETE = { accepts_incomplete: 'true' };

function instancePath({ instance }: { instance: string }): string {
  return `/v2/service_instances/${encodeURIComponent(instance)}`;
}

function bindingPath({ instance, binding }: { instance: string; binding: string }): string {
  return `${instancePath({ instance })}/service_bindings/${encodeURIComponent(binding)}`;
}

function idQuery({ serviceId, planId }: InstanceIds): Record<string, string> {
  return { service_id: serviceId, plan_id: planId };
}
