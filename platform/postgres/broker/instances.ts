/** Service instances: what is asked for is written into the database's object, and the controller does it. */
import { randomUUID } from 'node:crypto';
import { ApiError } from '#cluster/client/client.ts';
import { isUnderWay } from '../controller/status.ts';
import type { Database, PostgresContext } from '../controller/context.ts';
import { majorOf } from '../image/recipe.ts';
import { SERVICE_ID } from '../plans.ts';
import { BrokerError, NAMESPACE, type Plan } from '../postgres.ts';
import { databaseName, FINALIZER, type OperationKind, type PostgresDatabase, postgresDatabases } from '../resource.ts';
import { planById } from './catalog.ts';
import { DEFAULT_BACKUPS, readSettings, readWanted, shownParameters, type Wanted } from './parameters.ts';
import { asFields, digestOfRequest, type Fields, guid, requiredText, text } from './read.ts';

export interface Answer {
  status: number;
  body: object;
}

export interface InstanceRequest {
  instance: string;
  body: Fields;
  query: URLSearchParams;
}

export function requireAsync(query: URLSearchParams): void {
  if (query.get('accepts_incomplete') === 'true') return;
  const words = 'This takes a while: the platform must support asynchronous operations (accepts_incomplete=true).';
  throw new BrokerError(422, words, 'AsyncRequired');
}

export function find(context: PostgresContext, instance: string): Database | undefined {
  return context.databases.get(databaseName(instance), NAMESPACE);
}

export function isGoing({ metadata }: Database): boolean {
  return metadata.deletionTimestamp !== undefined;
}

function concurrency(): BrokerError {
  const words = 'Another operation on this database is under way: wait until it has ended.';
  return new BrokerError(422, words, 'ConcurrencyError');
}

function operation(kind: OperationKind, context: PostgresContext, backup?: string) {
  const since = new Date(context.now()).toISOString();
  return { id: `${kind}-${randomUUID()}`, kind, since, ...(backup === undefined ? {} : { backup }) };
}

async function reached(context: PostgresContext, stored: { metadata: { resourceVersion: string } }): Promise<void> {
  const waiting = AbortSignal.any([context.signal, AbortSignal.timeout(10_000)]);
  await context.databases.reached(stored.metadata.resourceVersion, waiting);
}

export async function provision(context: PostgresContext, { instance, body, query }: InstanceRequest): Promise<Answer> {
  const plan = planById(context.plans, requiredText(body, 'service_id'), requiredText(body, 'plan_id'));
  checkMaintenance(context, body);
  const settings = readSettings(body['parameters']);
  requireAsync(query);
  const about = asFields(body['context'], 'context');
  const space = guid(about, 'space_guid') ?? guid(body, 'space_guid');
  const request = digestOfRequest([plan.id, settings, space, text(body, 'organization_guid')]);
  const known = find(context, instance);
  if (known) return again(known, request);
  const displayName = text(about, 'instance_name');
  const object: PostgresDatabase = {
    metadata: { name: databaseName(instance), namespace: NAMESPACE, finalizers: [FINALIZER] },
    spec: {
      instance,
      plan: plan.name,
      request,
      ...(space === undefined ? {} : { space }),
      ...(displayName === undefined ? {} : { displayName: displayName.slice(0, 255) }),
      tls: settings.tls ?? 'required',
      backups: {
        everyHours: settings.everyHours ?? DEFAULT_BACKUPS.everyHours,
        keep: settings.keep ?? DEFAULT_BACKUPS.keep,
      },
      version: context.recipe.version,
      operation: operation('create', context),
    },
  };
  try {
    await reached(context, await context.client.create(postgresDatabases, object));
  } catch (error) {
    // Asked for twice at once.
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    return again(await context.client.get(postgresDatabases, object.metadata.name ?? '', NAMESPACE), request);
  }
  return { status: 202, body: { operation: object.spec.operation.id } };
}

/** The same request again. */
function again(known: Database, request: string): Answer {
  if (isGoing(known)) throw concurrency();
  if (known.spec.request !== request)
    throw new BrokerError(409, 'There is a database with this id, of another plan or with other parameters.');
  const { id, kind } = known.spec.operation;
  if (kind === 'create' && known.status?.operation?.state === 'failed')
    throw new BrokerError(409, 'The database of this id could not be made: delete it first.');
  return kind === 'create' && isUnderWay(known) ? { status: 202, body: { operation: id } } : { status: 200, body: {} };
}

function checkMaintenance(context: PostgresContext, body: Fields): string | undefined {
  const version = text(asFields(body['maintenance_info'], 'maintenance_info'), 'version');
  if (version === undefined || version === context.recipe.version) return version;
  const words = `maintenance_info.version ${JSON.stringify(version.slice(0, 60))} is not the catalogue's ${context.recipe.version}`;
  throw new BrokerError(422, words, 'MaintenanceInfoConflict');
}

export async function update(context: PostgresContext, { instance, body, query }: InstanceRequest): Promise<Answer> {
  const database = find(context, instance);
  if (database === undefined || isGoing(database)) throw new BrokerError(404, 'There is no such database.');
  const current = context.plans.find(({ name }) => name === database.spec.plan);
  const wantedPlan = text(body, 'plan_id') ?? current?.id ?? '';
  const plan = planById(context.plans, requiredText(body, 'service_id'), wantedPlan);
  const version = checkMaintenance(context, body);
  const wanted = readWanted(body['parameters']);
  requireAsync(query);
  if (isUnderWay(database)) throw concurrency();
  checkGrowth(current, plan);
  checkVersion(database, version);
  const changed = changeOf(context, database, { plan, version, wanted });
  if (changed === undefined) return { status: 200, body: {} };
  try {
    await reached(context, await context.client.update(postgresDatabases, { ...database, spec: changed }));
  } catch (error) {
    if (error instanceof ApiError && error.code === 409) throw concurrency();
    throw error;
  }
  return { status: 202, body: { operation: changed.operation.id } };
}

/** Undefined where nothing is asked for that is not so already. */
function changeOf(
  context: PostgresContext,
  database: Database,
  { plan, version, wanted }: { plan: Plan; version: string | undefined; wanted: Wanted },
): PostgresDatabase['spec'] | undefined {
  const { spec } = database;
  const settled: PostgresDatabase['spec'] = {
    ...spec,
    plan: plan.name,
    version: version ?? spec.version,
    tls: wanted.tls ?? spec.tls,
    backups: {
      everyHours: wanted.everyHours ?? spec.backups.everyHours,
      keep: wanted.keep ?? spec.backups.keep,
    },
  };
  const other = JSON.stringify(settled) !== JSON.stringify(spec);
  const { restore, backup } = wanted;
  if (other && (restore !== undefined || backup === true)) {
    throw new BrokerError(
      400,
      'A backup or a restore is an operation of its own: change plan and settings before or after it.',
    );
  }
  if (restore !== undefined)
    return { ...spec, operation: operation('restore', context, backupNamed(database, restore)) };
  if (backup === true) {
    const id = new Date(context.now())
      .toISOString()
      .replaceAll(/[-:]|\.\d+/g, '')
      .toLowerCase();
    return { ...spec, operation: operation('backup', context, id) };
  }
  return other ? { ...settled, operation: operation('update', context) } : undefined;
}

function backupNamed({ status }: Database, name: string): string {
  const backups = status?.backups ?? [];
  const found = name === 'latest' ? backups.at(-1) : backups.find(({ id }) => id === name);
  if (found) return found.id;
  const ids = backups.map(({ id }) => id).join(', ') || 'none';
  throw new BrokerError(400, `There is no backup ${JSON.stringify(name.slice(0, 60))}; there are: ${ids}`);
}

function checkGrowth(current: Plan | undefined, plan: Plan): void {
  if (current === undefined || plan.diskMb >= current.diskMb) return;
  throw new BrokerError(
    400,
    `A volume does not shrink: ${plan.name} has ${plan.diskMb} MB, the database has ${current.diskMb} MB. Make a new one of the smaller plan.`,
  );
}

/** Files of one major version are nothing to another. */
function checkVersion({ spec }: Database, version: string | undefined): void {
  if (version === undefined || majorOf(version) === majorOf(spec.version)) return;
  const words = `PostgreSQL ${majorOf(spec.version)} is not upgraded to ${majorOf(version)} in place: make a new database, and move the content with pg_dump.`;
  throw new BrokerError(422, words);
}

export async function deprovision(context: PostgresContext, { instance, query }: InstanceRequest): Promise<Answer> {
  const database = find(context, instance);
  if (database === undefined) return { status: 410, body: {} };
  requireAsync(query);
  if (!isGoing(database)) {
    const { name, uid } = database.metadata;
    try {
      // In the foreground: it is gone when its volume is.
      await context.client.delete(postgresDatabases, name, {
        namespace: NAMESPACE,
        propagationPolicy: 'Foreground',
        preconditions: { uid },
      });
    } catch (error) {
      if (!(error instanceof ApiError) || (error.code !== 404 && error.code !== 409)) throw error;
    }
  }
  return { status: 202, body: { operation: deletionOf(database) } };
}

/** As an operation: of this one, and of no other by the same id. */
function deletionOf({ metadata }: Database): string {
  return `delete-${metadata.uid}`;
}

export function fetchInstance(context: PostgresContext, { instance }: InstanceRequest): Answer {
  const database = find(context, instance);
  if (database === undefined || isGoing(database)) throw new BrokerError(404, 'There is no such database.');
  const { spec } = database;
  if (isUnderWay(database)) {
    if (spec.operation.kind === 'create') throw new BrokerError(404, 'The database is not there yet.');
    throw concurrency();
  }
  const plan_id = context.plans.find(({ name }) => name === spec.plan)?.id ?? '';
  return {
    status: 200,
    body: {
      service_id: SERVICE_ID,
      plan_id,
      parameters: shownParameters(database),
      maintenance_info: { version: spec.version },
    },
  };
}

export function lastOperation(context: PostgresContext, { instance, query }: InstanceRequest): Answer {
  const database = find(context, instance);
  if (database === undefined) return { status: 410, body: {} };
  const asked = query.get('operation');
  // The own copy of it may not have seen its deletion yet.
  if (isGoing(database) || asked === deletionOf(database))
    return { status: 200, body: { state: 'in progress', description: 'it is removed' } };
  // It was deleted, and another was made by the same id.
  if (asked?.startsWith('delete')) return { status: 410, body: {} };
  const { operation: known } = database.status ?? {};
  if (known === undefined || known.id !== database.spec.operation.id)
    return { status: 200, body: { state: 'in progress', description: 'it is about to begin' } };
  return { status: 200, body: { state: known.state, description: known.description } };
}
