/**
 * Usage events: a record of what was used when, for who bills it. Nobody who changes an app writes it: it is held against what
 * the objects say whenever they change and when the platform starts, and the difference is the next event. So nothing is
 * lost by a crash, and whoever starts, scales or deletes something, here or in a controller, is told of.
 *
 * One writer: changes are taken in the order in which they were seen, each against the last event of its subject. Names
 * of events are ordered (`OrderedGuids`), which is what `after_guid` counts on.
 */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ClientObject } from '#cluster/client/client.ts';
import { OrderedGuids } from '#lib/ordered-guids.ts';
import type { AppUsageEvent, ServiceUsageEvent } from '../../resources/event-types.ts';
import { type Process, type Space, systemNamespace } from '../../resources/types.ts';
import { type ServiceInstance } from '../../resources/service-types.ts';
import { chainOf, planGuid } from '../../services/context.ts';
import { isUnderWay } from '../../services/operations.ts';
import { type Collection, createdAt, type Records } from '../records.ts';
import { type AppUsage, closing, following, isOpen, ofBuild, ofProcess, ofTask, seeded } from './app-usage.ts';
import { closingService, followingService, isKept, ofService, type ServiceUsage } from './service-usage.ts';

const KEEP_MILLISECONDS = 31 * 24 * 3600 * 1000;
const BOUND = 10_000;
const AT_ONCE = 20;

type Log = (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;

export class Usage {
  readonly #records: Records;
  readonly #log: Log;
  readonly #apps: Ledger<AppUsageEvent, AppUsage>;
  readonly #services: Ledger<ServiceUsageEvent, ServiceUsage>;
  readonly #stops: (() => void)[] = [];
  #queue: Promise<void> = Promise.resolve();

  constructor(records: Records, log: Log) {
    this.#records = records;
    this.#log = log;
    this.#apps = new Ledger(records.appUsageEvents, { subjectOf: ({ subject }) => subject, lasts: isOpen });
    this.#services = new Ledger(records.serviceUsageEvents, {
      subjectOf: ({ instance }) => instance.guid,
      lasts: isKept,
    });
  }

  /** From now on; what changed while nobody looked is told of first. */
  start(): void {
    const { apps, processes, tasks, builds, serviceInstances } = this.#records;
    this.#watch(apps, (app) => {
      for (const process of processes.ofApp(app.metadata.name)) this.#processChanged(process);
    });
    const gone = (guid: string) => this.#appsGone(guid);
    this.#watch(processes, (process) => this.#processChanged(process), gone);
    this.#watch(tasks, (task) => this.#runChanged(task, ofTask), gone);
    this.#watch(builds, (build) => this.#runChanged(build, ofBuild), gone);
    const serviceGone = (guid: string) => this.#serviceGone(guid);
    this.#watch(serviceInstances, (instance) => this.#serviceChanged(instance), serviceGone);
    this.#lookAtAll();
  }

  /** Forgets everything, and begins with what is started now. */
  purgeApps(): Promise<void> {
    return this.#later(async () => {
      await this.#apps.purge();
      for (const process of this.#records.processes.all()) {
        const now = this.#ofProcess(process);
        if (now && isOpen(now)) await this.#apps.write(seeded(now));
      }
    });
  }

  purgeServices(): Promise<void> {
    return this.#later(async () => {
      await this.#services.purge();
      for (const instance of this.#records.serviceInstances.all()) {
        const space = this.#records.spaceOf(instance);
        if (space && isMade(instance)) await this.#services.write(this.#ofService(instance, space));
      }
    });
  }

  /** Removes what is too old or too many, but not what is still used, and mends what could not be written; run now and then. */
  sweep(now: number): Promise<void> {
    this.#lookAtAll();
    return this.#later(async () => {
      await this.#apps.sweep(now);
      await this.#services.sweep(now);
    });
  }

  /** Resolves when everything that was seen is written. */
  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop();
    await this.#queue;
  }

  #lookAtAll(): void {
    const { processes, tasks, builds, serviceInstances } = this.#records;
    for (const process of processes.all()) this.#processChanged(process);
    for (const task of tasks.all()) this.#runChanged(task, ofTask);
    for (const build of builds.all()) this.#runChanged(build, ofBuild);
    for (const instance of serviceInstances.all()) this.#serviceChanged(instance);
    for (const subject of this.#apps.subjects()) {
      if (!processes.get(subject) && !tasks.get(subject) && !builds.get(subject)) this.#appsGone(subject);
    }
    for (const subject of this.#services.subjects()) if (!serviceInstances.get(subject)) this.#serviceGone(subject);
  }

  #watch<T extends ClientObject>(
    collection: Collection<T>,
    seen: (object: Stored<T>) => void,
    gone: (guid: string) => void = () => undefined,
  ): void {
    const stop = collection.informer.onChange((now, old) => {
      if (now) seen(now);
      else if (old) gone(old.metadata.name);
    });
    this.#stops.push(stop);
  }

  #appsGone(guid: string): void {
    this.#later(() => this.#apps.write(closing(this.#apps.last(guid))));
  }

  #serviceGone(guid: string): void {
    this.#later(() => this.#services.write(closingService(this.#services.last(guid))));
  }

  #serviceChanged(instance: Stored<ServiceInstance>): void {
    const space = this.#records.spaceOf(instance);
    // What a broker is still at, or could not make, is not used.
    if (!space || !isMade(instance)) return;
    const now = this.#ofService(instance, space);
    this.#later(() => this.#services.write(followingService(this.#services.last(instance.metadata.name), now)));
  }

  #ofService(instance: Stored<ServiceInstance>, space: Stored<Space>): ServiceUsage {
    return ofService(instance, space, chainOf({ records: this.#records }, planGuid(instance)));
  }

  #processChanged(process: Stored<Process>): void {
    const now = this.#ofProcess(process);
    const guid = process.metadata.name;
    this.#later(() => this.#apps.write(now ? following(this.#apps.last(guid), now) : closing(this.#apps.last(guid))));
  }

  /** Undefined where its app goes or is gone. */
  #ofProcess(process: Stored<Process>): AppUsage | undefined {
    const app = this.#records.apps.get(process.spec.app);
    const space = this.#records.spaceOf(process);
    if (!app || !space || app.metadata.deletionTimestamp !== undefined) return undefined;
    const droplet = this.#records.droplets.get(app.spec.currentDroplet ?? '');
    return ofProcess(process, { app, space }, droplet?.spec.buildpacks[0]?.name);
  }

  #runChanged<T extends ClientObject & { spec: { app: string } }>(
    run: Stored<T>,
    read: (run: Stored<T>, place: Parameters<typeof ofTask>[1]) => AppUsage,
  ): void {
    const app = this.#records.apps.get(run.spec.app);
    const space = this.#records.spaceOf(run);
    if (!app || !space) return;
    const now = read(run, { app, space });
    // One that has ended and of which nothing is told was told of long ago.
    this.#later(() => this.#apps.write(following(this.#apps.last(run.metadata.name), now)));
  }

  #later(work: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(work);
    this.#queue = done.catch((error: unknown) => this.#log('warn', 'A usage event could not be written', { error }));
    return done;
  }
}

function isMade(instance: ServiceInstance): boolean {
  const { request } = instance.spec;
  if (!request || request.type === 'update') return true;
  // One that is to go is no longer used, nor is one that was never there.
  return !isUnderWay(instance) && (request.type === 'delete' || instance.status?.operation?.state === 'succeeded');
}

/** The events of one kind, and the last one of each subject. */
class Ledger<T extends ClientObject & { spec: Spec }, Spec> {
  readonly #events: Collection<T>;
  readonly #subjectOf: (event: Spec) => string;
  readonly #lasts: (event: Spec) => boolean;
  readonly #last = new Map<string, Spec>();
  readonly #guids: OrderedGuids;

  constructor(
    events: Collection<T>,
    /** `lasts`: what the event tells of goes on. */
    options: { subjectOf: (event: Spec) => string; lasts: (event: Spec) => boolean },
  ) {
    this.#events = events;
    this.#subjectOf = options.subjectOf;
    this.#lasts = options.lasts;
    const all = this.#inOrder();
    for (const { spec } of all) this.#last.set(options.subjectOf(spec), spec);
    this.#guids = new OrderedGuids(all.at(-1)?.metadata.name);
  }

  last(subject: string): Spec | undefined {
    return this.#last.get(subject);
  }

  subjects(): string[] {
    return [...this.#last].filter(([, event]) => this.#lasts(event)).map(([subject]) => subject);
  }

  async write(spec: Spec | undefined): Promise<void> {
    if (spec === undefined) return;
    const metadata = { name: this.#guids.next(), namespace: systemNamespace };
    await this.#events.create({ metadata, spec } as T);
    this.#last.set(this.#subjectOf(spec), spec);
  }

  async purge(): Promise<void> {
    this.#last.clear();
    const all = this.#inOrder();
    while (all.length > 0) {
      await Promise.all(all.splice(0, AT_ONCE).map(({ metadata }) => this.#events.delete(metadata.name)));
    }
  }

  async sweep(now: number): Promise<void> {
    const seen = new Set<string>();
    for (const [position, event] of this.#inOrder().reverse().entries()) {
      const subject = this.#subjectOf(event.spec);
      const newest = !seen.has(subject);
      seen.add(subject);
      if (position < BOUND && now - Date.parse(createdAt(event)) < KEEP_MILLISECONDS) continue;
      if (newest && this.#lasts(event.spec)) continue;
      await this.#events.delete(event.metadata.name);
      if (newest) this.#last.delete(subject);
    }
  }

  #inOrder(): Stored<T>[] {
    return this.#events.all().sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }
}
