/** One look at one database: what is missing is made, what is wrong is mended, what came of it is said. */
import { FINALIZER, postgresDatabases } from '../resource.ts';
import { NAMESPACE } from '../postgres.ts';
import { StagingError } from '../../staging/staging.ts';
import { prepare, readState } from '../sql.ts';
import type { Session } from '../session.ts';
import { bindingsOf, type Database, planOf, type PostgresContext, type Watches } from './context.ts';
import { putObjects } from './put.ts';
import { release, syncRoles } from './roles.ts';
import { isUnderWay, tell, writeStatus } from './status.ts';
import { clearTheWay, goBack, isHopeless, isToGoBack } from './upgrade.ts';
import { whyWaiting } from './waiting.ts';

/** An operation that has not come to its end by then has failed, and says what it waits for. */
const PATIENCE = 15 * 60_000;
const LOOK_AGAIN = 10_000;

interface Outcome {
  /** Milliseconds after which to look again where nothing else may tell. */
  again?: number;
  /** The server can be worked with. */
  ready: boolean;
}

export async function reconcileDatabase(context: PostgresContext, name: string): Promise<Outcome> {
  const outcome = await look(context, name);
  const database = context.databases.get(name, NAMESPACE);
  if (database === undefined || !isToGoBack(database)) return outcome;
  await goBack(context, database);
  return await look(context, name);
}

async function look(context: PostgresContext, name: string): Promise<Outcome> {
  const database = context.databases.get(name, NAMESPACE);
  if (database === undefined) return { ready: false };
  const watches = await context.watches();
  if (database.metadata.deletionTimestamp !== undefined) {
    await remove(context, watches, database);
    return { ready: false };
  }
  const plan = planOf(context, database);
  const image = await imageOf(context, database);
  if (image === undefined) return { ready: false, again: LOOK_AGAIN * 6 };
  const template = await putObjects(context, watches, { database, plan, image });
  await clearTheWay(context, watches, { database: name, template });
  const why = await whyWaiting(context, watches, { database: name, plan, template });
  if (why !== undefined) {
    const hopeless = isHopeless(watches, { database, template });
    await wait(context, database, { why, hopeless });
    return { ready: false, again: LOOK_AGAIN };
  }
  const session = context.session(name);
  const state = await readState(session);
  if (state.connections !== plan.connections) await prepare(session, plan.connections);
  await syncRoles(context, watches, { database: name, session, roles: state.roles });
  await writeStatus(context, database, {
    state: state.full ? 'full' : 'ready',
    server: state.server,
    disk: await diskOf(session),
  });
  const { kind } = database.spec.operation;
  if (isUnderWay(database) && (kind === 'create' || kind === 'update')) {
    await tell(context, database, 'succeeded', `PostgreSQL ${state.server}, ${plan.description}`);
  }
  if (context.databases.get(name, NAMESPACE)?.status?.previous)
    await writeStatus(context, database, { previous: null });
  return { ready: true };
}

/** The image that it has, unless another is asked for. Undefined: it could not be made, and that was said. */
async function imageOf(context: PostgresContext, database: Database): Promise<string | undefined> {
  const { version, image: current } = database.status ?? {};
  const wanted = [database.spec.version, context.recipe.version];
  if (current !== undefined && version !== undefined && wanted.includes(version)) return current;
  try {
    if (isUnderWay(database)) await tell(context, database, 'in progress', 'its image is made from packages');
    if (current !== undefined && version !== undefined)
      await writeStatus(context, database, { previous: { version, image: current } });
    const image = await context.image();
    await writeStatus(context, database, { image, version: context.recipe.version });
    return image;
  } catch (error) {
    if (!(error instanceof StagingError) || context.signal.aborted) throw error;
    await tell(context, database, 'failed', `The image of PostgreSQL could not be made: ${error.message}`);
    return current;
  }
}

async function wait(
  context: PostgresContext,
  database: Database,
  { why, hopeless }: { why: string; hopeless: boolean },
): Promise<void> {
  await writeStatus(context, database, { state: 'starting' });
  if (!isUnderWay(database)) return;
  const late = context.now() - Date.parse(database.spec.operation.since) > PATIENCE;
  if (hopeless) await tell(context, database, 'failed', `The upgrade was taken back: ${why}`);
  else await tell(context, database, late ? 'failed' : 'in progress', late ? `It took too long: ${why}` : why);
}

async function diskOf(session: Session): Promise<{ sizeMb: number; freeMb: number }> {
  const words = (await session.run(['stat', '-f', '-c', '%S %b %a', '/data'])).split(' ').map(Number);
  const [size = 0, all = 0, free = 0] = words;
  const megabytes = (blocks: number): number => Math.floor((blocks * size) / 2 ** 20);
  return { sizeMb: megabytes(all), freeMb: megabytes(free) };
}

/** Its objects go with it; what is elsewhere goes first. */
async function remove(context: PostgresContext, watches: Watches, database: Database): Promise<void> {
  const { name, uid, finalizers = [] } = database.metadata;
  for (const binding of bindingsOf(watches, name)) await release(context, watches, binding);
  if (!finalizers.includes(FINALIZER)) return;
  await context.backups.keep(name, [], context.signal);
  const body = { metadata: { uid, finalizers: finalizers.filter((one) => one !== FINALIZER) } };
  await context.client.patch(postgresDatabases, name, { type: 'merge', body }, { namespace: NAMESPACE });
}
