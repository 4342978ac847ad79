/**
 * Jobs of requests to brokers. Nothing is kept of them: their guid says what was asked of which object, `<kind>.<type>~<guid>~<id>`,
 * and the object says what came of it, also to the next process.
 */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { BrokerRequest } from '../resources/service-types.ts';
import { isUnderWay, type Operated } from '../services/operations.ts';
import type { Context, Reply } from './api.ts';
import { accepted } from './api.ts';
import { CloudFoundryError, type CloudFoundryErrorTitle } from './errors.ts';
import type { Job } from './jobs.ts';
import type { Changes } from './waiting.ts';

type Kind = 'service_brokers' | 'service_instances' | 'service_credential_bindings' | 'service_route_bindings';

/** As Cloud Foundry calls what is done to each. */
const OPERATIONS: Record<Kind, Record<BrokerRequest['type'], string>> = {
  service_brokers: {
    create: 'service_broker.catalog.synchronize',
    update: 'service_broker.update',
    delete: 'service_broker.delete',
  },
  service_instances: {
    create: 'service_instance.create',
    update: 'service_instance.update',
    delete: 'service_instance.delete',
  },
  service_credential_bindings: {
    create: 'service_bindings.create',
    update: 'service_bindings.update',
    delete: 'service_bindings.delete',
  },
  service_route_bindings: {
    create: 'service_route_bindings.create',
    update: 'service_route_bindings.update',
    delete: 'service_route_bindings.delete',
  },
};

const WORDS: Record<Kind, string> = {
  service_brokers: 'service broker',
  service_instances: 'service instance',
  service_credential_bindings: 'binding',
  service_route_bindings: 'route binding',
};

interface Requestable {
  get(guid: string): Stored<Operated> | undefined;
  informer: Changes;
}

function collectionOf({ records }: Pick<Context, 'records'>, kind: Kind): Requestable {
  const collections: Record<Kind, Requestable> = {
    service_brokers: records.serviceBrokers,
    service_instances: records.serviceInstances,
    service_credential_bindings: records.serviceBindings,
    service_route_bindings: records.serviceBindings,
  };
  return collections[kind];
}

/** The answer to who asked: the job to poll. */
export function requested(context: Context, kind: Kind, guid: string, request: BrokerRequest): Reply {
  return accepted(context, `${kind}.${request.type}~${guid}~${request.id}`);
}

const GUID = /^([a-z_]+)\.(create|update|delete)~([0-9a-f-]{36})~([0-9a-f-]{36})$/;

/** Whose changes settle it. */
export function changesOf(context: Context, guid: string): Changes {
  const kind = GUID.exec(guid)?.[1] ?? '';
  return Object.hasOwn(OPERATIONS, kind) ? collectionOf(context, kind as Kind).informer : context.jobs;
}

/** Undefined where the guid is none of these. */
export function requestJob(context: Context, guid: string): Job | undefined {
  const [, kind = '', type = '', target = '', id = ''] = GUID.exec(guid) ?? [];
  if (!Object.hasOwn(OPERATIONS, kind)) return undefined;
  const known = kind as Kind;
  const job = {
    guid,
    operation: OPERATIONS[known][type as BrokerRequest['type']],
    resource: { kind: known, guid: target },
    errors: [],
  };
  const object = collectionOf(context, known).get(target);
  const { request } = object?.spec ?? {};
  const now = new Date().toISOString();
  if (!object || !request) {
    const times = { createdAt: now, updatedAt: now };
    if (type === 'delete' && !object) return { ...job, ...times, state: 'COMPLETE' };
    return failed({ ...job, ...times }, 'ResourceNotFound', `The ${WORDS[known]} could not be found: ${target}`);
  }
  const { operation } = object.status ?? {};
  const times = { createdAt: request.at, updatedAt: operation?.updatedAt ?? request.at };
  if (request.id !== id) {
    // Another one came after it, which is only let in when this one has ended, or a creation is given up.
    const isGivenUp = type === 'create' && request.type === 'delete';
    if (type !== 'delete' && !isGivenUp) return { ...job, ...times, state: 'COMPLETE' };
    const why = isGivenUp ? 'delete in progress' : 'another operation was begun';
    return failed({ ...job, ...times }, 'UnableToPerform', `${type} could not be completed: ${why}`);
  }
  if (isUnderWay(object)) {
    const isPolling = operation?.request === id && operation.phase === 'accepted';
    return { ...job, ...times, state: isPolling ? 'POLLING' : 'PROCESSING' };
  }
  const { error, warnings = [] } = operation ?? {};
  if (!error) return { ...job, ...times, state: 'COMPLETE', warnings };
  return failed({ ...job, ...times }, error.title as CloudFoundryErrorTitle, error.detail);
}

function failed(job: Omit<Job, 'state'>, title: CloudFoundryErrorTitle, detail: string): Job {
  return { ...job, state: 'FAILED', errors: [new CloudFoundryError(title, detail).toJson()] };
}
