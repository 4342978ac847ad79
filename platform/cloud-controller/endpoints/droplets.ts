import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { type App, type Droplet, labels } from '../../resources/types.ts';
import { type ApiRequest, accepted, type Context, created, type Endpoint, ok, type Reply } from '../api.ts';
import { notAuthorized, notFound, unprocessable } from '../errors.ts';
import { listReply } from '../listing.ts';
import { emit, record } from '../operations/app-lifecycle.ts';
import { changeMetadata } from '../operations/metadata.ts';
import { copyPullSecret } from '../operations/pull-secret.ts';
import { rebaseApp } from '../operations/rebase.ts';
import { receiveUpload, uploadProblem } from '../operations/upload.ts';
import { dropletState, presentDroplet } from '../present/apps.ts';
import { presented } from '../presented.ts';
import { ownedBy } from '../records.ts';
import { Reader } from '../validate.ts';
import { readApp, writeApp } from './apps.ts';

/** Larger than a package: the stack is in it. */
const MAX_DROPLET_BYTES = 4 * 1024 * 1024 * 1024;
/** Until something is uploaded. */
const NO_COMMANDS = { web: '' };

export function dropletEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const present = (droplet: Stored<Droplet>) => presentDroplet(urls, droplet);
  const bytes = presented(present);
  const list = (request: ApiRequest, items: Stored<Droplet>[], current?: string) =>
    listReply(context, request, {
      items,
      present: bytes,
      filters: {
        states: (item, values) => values.includes(dropletState(item)),
        app_guids: (item, values) => values.includes(item.spec.app),
        space_guids: (item, values) => values.includes(records.spaceOf(item)?.metadata.name ?? ''),
        organization_guids: (item, values) => values.includes(records.spaceOf(item)?.spec.organization ?? ''),
        current: (item, values) => (values[0] === 'true') === (item.metadata.name === current),
      },
      userLabels: (item) => item.spec.userMetadata?.labels ?? {},
    });
  const guid = (request: ApiRequest) => request.params.guid ?? '';
  const write = (request: ApiRequest) => access.write(request.identity, records.droplets, guid(request), 'Droplet');
  return [
    {
      method: 'GET',
      path: '/v3/droplets',
      auth: 'user',
      summary: 'List droplets.',
      handle: (request) => list(request, access.visible(request.identity, records.droplets.all())),
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/droplets',
      auth: 'user',
      summary: 'List the droplets of an app.',
      handle: (request) => {
        const app = readApp(context, request);
        return list(request, records.droplets.ofApp(app.metadata.name), app.spec.currentDroplet);
      },
    },
    {
      method: 'POST',
      path: '/v3/droplets',
      auth: 'user',
      summary: 'Create a droplet to be uploaded, or copy one of another app (`source_guid`).',
      handle: async (request) => {
        const source = request.query.get('source_guid');
        const droplet = await (source === null ? postDroplet(context, request) : copyDroplet(context, request, source));
        return created(present(droplet));
      },
    },
    {
      method: 'GET',
      path: '/v3/droplets/:guid',
      auth: 'user',
      summary: 'Get a droplet.',
      handle: (request) => ok(present(access.read(request.identity, records.droplets, guid(request), 'Droplet'))),
    },
    {
      method: 'PATCH',
      path: '/v3/droplets/:guid',
      auth: 'user',
      summary: "Change a droplet's metadata.",
      handle: async (request) => {
        const droplet = write(request);
        const changed = await changeMetadata(records.droplets, droplet, request.body);
        return ok(present(changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/droplets/:guid',
      auth: 'user',
      summary: 'Delete a droplet that does not run.',
      handle: (request) => {
        const droplet = write(request);
        const app = records.apps.get(droplet.spec.app);
        if (app?.spec.currentDroplet === droplet.metadata.name) {
          throw unprocessable("The droplet is its app's current one. Assign another one first.");
        }
        const work = async () => {
          await records.droplets.delete(droplet.metadata.name);
          if (app) await tell(context, request, { app, verb: 'delete', droplet: droplet.metadata.name });
        };
        return accepted(context, context.jobs.start('droplet.delete', work, { target: droplet.metadata.name }));
      },
    },
    {
      method: 'POST',
      path: '/v3/droplets/:guid/upload',
      auth: 'user',
      summary: 'Upload a droplet: what its download gave, or another OCI image archive that was made by a build.',
      rawBody: true,
      handle: (request) => upload(context, request, write(request)),
    },
    {
      method: 'GET',
      path: '/v3/droplets/:guid/download',
      auth: 'user',
      summary: 'Download a droplet as an OCI image archive, which `docker load` and `skopeo` read too.',
      handle: async (request) => {
        const droplet = downloadable(context, request, guid(request));
        if (droplet.spec.lifecycle === 'docker')
          throw unprocessable("Cannot download droplets with 'docker' lifecycle.");
        if (dropletState(droplet) !== 'STAGED') throw unprocessable('Only staged droplets can be downloaded.');
        const stream = await context.staging.droplets.read(droplet.spec.image).catch((error: unknown) => {
          throw uploadProblem(error);
        });
        const app = records.apps.get(droplet.spec.app);
        if (app) await tell(context, request, { app, verb: 'download', droplet: droplet.metadata.name });
        return { status: 200, type: 'application/gzip', stream };
      },
    },
    {
      method: 'POST',
      path: '/v3/apps/:guid/actions/rebase',
      auth: 'user',
      summary: "Make a droplet of the current one on the newest stack, without a build. Ours, not Cloud Foundry's.",
      handle: async (request) => {
        const droplet = await rebaseApp(context, request.identity, writeApp(context, request));
        return droplet.made ? created(present(droplet.droplet)) : ok(present(droplet.droplet));
      },
    },
    {
      method: 'GET',
      path: '/v3/droplets/:guid/sbom',
      auth: 'user',
      summary: "Get a droplet's bill of materials (CycloneDX). Ours, not Cloud Foundry's.",
      handle: async (request) => {
        const { image } = downloadable(context, request, guid(request)).spec;
        const text = image === '' ? undefined : await context.staging.droplets.billOfMaterials(image);
        if (text === undefined) throw notFound('Bill of materials');
        return { status: 200, type: 'application/vnd.cyclonedx+json', body: text };
      },
    },
  ];
}

/** Whoever may copy a droplet could download the copy. */
function downloadable(context: Context, request: ApiRequest, guid: string): Stored<Droplet> {
  const droplet = context.access.read(request.identity, context.records.droplets, guid, 'Droplet');
  const space = context.records.spaceOf(droplet);
  if (!space || !context.access.downloadsDroplets(request.identity, space)) throw notAuthorized();
  return droplet;
}

/** The app of the request's relationship, which the caller may change. */
function targetApp(context: Context, request: ApiRequest, guid: string | undefined): Stored<App> {
  const app = context.records.apps.get(guid ?? '');
  const space = app && context.records.spaceOf(app);
  if (!app || !space || !context.access.readsSpace(request.identity, space)) {
    throw unprocessable(
      `App with guid "${(guid ?? '').slice(0, 60)}" does not exist, or you do not have access to it.`,
    );
  }
  if (!context.access.writesSpace(request.identity, space)) throw notAuthorized();
  return app;
}

async function postDroplet(context: Context, request: ApiRequest): Promise<Stored<Droplet>> {
  const reader = new Reader(request.body).only('relationships', 'process_types');
  const target = reader.relationship('app', { required: true });
  const types = reader.object('process_types')?.body;
  for (const [type, command] of Object.entries(types ?? {})) {
    if (!/^[A-Za-z0-9_-]{1,63}$/.test(type))
      reader.fail('Process types must be named by 1 to 63 letters, digits, "-" and "_"');
    if (typeof command !== 'string' || command.length > 4096 || command.includes('\0'))
      reader.fail('Process types value must be a string of at most 4096 characters without NUL characters');
  }
  reader.done();
  const app = targetApp(context, request, target);
  if (app.spec.lifecycle.type === 'docker') {
    throw unprocessable('Droplet creation is not available for apps with docker lifecycles.');
  }
  const given = types as Record<string, string> | undefined;
  const { stack, type: lifecycle } = app.spec.lifecycle;
  const droplet = await createDroplet(context, app, {
    image: '',
    processTypes: given ?? NO_COMMANDS,
    ...(given === undefined ? {} : { commandsGiven: true }),
    lifecycle,
    stack,
    buildpacks: [],
    ports: [8080],
  });
  await tell(context, request, { app, verb: 'create', droplet: droplet.metadata.name });
  return droplet;
}

async function copyDroplet(context: Context, request: ApiRequest, sourceGuid: string): Promise<Stored<Droplet>> {
  const reader = new Reader(request.body).only('relationships');
  const target = reader.relationship('app', { required: true });
  reader.done();
  const source = downloadable(context, request, sourceGuid);
  const app = context.records.apps.get(target ?? '');
  const space = app && context.records.spaceOf(app);
  if (!app || !space || !context.access.readsSpace(request.identity, space)) throw notFound('App');
  if (!context.access.writesSpace(request.identity, space)) throw notAuthorized();
  if (dropletState(source) !== 'STAGED') throw unprocessable('source droplet is not staged');
  if (source.spec.lifecycle !== app.spec.lifecycle.type) {
    throw unprocessable('source and destination lifecycle types do not match');
  }
  const guid = randomUUID();
  // Its layers first, and what pulls them: a droplet that is there can run.
  const image =
    source.spec.lifecycle === 'docker'
      ? source.spec.image
      : await context.staging.droplets
          .copy({ image: source.spec.image, app: app.metadata.name, droplet: guid })
          .catch((error: unknown) => {
            throw uploadProblem(error);
          });
  const pullSecret = source.spec.pullSecret === undefined ? undefined : `droplet-${guid}`;
  if (source.spec.pullSecret !== undefined && pullSecret !== undefined) {
    const from = { namespace: source.metadata.namespace ?? '', name: source.spec.pullSecret };
    await copyPullSecret(context, from, { app, name: pullSecret });
  }
  const { package: _package, build: _build, userMetadata: _metadata, pullSecret: _secret, ...kept } = source.spec;
  const spec = { ...kept, image, ...(pullSecret === undefined ? {} : { pullSecret }) };
  await createDroplet(context, app, spec, guid);
  const copy = await context.records.droplets.modifyStatus(guid, (current) => ({
    ...current,
    status: { ...source.status, state: 'STAGED' },
  }));
  await tell(context, request, {
    app,
    verb: 'create',
    droplet: guid,
    data: { request: { source_droplet_guid: source.metadata.name } },
  });
  return copy;
}

function createDroplet(
  context: Context,
  app: Stored<App>,
  spec: Omit<Droplet['spec'], 'app'>,
  guid: string = randomUUID(),
): Promise<Stored<Droplet>> {
  return context.records.droplets.create({
    metadata: {
      name: guid,
      namespace: app.metadata.namespace ?? '',
      labels: { [labels.app]: app.metadata.name },
      ownerReferences: ownedBy(app),
    },
    spec: { ...spec, app: app.metadata.name },
  });
}

async function upload(context: Context, request: ApiRequest, droplet: Stored<Droplet>): Promise<Reply> {
  const { records } = context;
  const guid = droplet.metadata.name;
  const once = 'Droplet may be uploaded only once. Create a new droplet to upload bits.';
  if (dropletState(droplet) !== 'AWAITING_UPLOAD') throw unprocessable(once);
  await using received = await receiveUpload(request.raw, {
    directory: context.temporaryDirectory,
    fileFields: ['bits', 'droplet'],
    maxBytes: MAX_DROPLET_BYTES,
    signal: request.signal,
  });
  if (received.file === undefined)
    throw unprocessable("Uploaded droplet file is invalid: A droplet zip file must be uploaded as 'bits'");
  const input = { app: droplet.spec.app, droplet: guid, file: received.file, signal: request.signal };
  const stored = await context.staging.droplets.store(input).catch((error: unknown) => {
    throw uploadProblem(error);
  });
  await records.droplets.modify(guid, (current) => {
    if (current.spec.image !== '') throw unprocessable(once);
    const { image, buildpacks, stack } = stored;
    const processTypes = current.spec.commandsGiven
      ? current.spec.processTypes
      : { ...current.spec.processTypes, ...stored.processTypes };
    return { ...current, spec: { ...current.spec, image, buildpacks, stack, processTypes } };
  });
  const { checksum, sizeBytes } = stored;
  const ready = await records.droplets.modifyStatus(guid, (current) => ({
    ...current,
    status: { state: 'STAGED', checksum, sizeBytes },
  }));
  const app = records.apps.get(droplet.spec.app);
  if (app) await tell(context, request, { app, verb: 'upload', droplet: guid });
  // It is done; clients that follow the job hear so at once.
  const job = context.jobs.start('droplet.upload', async () => undefined);
  return { ...accepted(context, job), body: presentDroplet(context.urls, ready) };
}

async function tell(
  context: Context,
  request: ApiRequest,
  event: { app: Stored<App>; verb: 'create' | 'upload' | 'download' | 'delete'; droplet: string; data?: object },
): Promise<void> {
  const { app, verb, droplet, data } = event;
  const said = { create: 'Creating', upload: 'Uploading', download: 'Downloading', delete: 'Deleting' }[verb];
  emit(context, app, `${said} droplet for`);
  await record(context, request.identity, app, `audit.app.droplet.${verb}`, { droplet_guid: droplet, ...data });
}
