/** Tasks: commands that run once beside an app, with its droplet and variables. The workload controllers run them. */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { type App, labels, type Process, type Task } from '../../resources/types.ts';
import { type ApiRequest, type Context, created, type Endpoint, ok, type Reply } from '../api.ts';
import { unprocessable } from '../errors.ts';
import { listReply } from '../listing.ts';
import { processesOf } from '../operations/app-create.ts';
import { record, usableDroplet } from '../operations/app-lifecycle.ts';
import { keepGroup } from '../operations/environment.ts';
import { changeMetadata } from '../operations/metadata.ts';
import { requireTask, underQuota } from '../operations/quota.ts';
import { keepServices } from '../operations/services.ts';
import { serially } from '../operations/serially.ts';
import { presentTask, taskState } from '../present/tasks.ts';
import { ownedBy } from '../records.ts';
import { readSizes, SIZE_FIELDS } from '../sizes.ts';
import { mergeMetadata, Reader } from '../validate.ts';
import { readApp, writeApp } from './apps.ts';

const MAX_COMMAND = 4096;

export function taskEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const present = (request: ApiRequest, task: Stored<Task>, listed = false) => {
    const space = records.spaceOf(task);
    const command = !listed && space !== undefined && access.readsSecrets(request.identity, space);
    return presentTask(urls, task, { command });
  };
  const write = (request: ApiRequest) =>
    access.write(request.identity, records.tasks, request.params.guid ?? '', 'Task');
  const list = (request: ApiRequest, items: Stored<Task>[]) =>
    listReply(context, request, {
      items,
      present: (task) => present(request, task, request.path === '/v3/tasks'),
      filters: {
        names: (item, values) => values.includes(item.spec.displayName),
        states: (item, values) => values.includes(taskState(item)),
        sequence_ids: (item, values) => values.includes(String(item.spec.sequence)),
        app_guids: (item, values) => values.includes(item.spec.app),
        space_guids: (item, values) => values.includes(records.spaceOf(item)?.metadata.name ?? ''),
        organization_guids: (item, values) => values.includes(records.spaceOf(item)?.spec.organization ?? ''),
      },
      userLabels: (item) => item.spec.userMetadata?.labels ?? {},
    });
  const cancel = async (request: ApiRequest): Promise<Reply> => {
    const { guid = '' } = request.params;
    const task = await cancelTask(context, request, access.operate(request.identity, records.tasks, guid, 'Task'));
    return { status: 202, body: present(request, task) };
  };
  return [
    {
      method: 'GET',
      path: '/v3/tasks',
      auth: 'user',
      summary: 'List tasks.',
      handle: (request) => list(request, access.visible(request.identity, records.tasks.all())),
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/tasks',
      auth: 'user',
      summary: 'List the tasks of an app.',
      handle: (request) => list(request, records.tasks.ofApp(readApp(context, request).metadata.name)),
    },
    {
      method: 'POST',
      path: '/v3/apps/:guid/tasks',
      auth: 'user',
      summary: 'Run a command once, with the droplet of an app.',
      handle: async (request) => {
        const app = writeApp(context, request);
        context.flags.require(request.identity, 'task_creation');
        const task = await serially(`tasks ${app.metadata.name}`, () => createTask(context, request, app));
        return { ...created(present(request, task)), status: 202 };
      },
    },
    {
      method: 'GET',
      path: '/v3/tasks/:guid',
      auth: 'user',
      summary: 'Get a task.',
      handle: (request) =>
        ok(present(request, access.read(request.identity, records.tasks, request.params.guid ?? '', 'Task'))),
    },
    {
      method: 'PATCH',
      path: '/v3/tasks/:guid',
      auth: 'user',
      summary: "Change a task's metadata.",
      handle: async (request) => {
        const task = write(request);
        const changed = await changeMetadata(records.tasks, task, request.body);
        return ok(present(request, changed));
      },
    },
    {
      method: 'POST',
      path: '/v3/tasks/:guid/actions/cancel',
      auth: 'user',
      summary: 'Stop a task.',
      handle: cancel,
    },
    {
      method: 'PUT',
      path: '/v3/tasks/:guid/cancel',
      auth: 'user',
      summary: 'Stop a task: the older form.',
      handle: cancel,
    },
  ];
}

async function createTask(context: Context, request: ApiRequest, app: Stored<App>): Promise<Stored<Task>> {
  const { records } = context;
  const reader = new Reader(request.body).only(
    'name',
    'command',
    'template',
    ...SIZE_FIELDS,
    'droplet_guid',
    'metadata',
  );
  const displayName = reader.name() ?? randomBytes(4).toString('hex');
  const template = templateOf(context, reader, app);
  const command = reader.string('command') ?? (template && commandOf(context, app, template));
  if (!command?.trim()) reader.fail("Command can't be blank: give one, or the process of a template");
  else if (command.length > MAX_COMMAND || command.includes('\0')) {
    reader.fail(`Command must be at most ${MAX_COMMAND} characters, and have no NUL character`);
  }
  const { memoryMb, diskMb, logRateLimitBytes } = readSizes(reader);
  const asked = reader.nullableString('droplet_guid') ?? app.spec.currentDroplet;
  const metadata = reader.metadata();
  reader.done();
  const space = records.spaceOf(app);
  if (asked === undefined || !space) {
    throw unprocessable('Task must have a droplet. Assign current droplet to app.');
  }
  const droplet = usableDroplet(context, app, asked).metadata.name;
  const size = { memoryMb: memoryMb ?? template?.spec.memoryMb ?? context.defaults.memoryMb };
  const guid = randomUUID();
  const sequences = records.tasks.ofApp(app.metadata.name).map((task) => task.spec.sequence);
  await Promise.all([keepGroup(context, app, 'running', guid), keepServices(context, app, guid)]);
  const task = await underQuota(space, () => {
    requireTask(context, app, size);
    return records.tasks.create({
      metadata: {
        name: guid,
        namespace: app.metadata.namespace ?? '',
        labels: { [labels.app]: app.metadata.name, [labels.droplet]: droplet },
        ownerReferences: ownedBy(app),
      },
      spec: {
        app: app.metadata.name,
        displayName,
        sequence: Math.max(0, ...sequences) + 1,
        command: command ?? '',
        droplet,
        ...size,
        diskMb: diskMb ?? template?.spec.diskMb ?? context.defaults.diskMb,
        logRateLimitBytes: logRateLimitBytes ?? template?.spec.logRateLimitBytes ?? -1,
        userMetadata: mergeMetadata(undefined, metadata),
      },
    });
  });
  await record(context, request.identity, app, 'audit.app.task.create', {
    task_guid: guid,
    request: { name: displayName, command: '[PRIVATE DATA HIDDEN]' },
  });
  return task;
}

/** The process whose command and size the task takes where it says nothing itself. */
function templateOf(context: Context, reader: Reader, app: Stored<App>): Stored<Process> | undefined {
  const process = reader.object('template')?.object('process');
  const guid = process?.string('guid');
  if (guid === undefined) {
    if (reader.has('template')) reader.fail('Template must have a process with a guid');
    return undefined;
  }
  const found = processesOf(context, app.metadata.name).find(({ metadata }) => metadata.name === guid);
  if (!found) reader.fail('Template process must exist and belong to the app');
  return found;
}

function commandOf(context: Context, app: Stored<App>, process: Stored<Process>): string | undefined {
  const droplet = context.records.droplets.get(app.spec.currentDroplet ?? '');
  return process.spec.command ?? droplet?.spec.processTypes[process.spec.type];
}

async function cancelTask(context: Context, request: ApiRequest, task: Stored<Task>): Promise<Stored<Task>> {
  const { tasks, apps } = context.records;
  const guid = task.metadata.name;
  const ended = (state: string) => state === 'SUCCEEDED' || state === 'FAILED';
  if (ended(taskState(task))) {
    throw unprocessable(`Task state is ${taskState(task)} and therefore cannot be canceled`);
  }
  await tasks.modify(guid, (current) => ({ ...current, spec: { ...current.spec, cancelled: true } }));
  const changed = await tasks.modifyStatus(guid, (current) =>
    // It may have come to its end meanwhile.
    ended(current.status?.state ?? 'PENDING') ? undefined : { ...current, status: { state: 'CANCELING' } },
  );
  const app = apps.get(task.spec.app);
  if (app) await record(context, request.identity, app, 'audit.app.task.cancel', { task_guid: guid });
  return changed;
}
