import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { isActive } from '../../resources/deployments.ts';
import type { HealthCheck, Process } from '../../resources/types.ts';
import { type ApiRequest, type Context, type Endpoint, type Json, ok, type Reply } from '../api.ts';
import { readProcess, type ShownProcess, shownInstances, storedProcess, withBrought } from '../deploying.ts';
import { notFound, unprocessable } from '../errors.ts';
import { badQuery, listReply, plainList } from '../listing.ts';
import { processesOf } from '../operations/app-create.ts';
import { emit, isVersion, record } from '../operations/app-lifecycle.ts';
import { changeSizes } from '../operations/quota.ts';
import { presentProcess } from '../present/apps.ts';
import { presented } from '../presented.ts';
import { readSizes, SIZE_FIELDS } from '../sizes.ts';
import { mergeMetadata, Reader } from '../validate.ts';
import { deleteInstance, instanceState, isThere, processStats } from '../stats.ts';
import { whenSettled } from '../waiting.ts';
import { readApp } from './apps.ts';

const MAX_INSTANCES = 1_000;

/** What is told of a process besides what is its own. */
function shownWith({ records }: Context, process: ShownProcess) {
  const app = records.apps.get(process.spec.app);
  const { droplet, revision } = process.brought?.by.spec ?? {
    droplet: app?.spec.currentDroplet,
    revision: app?.spec.state === 'STARTED' ? app.spec.currentRevision : undefined,
  };
  return { app, droplet: records.droplets.get(droplet ?? ''), revision: records.revisions.get(revision ?? '') };
}

export function showProcess(context: Context, process: ShownProcess, listed = false): Json {
  const { droplet, revision } = shownWith(context, process);
  return presentProcess(context.urls, process, {
    space: context.records.spaceOf(process)?.metadata.name ?? '',
    command: process.spec.command ?? droplet?.spec.processTypes[process.spec.type] ?? null,
    ...(revision && isVersion(revision) ? { revision: revision.metadata.name } : {}),
    ...(process.brought ? { instances: shownInstances(context, process).size } : {}),
    listed,
  });
}

/** State and age of each instance. */
function instancesJson(context: Context, process: ShownProcess): Json[] {
  return [...shownInstances(context, process)].flatMap(([index, pod]) => {
    if (!pod) return [];
    const since = Date.parse(pod.status?.startTime ?? pod.metadata.creationTimestamp);
    return [{ index, state: instanceState(pod), since: Math.max(0, Math.floor((context.now() - since) / 1000)) }];
  });
}

function embedsInstances(request: ApiRequest): boolean {
  const embed = request.query.get('embed');
  if (embed === null || embed === 'process_instances') return embed !== null;
  throw badQuery(
    `Invalid embedded resource: '${embed.slice(0, 60)}'. Valid embedded resources are: 'process_instances'`,
  );
}

/** Not one of its instances runs yet, or has failed to. */
function isStarting(context: Context, process: ShownProcess): boolean {
  if (context.records.apps.get(process.spec.app)?.spec.state !== 'STARTED') return false;
  const instances = [...shownInstances(context, process).values()];
  const isSettled = (pod: Stored<Pod>) => ['RUNNING', 'CRASHED'].includes(instanceState(pod));
  return instances.length > 0 && !instances.filter(isThere).some(isSettled);
}

export function processEndpoints(context: Context): Endpoint[] {
  const { records, access } = context;
  const byGuid = (request: ApiRequest) => readProcess(context, request, request.params.guid ?? '');
  const byType = (request: ApiRequest): Stored<Process> => {
    const app = readApp(context, request);
    const process = processesOf(context, app.metadata.name).find((item) => item.spec.type === request.params.type);
    if (!process) throw notFound('Process');
    return process;
  };
  // What is brought takes its settings from the process, which a change is therefore of.
  const writable = (request: ApiRequest, find: (request: ApiRequest) => ShownProcess) => {
    const process = storedProcess(find(request));
    return access.operate(request.identity, records.processes, process.metadata.name, 'Process');
  };
  const bytes = presented<ShownProcess>(
    (item) => showProcess(context, item, true),
    (item) => Object.values(shownWith(context, item)),
  );
  const list = (request: ApiRequest, processes: Stored<Process>[]) =>
    listReply(context, request, {
      items: withBrought(context, processes),
      present: embedsInstances(request)
        ? (item) => ({
            ...showProcess(context, item, true),
            process_instances: instancesJson(context, item),
          })
        : bytes,
      ignored: ['embed'],
      filters: {
        types: (item, values) => values.includes(item.spec.type),
        app_guids: (item, values) => values.includes(item.spec.app),
        space_guids: (item, values) => values.includes(records.spaceOf(item)?.metadata.name ?? ''),
        organization_guids: (item, values) => values.includes(records.spaceOf(item)?.spec.organization ?? ''),
      },
      userLabels: (item) => item.spec.userMetadata?.labels ?? {},
    });
  const both = (
    suffix: string,
    endpoint: Pick<Endpoint, 'method' | 'summary' | 'partial'> & {
      handle: (request: ApiRequest, find: (request: ApiRequest) => ShownProcess) => Reply | Promise<Reply>;
    },
  ): Endpoint[] => [
    {
      ...endpoint,
      auth: 'user',
      path: `/v3/processes/:guid${suffix}`,
      handle: (request) => endpoint.handle(request, byGuid),
    },
    {
      ...endpoint,
      auth: 'user',
      path: `/v3/apps/:guid/processes/:type${suffix}`,
      handle: (request) => endpoint.handle(request, byType),
    },
  ];
  return [
    {
      method: 'GET',
      path: '/v3/processes',
      auth: 'user',
      summary: 'List processes.',
      handle: (request) => list(request, access.visible(request.identity, records.processes.all())),
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/processes',
      auth: 'user',
      summary: 'List the processes of an app.',
      handle: (request) => list(request, processesOf(context, readApp(context, request).metadata.name)),
    },
    ...both('', {
      method: 'GET',
      summary: 'Get a process.',
      handle: (request, find) => ok(showProcess(context, find(request))),
    }),
    ...both('', {
      method: 'PATCH',
      summary: "Change a process's command, health check or metadata; it counts from the next start on.",
      handle: async (request, find) =>
        ok(showProcess(context, await patchProcess(context, request, writable(request, find)))),
    }),
    ...both('/actions/scale', {
      method: 'POST',
      summary: 'Change how many instances a process has, at once, or its memory and disk, from the next start on.',
      handle: async (request, find) => ({
        status: 202,
        body: showProcess(context, await scaleProcess(context, request, writable(request, find))),
      }),
    }),
    ...both('/stats', {
      method: 'GET',
      summary: 'Get state and use of resources of each instance.',
      handle: async (request, find) => {
        find(request);
        await whenSettled(request, records.pods, () => !isStarting(context, find(request)));
        const process = find(request);
        return ok({ resources: await processStats(context, process, shownInstances(context, process)) });
      },
    }),
    {
      method: 'GET',
      path: '/v3/processes/:guid/process_instances',
      auth: 'user',
      summary: 'Get state and age of each instance.',
      handle: (request) => {
        return plainList(context, request, instancesJson(context, byGuid(request)));
      },
    },
    ...both('/instances/:index', {
      method: 'DELETE',
      summary: 'Stop one instance; another one takes its place.',
      handle: async (request, find) => {
        const process = writable(request, find);
        const index = Number(request.params.index);
        const pod = shownInstances(context, find(request)).get(index);
        if (!(await deleteInstance(context, pod))) throw notFound('Instance');
        await recordFor(context, request, process, 'audit.app.process.terminate_instance', { process_index: index });
        return { status: 204 };
      },
    }),
  ];
}

/** Fields that are null are set back to their default. */
export function readHealthCheck(reader: Reader, field: string, current: HealthCheck): HealthCheck {
  const check = reader.object(field);
  if (!check) return current;
  const type = check.string('type') ?? current.type;
  if (type !== 'port' && type !== 'process' && type !== 'http') {
    reader.fail(`${field.replaceAll('_', ' ')} type must be "port", "process", or "http"`);
    return current;
  }
  const data = check.object('data');
  const seconds = (name: 'timeout' | 'invocation_timeout' | 'interval', old: number | undefined) =>
    data?.body[name] === null ? undefined : (data?.integer(name, { min: 1, max: 3600 }) ?? old);
  const endpoint = data?.nullableString('endpoint') ?? (type === current.type ? current.endpoint : undefined);
  if (endpoint !== undefined && !/^\/[\x21-\x7e]{0,254}$/.test(endpoint)) {
    reader.fail(`${field.replaceAll('_', ' ')} endpoint must be a path that begins with "/"`);
  }
  const timeout = seconds('timeout', current.timeout);
  const invocationTimeout = seconds('invocation_timeout', current.invocationTimeout);
  const interval = seconds('interval', current.interval);
  return {
    type,
    ...(type === 'http' ? { endpoint: endpoint ?? '/' } : {}),
    ...(timeout === undefined ? {} : { timeout }),
    ...(invocationTimeout === undefined ? {} : { invocationTimeout }),
    ...(interval === undefined ? {} : { interval }),
  };
}

async function patchProcess(context: Context, request: ApiRequest, process: Stored<Process>): Promise<Stored<Process>> {
  const reader = new Reader(request.body).only('command', 'user', 'health_check', 'readiness_health_check', 'metadata');
  const command = reader.nullableString('command');
  if (typeof command === 'string') {
    if (command.trim() === '' || command.length > 4096) reader.fail('Command must be between 1 and 4096 characters');
    if (command.includes('\0')) reader.fail('Command must not have a NUL character');
  }
  const user = reader.nullableString('user');
  if (user !== undefined && user !== null) {
    reader.fail(
      `User ${JSON.stringify(user.slice(0, 60))} cannot be chosen: an image says its user, and droplets of source run as 1000`,
    );
  }
  const healthCheck = readHealthCheck(reader, 'health_check', process.spec.healthCheck);
  const readinessCheck = readHealthCheck(reader, 'readiness_health_check', process.spec.readinessCheck);
  const metadata = reader.metadata();
  reader.done();
  const changed = await context.records.processes.modify(process.metadata.name, (current) => {
    const { command: old, ...spec } = current.spec;
    const kept = command === undefined ? old : (command ?? undefined);
    return {
      ...current,
      spec: {
        ...spec,
        ...(kept === undefined ? {} : { command: kept }),
        healthCheck,
        readinessCheck,
        userMetadata: mergeMetadata(spec.userMetadata, metadata),
      },
    };
  });
  await recordFor(context, request, process, 'audit.app.process.update');
  return changed;
}

async function scaleProcess(context: Context, request: ApiRequest, process: Stored<Process>): Promise<Stored<Process>> {
  context.flags.require(request.identity, 'app_scaling');
  const reader = new Reader(request.body).only('instances', ...SIZE_FIELDS);
  const instances = reader.integer('instances', { min: 0, max: MAX_INSTANCES });
  const sizes = readSizes(reader);
  reader.done();
  const deploying = context.records.deployments.ofApp(process.spec.app).some(isActive);
  if (deploying && process.spec.type === 'web' && (sizes.memoryMb !== undefined || sizes.diskMb !== undefined)) {
    throw unprocessable('Cannot scale this process while a deployment is in flight.');
  }
  const changed = await changeSizes(context, process, { ...(instances !== undefined && { instances }), ...sizes });
  await recordFor(context, request, process, 'audit.app.process.scale');
  return changed;
}

async function recordFor(
  context: Context,
  request: ApiRequest,
  process: Stored<Process>,
  type: string,
  data: Json = { request: request.body },
): Promise<void> {
  const app = context.records.apps.get(process.spec.app);
  if (!app) return;
  await record(context, request.identity, app, type, {
    process_guid: process.metadata.name,
    process_type: process.spec.type,
    ...data,
  });
  emit(context, app, 'Updated', `process ${process.spec.type}: ${JSON.stringify(request.body)}`);
}
