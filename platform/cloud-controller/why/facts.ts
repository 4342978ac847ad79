/** Finds out what `diagnosis.ts` says: pods, their Kubernetes events, audit events, and lines of the log. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { events as eventResource } from '#cluster/kinds/resources.ts';
import type { Event, Pod } from '#cluster/kinds/types/core.ts';
import { appStatus } from '../../resources/instances.ts';
import type { AuditEvent } from '../../resources/event-types.ts';
import { annotations, type App, type Process } from '../../resources/types.ts';
import { replicaSetName } from '../../workloads/pod-template.ts';
import type { Context } from '../api.ts';
import { processesOf } from '../operations/app-create.ts';
import { instanceDetails, instancesOf, instanceState, isReady } from '../stats.ts';
import type { Change, Facts, Finding, FindingKind, InstanceFact } from './diagnosis.ts';

const TAIL = 5;
/** A crash and what Kubernetes says of it are told by different programs, a moment apart. */
const SAME_MILLISECONDS = 30_000;
/** How far back lines of one instance are looked for among those of all. */
const LOOKED_AT = 500;

export async function factsOf(context: Context, app: Stored<App>): Promise<Facts> {
  const processes = processesOf(context, app.metadata.name);
  const audit = context.records.auditEvents
    .ofApp(app.metadata.name)
    .toSorted((a, b) => latestFirst(a.spec.createdAt, b.spec.createdAt));
  const told = await eventsOf(context, app, processes);
  const findings = [...crashes(audit, told), ...troubles(told)].sort((a, b) => latestFirst(a.at, b.at));
  await addLines(context, app, findings);
  const failed = failedDeployment(context, app);
  return {
    name: app.spec.displayName,
    state: app.spec.state,
    memoryMb: processes.find(({ spec }) => spec.type === 'web')?.spec.memoryMb ?? context.defaults.memoryMb,
    ...(failed ? { deployment: failed } : {}),
    instances: app.spec.state === 'STARTED' ? processes.flatMap((process) => instanceFacts(context, process)) : [],
    findings,
    changes: audit.flatMap((event) => changeOf(event) ?? []),
  };
}

function latestFirst(a: string, b: string): number {
  return Date.parse(b) - Date.parse(a);
}

function instanceFacts(context: Context, process: Stored<Process>): InstanceFact[] {
  const pods = instancesOf(context, process);
  return Array.from({ length: process.spec.instances }, (_, index) => {
    const pod = pods.get(index);
    const common = { process: process.spec.type, index };
    if (!pod) return { ...common, state: 'DOWN', ready: false, restarts: 0, since: null, node: null, details: null };
    const status = appStatus(pod);
    return {
      ...common,
      state: instanceState(pod),
      ready: isReady(pod),
      restarts: status?.restartCount ?? 0,
      since: status?.state?.running?.startedAt ?? pod.metadata.creationTimestamp,
      node: pod.spec?.nodeName ?? null,
      details: instanceDetails(pod),
    };
  });
}

interface Told {
  event: Stored<Event>;
  at: string;
  process: string;
  index: number | null;
}

/** Of pods of the app, those that are gone too: a pod's name says whose it is. */
async function eventsOf(context: Context, app: Stored<App>, processes: Stored<Process>[]): Promise<Told[]> {
  const { items } = await context.client.list(eventResource, { namespace: app.metadata.namespace ?? '' });
  return items.flatMap((event) => {
    const { kind, name = '' } = event.involvedObject;
    const [, generation] = /-(\d{1,9})-[0-9a-f]{6}-[a-z0-9]+$/.exec(name) ?? [];
    if (kind !== 'Pod' || generation === undefined) return [];
    const process = processes.find((one) => name.startsWith(`${replicaSetName(app, one, Number(generation))}-`));
    if (!process) return [];
    const at = event.lastTimestamp ?? event.eventTime ?? event.firstTimestamp ?? event.metadata.creationTimestamp;
    return [
      { event, at, process: process.spec.type, index: indexOf(context.records.pods.get(name, app.metadata.namespace)) },
    ];
  });
}

function indexOf(pod: Pod | undefined): number | null {
  const text = pod?.metadata.annotations?.[annotations.instanceIndex];
  return text === undefined ? null : Number(text);
}

function crashes(audit: Stored<AuditEvent>[], told: Told[]): Finding[] {
  return audit
    .filter(({ spec }) => spec.type === 'audit.app.process.crash')
    .map(({ spec }) => {
      const { reason, exit_description: description, crash_timestamp: time, index, instance } = spec.data;
      const at = typeof time === 'string' ? time : spec.createdAt;
      const near = told.filter(
        (one) =>
          one.event.involvedObject.uid === instance &&
          Math.abs(Date.parse(one.at) - Date.parse(at)) < SAME_MILLISECONDS,
      );
      const killing = near.find(({ event }) => /failed (liveness|startup) probe/.test(event.message ?? ''));
      const common = { at, process: spec.actor.name, index: typeof index === 'number' ? index : null };
      if (killing) {
        const failing = near.find(({ event }) => event.reason === 'Unhealthy')?.event.message;
        const why = failing === undefined ? '' : ` (${failing.replace(/^\w+ probe failed: /, '').slice(0, 200)})`;
        return { ...common, kind: 'probe' as const, message: `its health check failed, and it was killed${why}` };
      }
      const said = String(description ?? 'it ended');
      return {
        ...common,
        kind: reason === 'OOM' ? 'oom' : 'crash',
        message: said.charAt(0).toLowerCase() + said.slice(1),
      };
    });
}

const TROUBLES: Record<string, FindingKind> = {
  Evicted: 'eviction',
  Preempted: 'eviction',
  FailedScheduling: 'unschedulable',
  FailedMount: 'node',
  PodRefused: 'node',
};

/** What is no end of a container. */
function troubles(told: Told[]): Finding[] {
  return told.flatMap(({ event, at, process, index }) => {
    const text = event.message ?? event.reason ?? '';
    const kind = /pull|image/i.test(text) && event.type === 'Warning' ? 'image' : TROUBLES[event.reason ?? ''];
    if (kind === undefined) return [];
    return [{ kind, at, process, index, message: text.replace(/\.$/, '').slice(0, 300) }];
  });
}

/** To the newest end of each instance, what it wrote before. */
async function addLines(context: Context, app: Stored<App>, findings: Finding[]): Promise<void> {
  const seen = new Set<string>();
  for (const finding of findings) {
    const who = `${finding.process}/${finding.index}`;
    if (!['crash', 'oom', 'probe'].includes(finding.kind) || seen.has(who)) continue;
    seen.add(who);
    const end = BigInt(Date.parse(finding.at) + 2_000) * 1_000_000n;
    const query = { sourceId: app.metadata.name, endTime: String(end), descending: true, limit: LOOKED_AT };
    const own = (await context.logs.read(query)).filter(
      ({ sourceType, instanceId }) => sourceType.startsWith('APP/PROC/') && instanceId === String(finding.index ?? 0),
    );
    finding.lines = own
      .slice(0, TAIL)
      .map(({ payload }) => payload.toString().slice(0, 300))
      .reverse();
  }
}

function failedDeployment(context: Context, app: Stored<App>): { at: string; error: string } | undefined {
  const [newest] = context.records.deployments
    .ofApp(app.metadata.name)
    .toSorted((a, b) => b.spec.generation - a.spec.generation);
  const { error, lastStatusChange } = newest?.status ?? {};
  // Another start came after it.
  if (!newest || error === undefined || newest.spec.generation < app.spec.generation) return undefined;
  return { at: lastStatusChange ?? newest.metadata.creationTimestamp, error };
}

const VERBS: Record<string, string> = {
  'audit.app.start': 'started it',
  'audit.app.stop': 'stopped it',
  'audit.app.restart': 'restarted it',
  'audit.app.deployment.create': 'deployed it',
  'audit.app.deployment.cancel': 'cancelled a deployment',
  'audit.app.process.scale': 'scaled it',
  'audit.app.process.update': 'changed a process',
  'audit.app.droplet.mapped': 'gave it another droplet',
  'audit.app.apply_manifest': 'applied a manifest',
  'audit.app.update': 'changed it',
};

function changeOf({ spec }: Stored<AuditEvent>): Change | undefined {
  const verb = VERBS[spec.type];
  return verb === undefined ? undefined : { at: spec.createdAt, message: `${spec.actor.name} ${verb}` };
}
