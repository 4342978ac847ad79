import type { Stored } from '#cluster/kinds/kind.ts';
import type { Process, Sidecar, SidecarFacts } from '../../resources/types.ts';
import { type ApiRequest, type Context, created, type Endpoint, ok } from '../api.ts';
import { readProcess, storedProcess } from '../deploying.ts';
import { notFound } from '../errors.ts';
import { listReply } from '../listing.ts';
import { processesOf } from '../operations/app-create.ts';
import { record } from '../operations/app-lifecycle.ts';
import { putSidecar, sidecarProblems, sidecarsOf, sidecarsOfProcess } from '../operations/sidecars.ts';
import { presentSidecar } from '../present/apps.ts';
import { Reader } from '../validate.ts';
import { readApp, writeApp } from './apps.ts';

export function sidecarEndpoints(context: Context): Endpoint[] {
  const { records, access } = context;
  const present = (request: ApiRequest, sidecar: Stored<Sidecar>) => {
    const space = records.spaceOf(sidecar);
    return presentSidecar(sidecar, { command: space !== undefined && access.readsSecrets(request.identity, space) });
  };
  const list = (request: ApiRequest, items: Stored<Sidecar>[]) =>
    listReply(context, request, { items, present: (sidecar) => present(request, sidecar) });
  const ofProcess = (request: ApiRequest, process: Stored<Process> | undefined) => {
    if (!process) throw notFound('Process');
    return list(request, sidecarsOfProcess(context, process));
  };
  const writable = (request: ApiRequest) =>
    access.write(request.identity, records.sidecars, request.params.guid ?? '', 'Sidecar');
  const told = async (request: ApiRequest, sidecar: Stored<Sidecar>, verb: 'create' | 'update' | 'delete') => {
    const app = records.apps.get(sidecar.spec.app);
    if (!app) return;
    const data = { sidecar_guid: sidecar.metadata.name, name: sidecar.spec.displayName };
    await record(context, request.identity, app, `audit.app.sidecar.${verb}`, data);
  };
  return [
    {
      method: 'GET',
      path: '/v3/apps/:guid/sidecars',
      auth: 'user',
      summary: 'List the sidecars of an app.',
      handle: (request) => list(request, sidecarsOf(context, readApp(context, request).metadata.name)),
    },
    {
      method: 'POST',
      path: '/v3/apps/:guid/sidecars',
      auth: 'user',
      summary: 'Create a sidecar; it runs from the next start on.',
      handle: async (request) => {
        const app = writeApp(context, request);
        const sidecar = await putSidecar(context, app, readFacts(request));
        await told(request, sidecar, 'create');
        return created(present(request, sidecar));
      },
    },
    {
      method: 'GET',
      path: '/v3/processes/:guid/sidecars',
      auth: 'user',
      summary: 'List the sidecars of a process.',
      handle: (request) => ofProcess(request, storedProcess(readProcess(context, request, request.params.guid ?? ''))),
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/processes/:type/sidecars',
      auth: 'user',
      summary: 'List the sidecars of a process.',
      handle: (request) => {
        const app = readApp(context, request).metadata.name;
        return ofProcess(
          request,
          processesOf(context, app).find(({ spec }) => spec.type === request.params.type),
        );
      },
    },
    {
      method: 'GET',
      path: '/v3/sidecars/:guid',
      auth: 'user',
      summary: 'Get a sidecar.',
      handle: (request) =>
        ok(present(request, access.read(request.identity, records.sidecars, request.params.guid ?? '', 'Sidecar'))),
    },
    {
      method: 'PATCH',
      path: '/v3/sidecars/:guid',
      auth: 'user',
      summary: 'Change a sidecar; it counts from the next start on.',
      handle: async (request) => {
        const sidecar = writable(request);
        const app = records.apps.get(sidecar.spec.app);
        if (!app) throw notFound('Sidecar');
        const changed = await putSidecar(context, app, readFacts(request, sidecar.spec), sidecar.metadata.name);
        await told(request, changed, 'update');
        return ok(present(request, changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/sidecars/:guid',
      auth: 'user',
      summary: 'Delete a sidecar; it is gone from the next start on.',
      handle: async (request) => {
        const sidecar = writable(request);
        await records.sidecars.delete(sidecar.metadata.name);
        await told(request, sidecar, 'delete');
        return { status: 204 };
      },
    },
  ];
}

function readFacts(request: ApiRequest, current?: SidecarFacts): SidecarFacts {
  const reader = new Reader(request.body).only('name', 'command', 'process_types', 'memory_in_mb');
  const name = reader.name('name', { required: current === undefined }) ?? current?.displayName ?? '';
  const command = reader.string('command') ?? current?.command ?? '';
  const types = reader.strings('process_types') ?? current?.processTypes ?? [];
  const cleared = request.body['memory_in_mb'] === null;
  const memoryMb = reader.megabytes('memory_in_mb') ?? current?.memoryMb;
  for (const problem of sidecarProblems(command, types)) reader.fail(problem);
  reader.done();
  return {
    displayName: name,
    command,
    processTypes: types,
    ...(memoryMb === undefined || cleared ? {} : { memoryMb }),
  };
}
