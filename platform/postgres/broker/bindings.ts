/** Bindings and keys: a Secret each, which the controller makes a role of. Most are there before the platform has to ask again. */
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { secrets } from '#cluster/kinds/resources.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import { bindingSecret, clientOf, credentialsOf, READY, REQUEST } from '../bindings.ts';
import type { Database, PostgresContext } from '../controller/context.ts';
import { secretText } from '../../resources/secrets.ts';
import { BrokerError, NAMESPACE } from '../postgres.ts';
import { bindingName } from '../resource.ts';
import { planById } from './catalog.ts';
import { type Answer, find, type InstanceRequest, isGoing, requireAsync } from './instances.ts';
import { refuseOthers } from './parameters.ts';
import { asFields, digestOfRequest, type Fields, guid, requiredText } from './read.ts';

export interface BindingAsked extends InstanceRequest {
  binding: string;
}

/** A platform that can ask again is not kept for longer. */
const SOON = 5_000;
/** Those that cannot have a minute, as a rule. */
const PATIENCE = 40_000;

export async function bind(context: PostgresContext, asked: BindingAsked): Promise<Answer> {
  const { instance, binding, body, query } = asked;
  planById(context.plans, requiredText(body, 'service_id'), requiredText(body, 'plan_id'));
  refuseOthers(asFields(body['parameters'], 'parameters'), []);
  const database = find(context, instance);
  if (database === undefined || isGoing(database)) throw new BrokerError(404, 'There is no such database.');
  const client = clientOf(whoAsks(database, body));
  const digest = digestOfRequest([client ?? null]);
  const wanted = bindingSecret(database, { instance, binding, digest, client });
  const { secret, made } = await put(context, wanted, digest);
  const acceptsIncomplete = query.get('accepts_incomplete') === 'true';
  const ready = await settled(context, secret, acceptsIncomplete ? SOON : PATIENCE);
  if (ready !== undefined)
    return { status: made ? 201 : 200, body: { credentials: await shown(context, database, ready) } };
  if (acceptsIncomplete) return { status: 202, body: { operation: 'bind' } };
  // Nobody comes back for it.
  if (made) await remove(context, secret);
  requireAsync(query);
  throw new BrokerError(500, 'The database does not answer now: try again.');
}

function whoAsks(database: Database, body: Fields) {
  const about = asFields(body['context'], 'context');
  const resource = asFields(body['bind_resource'], 'bind_resource');
  return {
    app: guid(resource, 'app_guid') ?? guid(body, 'app_guid'),
    // Of the app, which may be another than the instance's.
    space: guid(resource, 'space_guid') ?? guid(about, 'space_guid') ?? database.spec.space,
    namespace: guid(about, 'namespace'),
  };
}

async function put(
  context: PostgresContext,
  wanted: Secret,
  digest: string,
): Promise<{ secret: Stored<Secret>; made: boolean }> {
  try {
    return { secret: await context.client.create(secrets, wanted), made: true };
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
  }
  const secret = await context.client.get(secrets, wanted.metadata.name ?? '', NAMESPACE);
  if (secret.metadata.deletionTimestamp !== undefined)
    throw new BrokerError(422, 'The binding of this id is being removed: wait until it is gone.', 'ConcurrencyError');
  if (secret.metadata.annotations?.[REQUEST] !== digest)
    throw new BrokerError(409, 'There is a binding with this id, for another app.');
  return { secret, made: false };
}

async function remove(context: PostgresContext, { metadata: { name, uid } }: Stored<Secret>): Promise<void> {
  try {
    await context.client.delete(secrets, name, { namespace: NAMESPACE, preconditions: { uid } });
  } catch (error) {
    if (!(error instanceof ApiError) || (error.code !== 404 && error.code !== 409)) throw error;
  }
}

/** Waits until its role is there. Undefined: not by then. */
async function settled(
  context: PostgresContext,
  secret: Stored<Secret>,
  milliseconds: number,
): Promise<Stored<Secret> | undefined> {
  return await until(context, milliseconds, secret, (now) =>
    now?.metadata.annotations?.[READY] === undefined ? undefined : now,
  );
}

/** The first answer to what the own copy has of a binding, from the moment on that it has seen it. */
async function until<T>(
  context: PostgresContext,
  milliseconds: number,
  { metadata: { name, resourceVersion } }: Stored<Secret>,
  look: (now: Stored<Secret> | undefined) => T | undefined,
): Promise<T | undefined> {
  const { bindings } = await context.watches();
  const { promise, resolve } = Promise.withResolvers<T | undefined>();
  const timer = setTimeout(() => resolve(undefined), milliseconds);
  const check = (): void => {
    const found = look(bindings.get(name, NAMESPACE));
    if (found !== undefined) resolve(found);
  };
  const stop = bindings.onChange(check);
  try {
    // Where the copy does not come to it in time, the answer is that of the time that is up.
    const waiting = AbortSignal.any([context.signal, AbortSignal.timeout(milliseconds)]);
    await bindings.reached(resourceVersion, waiting).catch(() => undefined);
    check();
    return await promise;
  } finally {
    clearTimeout(timer);
    stop();
  }
}

async function shown(context: PostgresContext, database: Database, secret: Stored<Secret>) {
  const { certificate: ca } = await context.authority();
  const [role, password] = [secretText(secret, 'role'), secretText(secret, 'password')];
  return credentialsOf({ database, role, password, ca, clusterDomain: context.clusterDomain });
}

async function stored(context: PostgresContext, asked: BindingAsked): Promise<Stored<Secret> | undefined> {
  return await orUndefined(context.client.get(secrets, bindingName(asked.instance, asked.binding), NAMESPACE));
}

export async function unbind(context: PostgresContext, asked: BindingAsked): Promise<Answer> {
  const secret = await stored(context, asked);
  if (secret === undefined) return { status: 410, body: {} };
  await remove(context, secret);
  const acceptsIncomplete = asked.query.get('accepts_incomplete') === 'true';
  const gone = await until(
    context,
    acceptsIncomplete ? SOON : PATIENCE,
    secret,
    (now) => now === undefined || undefined,
  );
  if (gone) return { status: 200, body: {} };
  requireAsync(asked.query);
  return { status: 202, body: { operation: 'unbind' } };
}

export async function fetchBinding(context: PostgresContext, asked: BindingAsked): Promise<Answer> {
  const database = find(context, asked.instance);
  const secret = await stored(context, asked);
  const ready = secret?.metadata.annotations?.[READY] !== undefined && secret.metadata.deletionTimestamp === undefined;
  if (database === undefined || secret === undefined || !ready) throw new BrokerError(404, 'There is no such binding.');
  return { status: 200, body: { credentials: await shown(context, database, secret) } };
}

export async function lastBindingOperation(context: PostgresContext, asked: BindingAsked): Promise<Answer> {
  const secret = await stored(context, asked);
  if (secret === undefined) return { status: 410, body: {} };
  const going = secret.metadata.deletionTimestamp !== undefined;
  const done = !going && secret.metadata.annotations?.[READY] !== undefined;
  const description = going ? 'its role is dropped' : 'its role is made when the database answers';
  return { status: 200, body: done ? { state: 'succeeded' } : { state: 'in progress', description } };
}
