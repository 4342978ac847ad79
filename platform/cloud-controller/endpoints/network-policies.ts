/**
 * Which app may connect to which directly: the external API of Cloud Foundry's policy server, version 1. Who may write in the spaces
 * of both apps says so; what it means for packets is `platform/network`'s.
 */
import { createHash } from 'node:crypto';
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { type App, type AppConnection, labels } from '../../resources/types.ts';
import { type ApiRequest, type Context, type Endpoint, type Json, ok } from '../api.ts';
import { notAuthorized, unprocessable } from '../errors.ts';
import { record } from '../operations/app-lifecycle.ts';
import { ownedBy } from '../records.ts';
import { isObject } from '../validate.ts';

interface Wanted {
  source: Stored<App>;
  destination: Stored<App>;
  protocol: 'tcp' | 'udp';
  ports: { start: number; end: number };
}

const PATH = '/networking/v1/external/policies';
const MOST = 1_000;
/** Of one source, as Cloud Foundry has it for developers. */
const MOST_OF_APP = 150;

export function networkPolicyEndpoints(context: Context): Endpoint[] {
  const { records, access } = context;
  const list = (request: ApiRequest) => {
    const ids = request.query.get('id')?.split(',').filter(Boolean);
    const sources = request.query.get('source_id')?.split(',').filter(Boolean);
    const destinations = request.query.get('dest_id')?.split(',').filter(Boolean);
    const policies = access
      .visible(request.identity, records.appConnections.all())
      .filter(({ spec }) => {
        const { app, destination } = spec;
        const other = records.apps.get(destination);
        if (!other || !access.visible(request.identity, [other]).length) return false;
        if (ids && !ids.includes(app) && !ids.includes(destination)) return false;
        return (sources?.includes(app) ?? true) && (destinations?.includes(destination) ?? true);
      })
      .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
      .map(present);
    return ok({ total_policies: policies.length, policies });
  };
  return [
    {
      method: 'GET',
      path: PATH,
      auth: 'user',
      summary: 'List which apps may connect to which.',
      handle: list,
    },
    {
      method: 'POST',
      path: PATH,
      auth: 'user',
      summary: 'Let apps connect to apps.',
      handle: async (request) => {
        const wanted = readPolicies(context, request);
        for (const policy of wanted) {
          const { source } = policy;
          const others = records.appConnections.ofApp(source.metadata.name);
          const isNew = !others.some(({ metadata }) => metadata.name === nameOf(policy));
          if (isNew && others.length >= MOST_OF_APP) {
            throw unprocessable(`The app '${source.spec.displayName}' has ${MOST_OF_APP} policies already.`);
          }
          if (isNew) await create(context, policy);
          await tell(context, request, policy, 'add');
        }
        return ok({});
      },
    },
    {
      method: 'POST',
      path: `${PATH}/delete`,
      auth: 'user',
      summary: 'Let apps connect to apps no more.',
      handle: async (request) => {
        for (const policy of readPolicies(context, request)) {
          if (!records.appConnections.get(nameOf(policy))) continue;
          await records.appConnections.delete(nameOf(policy));
          await tell(context, request, policy, 'remove');
        }
        return ok({});
      },
    },
  ];
}

function present({ spec }: Stored<AppConnection>): Json {
  const { app, destination, protocol, ports } = spec;
  return { source: { id: app }, destination: { id: destination, protocol, ports } };
}

/** The same for the same policy: one that is there already is not made twice. */
function nameOf({ source, destination, protocol, ports }: Wanted): string {
  const key = [source.metadata.name, destination.metadata.name, protocol, ports.start, ports.end];
  return createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 40);
}

async function create(context: Context, policy: Wanted): Promise<void> {
  const { source, destination, protocol, ports } = policy;
  const app = source.metadata.name;
  try {
    await context.records.appConnections.create({
      metadata: {
        name: nameOf(policy),
        namespace: source.metadata.namespace ?? '',
        labels: { [labels.app]: app },
        ownerReferences: ownedBy(source),
      },
      spec: { app, destination: destination.metadata.name, protocol, ports },
    });
  } catch (error) {
    // Somebody said so at the same time.
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
  }
}

async function tell(context: Context, request: ApiRequest, policy: Wanted, verb: 'add' | 'remove'): Promise<void> {
  const { source, destination, protocol, ports } = policy;
  await record(context, request.identity, source, `audit.app.network-policy.${verb}`, {
    destination_guid: destination.metadata.name,
    protocol,
    ports,
  });
}

function readPolicies(context: Context, request: ApiRequest): Wanted[] {
  const { policies } = request.body;
  if (!Array.isArray(policies) || policies.length === 0) throw unprocessable('missing policies');
  if (policies.length > MOST) throw unprocessable(`At most ${MOST} policies can be sent at once`);
  return policies.map((policy: unknown) => readPolicy(context, request, policy));
}

function readPolicy(context: Context, request: ApiRequest, policy: unknown): Wanted {
  const from = isObject(policy) && isObject(policy['source']) ? policy['source'] : {};
  const to = isObject(policy) && isObject(policy['destination']) ? policy['destination'] : {};
  const { protocol } = to;
  if (protocol !== 'tcp' && protocol !== 'udp')
    throw unprocessable('invalid destination protocol, specify either udp or tcp');
  const { start, end } = isObject(to['ports']) ? to['ports'] : {};
  if (!isPort(start) || !isPort(end) || start > end) {
    throw unprocessable(
      `invalid port range ${JSON.stringify(start)}-${JSON.stringify(end)}: give ports from 1 to 65535`,
    );
  }
  const source = writableApp(context, request, from['id'], 'source');
  const destination = writableApp(context, request, to['id'], 'destination');
  return { source, destination, protocol, ports: { start, end } };
}

function isPort(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535;
}

function writableApp(context: Context, { identity }: ApiRequest, id: unknown, what: string): Stored<App> {
  const app = context.records.apps.get(String(id));
  const space = app && context.records.spaceOf(app);
  if (!app || !space || !context.access.readsSpace(identity, space)) {
    throw unprocessable(`The ${what} app ${JSON.stringify(String(id).slice(0, 80))} does not exist`);
  }
  if (!context.access.writesSpace(identity, space)) throw notAuthorized();
  return app;
}
