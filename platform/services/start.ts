/** Starts the controllers of services: a queue for each broker, woken by the informers and by a slow period. */
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { TurnsByKey } from '#lib/turns.ts';
import type { WorkQueue } from '#lib/work-queue.ts';
import type { Context } from '../cloud-controller/api.ts';
import type { Collection } from '../cloud-controller/records.ts';
import { secrets } from '../resources/kubernetes.ts';
import { routeHosts } from '../resources/route-hosts.ts';
import { systemNamespace } from '../resources/types.ts';
import { type ServiceBinding } from '../resources/service-types.ts';
import { createKeyQueue } from '../workloads/queue.ts';
import { bindingCourse } from './bindings.ts';
import { brokerCourse } from './brokers.ts';
import { chainOf, findChain, planGuid, type ServicesContext } from './context.ts';
import { instanceCourse } from './instances.ts';
import { advance, isUnderWay, type Operated } from './operations.ts';
import { deleteOrphan } from './orphans.ts';
import { parameterReaders } from './parameters.ts';
import { brokerSecret, parametersName, removeSecret, SECRET_LABEL } from './secrets.ts';
import type { BrokerNetwork, Services } from './services.ts';

const PERIOD_MILLISECONDS = 60_000;
/** Of one broker at once. */
const WORKERS = 8;
/** What is being written down has its Secrets first. */
const SECRET_MILLISECONDS = 3600_000;
/** The queue of what has no broker: user-provided, or its broker is gone. */
const NO_BROKER = '';

export function startServices(
  cloud: Pick<Context, 'client' | 'records' | 'reservations' | 'audit' | 'log' | 'now' | 'urls'>,
  network: BrokerNetwork,
): Services {
  const { records, log } = cloud;
  const stop = new AbortController();
  const isRoute = routeHosts({ routes: () => records.routes.all(), domain: (guid) => records.domains.get(guid) });
  const transport = { network, isRoute, apiUrl: cloud.urls.api };
  const context: ServicesContext = { ...cloud, transport, signal: stop.signal };
  const courses = {
    broker: brokerCourse(context),
    instance: instanceCourse(context),
    binding: bindingCourse(context),
  };
  const queues = new Map<string, WorkQueue>();
  /** What was queued before its broker was known may be in a second queue by then. */
  const turns = new TurnsByKey();

  const work = (broker: string, key: string): Promise<void> =>
    turns.take(key, async () => {
      const [kind = '', guid = ''] = key.split('/');
      const known = broker === NO_BROKER ? await findBroker(kind, guid) : broker;
      const after = known === broker ? await step(kind, guid) : 0;
      if (after !== undefined) queueOf(known).add(key, Math.max(1, after));
    });
  const step = (kind: string, guid: string): Promise<number | undefined> => {
    if (kind === 'orphan') return deleteOrphan(context, guid);
    if (kind === 'broker') return advance(context, courses.broker, guid);
    if (kind === 'instance') return advance(context, courses.instance, guid);
    return advance(context, courses.binding, guid);
  };
  const queueOf = (broker: string): WorkQueue => {
    let queue = queues.get(broker);
    if (!queue) {
      queue = createKeyQueue({ name: 'services', workers: WORKERS, log, work: (key) => work(broker, key) });
      queues.set(broker, queue);
    }
    return queue;
  };

  const brokerOf = (instance: string): string => {
    const found = records.serviceInstances.get(instance);
    return (found && chainOf(context, planGuid(found))?.broker.metadata.name) ?? NO_BROKER;
  };
  /** Asks the server, since a broker that is gone ends what was asked of it. */
  const findBroker = async (kind: string, guid: string): Promise<string> => {
    const instance = kind === 'binding' ? (records.serviceBindings.get(guid)?.spec.instance ?? '') : guid;
    const found = records.serviceInstances.get(instance);
    const plan = found === undefined ? '' : planGuid(found);
    return (plan === '' ? undefined : await findChain(context, plan))?.broker.metadata.name ?? NO_BROKER;
  };
  const look = {
    broker: ({ metadata }: Stored<ClientObject>) => metadata.name,
    instance: ({ metadata }: Stored<ClientObject>) => brokerOf(metadata.name),
    binding: (binding: Stored<ServiceBinding>) => brokerOf(binding.spec.instance),
  };
  const wake = <T extends Operated>(kind: string, object: Stored<T>, broker: string): void => {
    if (isUnderWay(object)) queueOf(broker).add(`${kind}/${object.metadata.name}`);
  };
  const watch = <T extends Operated>(
    kind: string,
    { informer }: Collection<T>,
    broker: (object: Stored<T>) => string,
    gone: (object: Stored<T>) => void = () => undefined,
  ): (() => void) =>
    informer.onChange((now, old) => {
      if (now) wake(kind, now, broker(now));
      if (now ?? old) gone((now ?? old) as Stored<T>);
    });
  const stops = [
    watch('broker', records.serviceBrokers, look.broker),
    watch('instance', records.serviceInstances, look.instance),
    // An instance that is to go waits for its bindings.
    watch('binding', records.serviceBindings, look.binding, ({ spec }) => {
      const instance = records.serviceInstances.get(spec.instance);
      if (instance) wake('instance', instance, look.instance(instance));
    }),
    records.serviceOrphans.informer.onChange((now, old) => {
      if (now && !old) queueOf(now.spec.broker).add(`orphan/${now.metadata.name}`);
    }),
  ];
  const wakeAll = (): void => {
    for (const broker of records.serviceBrokers.all()) wake('broker', broker, look.broker(broker));
    for (const instance of records.serviceInstances.all()) wake('instance', instance, look.instance(instance));
    for (const binding of records.serviceBindings.all()) wake('binding', binding, look.binding(binding));
    for (const broker of queues.keys()) if (broker !== NO_BROKER && !records.serviceBrokers.get(broker)) forget(broker);
  };
  const forget = (broker: string): void => {
    void queues.get(broker)?.close();
    queues.delete(broker);
  };
  wakeAll();
  for (const orphan of records.serviceOrphans.all()) queueOf(orphan.spec.broker).add(`orphan/${orphan.metadata.name}`);
  const period = setInterval(() => {
    wakeAll();
    sweepSecrets(context).catch((error: unknown) => log('warn', 'A sweep of Secrets failed', { error }));
  }, PERIOD_MILLISECONDS);
  period.unref();
  return {
    ...parameterReaders(context),
    close: async () => {
      clearInterval(period);
      for (const end of stops) end();
      stop.abort(new Error('The platform stops'));
      await Promise.all([...queues.values()].map((queue) => queue.close()));
    },
  };
}

/** Parameters and logins of requests that were never written down, or are done with. */
async function sweepSecrets(context: ServicesContext): Promise<void> {
  const { records, client } = context;
  const { items } = await client.list(secrets, { namespace: systemNamespace, labelSelector: SECRET_LABEL });
  if (items.length === 0) return;
  const brokers = records.serviceBrokers.all();
  const asked = [records.serviceInstances.all(), records.serviceBindings.all(), brokers]
    .flat()
    .filter((object) => isUnderWay(object))
    .map(({ spec }) => spec.request?.id ?? '');
  const needed = new Set([
    ...brokers.map(({ metadata }) => brokerSecret(metadata.name)),
    ...asked.flatMap((id) => [parametersName(id), brokerSecret(id)]),
  ]);
  for (const { metadata } of items) {
    const age = context.now() - Date.parse(metadata.creationTimestamp);
    if (needed.has(metadata.name) || age < SECRET_MILLISECONDS) continue;
    await removeSecret(client, metadata.name);
  }
}
