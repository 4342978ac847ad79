/** Service brokers: global ones are the administrators', others a space's. */
import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Space } from '../../resources/types.ts';
import type { ServiceBroker } from '../../resources/service-types.ts';
import { isInUse, plansOf } from '../../services/catalog-sync.ts';
import { isUnderWay } from '../../services/operations.ts';
import { brokerSecret, type Login, writeLogin } from '../../services/secrets.ts';
import { type ApiRequest, type Context, type Endpoint, ok, type Reply } from '../api.ts';
import { CloudFoundryError, notAuthorized, notFound, unprocessable } from '../errors.ts';
import { listReply } from '../listing.ts';
import { newRequest, putRequest } from '../operations/requests.ts';
import { tell } from '../operations/tell.ts';
import { presentBroker } from '../present/service-catalog.ts';
import { requested } from '../request-jobs.ts';
import { requireWritesBroker, seesBroker } from '../service-access.ts';
import { mergeMetadata, Reader } from '../validate.ts';

const KIND = 'service_brokers';

export function serviceBrokerEndpoints(context: Context): Endpoint[] {
  const { records, urls } = context;
  const find = (request: ApiRequest): Stored<ServiceBroker> => {
    const broker = records.serviceBrokers.get(request.params.guid ?? '');
    if (!broker || !seesBroker(context, request.identity, broker)) throw notFound('Service broker');
    return broker;
  };
  const write = (request: ApiRequest): Stored<ServiceBroker> => {
    const broker = find(request);
    requireWritesBroker(context, request.identity, broker.metadata.name);
    return broker;
  };
  return [
    {
      method: 'GET',
      path: '/v3/service_brokers',
      auth: 'user',
      summary: 'List service brokers.',
      handle: (request) =>
        listReply(context, request, {
          items: records.serviceBrokers.all().filter((broker) => seesBroker(context, request.identity, broker)),
          present: (broker) => presentBroker(urls, broker),
          filters: {
            names: (item, values) => values.includes(item.spec.displayName),
            space_guids: (item, values) => values.includes(item.spec.space ?? ''),
          },
          orders: { name: ({ spec }) => spec.displayName },
          userLabels: ({ spec }) => spec.userMetadata?.labels ?? {},
        }),
    },
    {
      method: 'POST',
      path: '/v3/service_brokers',
      auth: 'user',
      summary: 'Register a service broker, and fetch its catalog.',
      handle: (request) => register(context, request),
    },
    {
      method: 'GET',
      path: '/v3/service_brokers/:guid',
      auth: 'user',
      summary: 'Get a service broker.',
      handle: (request) => ok(presentBroker(urls, find(request))),
    },
    {
      method: 'PATCH',
      path: '/v3/service_brokers/:guid',
      auth: 'user',
      summary: 'Change a service broker, and fetch its catalog again.',
      handle: (request) => update(context, request, write(request)),
    },
    {
      method: 'DELETE',
      path: '/v3/service_brokers/:guid',
      auth: 'user',
      summary: 'Delete a service broker of whose services there are no instances.',
      handle: async (request) => {
        const broker = write(request);
        if (plansOf(context, broker).some((plan) => isInUse(context, plan.metadata.name))) {
          throw new CloudFoundryError(
            'ServiceBrokerNotRemovable',
            `Can not remove brokers that have associated service instances: ${broker.spec.displayName}`,
          );
        }
        const wish = await newRequest(context, request.identity, 'delete');
        await putRequest(records.serviceBrokers, broker.metadata.name, wish, () => undefined);
        await told(context, request, broker, 'delete');
        return requested(context, KIND, broker.metadata.name, wish);
      },
    },
  ];
}

async function register(context: Context, request: ApiRequest): Promise<Reply> {
  const { records, reservations } = context;
  const reader = new Reader(request.body).only('name', 'url', 'authentication', 'relationships', 'metadata');
  const displayName = reader.name('name', { required: true }) ?? '';
  const url = readUrl(reader);
  const login = readLogin(reader);
  const spaceGuid = reader.relationship('space');
  if (url === undefined) reader.fail("Url can't be blank");
  if (!login) reader.fail("Authentication can't be blank");
  const metadata = reader.metadata();
  reader.done();
  const space = requirePlace(context, request, spaceGuid);
  const guid = randomUUID();
  const holder = { resource: 'servicebrokers', name: guid };
  if (!(await reservations.take('brokername', [displayName], holder))) throw unprocessable('Name must be unique');
  const wish = await newRequest(context, request.identity, 'create');
  if (login) await writeLogin(context.client, brokerSecret(guid), login);
  const broker = await records.serviceBrokers.create({
    metadata: { name: guid },
    spec: {
      displayName,
      url: url ?? '',
      ...(space ? { space: space.metadata.name } : {}),
      userMetadata: mergeMetadata(undefined, metadata),
      request: wish,
    },
  });
  await told(context, request, broker, 'create');
  return requested(context, KIND, guid, wish);
}

function requirePlace(context: Context, { identity }: ApiRequest, guid: string | undefined): Stored<Space> | undefined {
  if (guid === undefined) {
    if (!identity.admin) throw notAuthorized();
    return undefined;
  }
  if (!context.flags.isOn('space_scoped_private_broker_creation')) {
    throw new CloudFoundryError('FeatureDisabled', 'Feature Disabled: space_scoped_private_broker_creation');
  }
  const space = context.records.spaces.get(guid);
  if (!space || !context.access.readsSpace(identity, space)) {
    throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.');
  }
  if (!context.access.writesSpace(identity, space)) throw notAuthorized();
  return space;
}

async function update(context: Context, request: ApiRequest, broker: Stored<ServiceBroker>): Promise<Reply> {
  const { records } = context;
  const guid = broker.metadata.name;
  const reader = new Reader(request.body).only('name', 'url', 'authentication', 'metadata');
  const displayName = reader.name();
  const url = readUrl(reader);
  const login = readLogin(reader);
  const metadata = reader.metadata();
  reader.done();
  const userMetadata = mergeMetadata(broker.spec.userMetadata, metadata);
  if (displayName === undefined && url === undefined && !login) {
    const changed = await records.serviceBrokers.modify(guid, (current) => ({
      ...current,
      spec: { ...current.spec, userMetadata },
    }));
    return ok(presentBroker(context.urls, changed));
  }
  const refuse = (current: ServiceBroker) => {
    if (isUnderWay(current)) {
      throw unprocessable('Cannot update a broker when other operation is already in progress');
    }
  };
  refuse(broker);
  if (displayName !== undefined && displayName !== broker.spec.displayName) {
    const holder = { resource: 'servicebrokers', name: guid };
    if (!(await context.reservations.take('brokername', [displayName], holder))) {
      throw unprocessable('Name must be unique');
    }
  }
  const wish = await newRequest(context, request.identity, 'update');
  if (login) await writeLogin(context.client, brokerSecret(wish.id), login);
  await putRequest(
    records.serviceBrokers,
    guid,
    {
      ...wish,
      ...(displayName === undefined ? {} : { displayName }),
      ...(url === undefined ? {} : { url }),
      ...(login ? { login: true } : {}),
      ...(metadata ? { userMetadata } : {}),
    },
    refuse,
  );
  await told(context, request, broker, 'update');
  return requested(context, KIND, guid, wish);
}

function readUrl(reader: Reader): string | undefined {
  const value = reader.string('url');
  if (value === undefined) return undefined;
  const url = URL.parse(value);
  if (!url || !/^https?:$/.test(url.protocol)) reader.fail('Url must be a valid url');
  else if (url.username !== '' || url.password !== '') {
    reader.fail('Url must not contain authentication');
  } else if (url.search !== '' || url.hash !== '') reader.fail('Url must not contain a query or a fragment');
  return value;
}

function readLogin(reader: Reader): Login | undefined {
  const authentication = reader.object('authentication');
  if (!authentication) return undefined;
  if (authentication.string('type') !== 'basic') reader.fail("Authentication type must be one of 'basic'");
  const credentials = authentication.object('credentials');
  const username = credentials?.string('username') ?? '';
  const password = credentials?.string('password') ?? '';
  if (username === '' || username.includes(':')) {
    reader.fail('Authentication credentials username must be a string without a colon');
  }
  if (password === '') reader.fail('Authentication credentials password must be a string');
  return { username, password };
}

function told(context: Context, request: ApiRequest, broker: Stored<ServiceBroker>, verb: string): Promise<void> {
  const { authentication, ...rest } = request.body;
  const hidden = authentication === undefined ? rest : { ...rest, authentication: '[PRIVATE DATA HIDDEN]' };
  const space = context.records.spaces.get(broker.spec.space ?? '');
  return tell(context, request, {
    type: `audit.service_broker.${verb}`,
    kind: 'service_broker',
    object: broker,
    space,
    data: { request: hidden },
  });
}
