/** Buildpacks: those of the platform can be moved and turned off, those that administrators bring are all theirs. */
import { randomUUID } from 'node:crypto';
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { UserMetadata } from '../../resources/types.ts';
import type { CatalogueBuildpack } from '../../staging/catalogue.ts';
import { type ApiRequest, accepted, type Context, created, type Endpoint, type Json, ok, type Reply } from '../api.ts';
import { notFound, unprocessable } from '../errors.ts';
import { listReply } from '../listing.ts';
import { catalogue, changeShared, moveTo, oneAtATime, sameName } from '../operations/buildpacks.ts';
import { tell } from '../operations/tell.ts';
import { receiveUpload, uploadProblem } from '../operations/upload.ts';
import { link } from '../present/base.ts';
import { createdAt, updatedAt } from '../records.ts';
import { mergeMetadata, Reader } from '../validate.ts';
import { EPOCH } from './stacks.ts';

const MAX_POSITION = 1_000_000;

/** As lists take it. */
type Listed = ClientObject & { spec: { displayName: string; userMetadata?: UserMetadata }; item: CatalogueBuildpack };

export function buildpackEndpoints(context: Context): Endpoint[] {
  const present = (item: Stored<Listed>) => presentBuildpack(context, item.item);
  const find = (request: ApiRequest): CatalogueBuildpack => known(context, request.params.guid ?? '');
  return [
    {
      method: 'GET',
      path: '/v3/buildpacks',
      auth: 'user',
      summary: 'List buildpacks in the order in which they are tried.',
      handle: (request) =>
        listReply<Listed>(context, request, {
          items: catalogue(context).map((item) => listed(context, item)),
          present,
          filters: {
            names: ({ spec }, values) => values.includes(spec.displayName),
            stacks: ({ item }, values) => values.includes(stackOf(item) ?? ''),
            lifecycle: (_item, values) => values.includes('buildpack'),
          },
          orders: { position: ({ item }) => item.position, name: ({ spec }) => spec.displayName },
          defaultOrder: 'position',
          userLabels: ({ spec }) => spec.userMetadata?.labels ?? {},
        }),
    },
    {
      method: 'POST',
      path: '/v3/buildpacks',
      auth: 'admin',
      summary: 'Create a buildpack; its files are uploaded next.',
      handle: (request) => oneAtATime(() => postBuildpack(context, request)),
    },
    {
      method: 'GET',
      path: '/v3/buildpacks/:guid',
      auth: 'user',
      summary: 'Get a buildpack.',
      handle: (request) => ok(presentBuildpack(context, find(request))),
    },
    {
      method: 'PATCH',
      path: '/v3/buildpacks/:guid',
      auth: 'admin',
      summary:
        "Move a buildpack, turn it off, lock it, rename it, or change its metadata; the platform's own keep name and lock.",
      handle: (request) => oneAtATime(() => patchBuildpack(context, request, find(request))),
    },
    {
      method: 'DELETE',
      path: '/v3/buildpacks/:guid',
      auth: 'admin',
      summary: "Delete a buildpack that was uploaded; the platform's own are turned off instead.",
      handle: (request) => {
        const item = find(request);
        if (item.uploaded === undefined)
          throw unprocessable(`Buildpack ${item.name} is the platform's own and cannot be deleted: disable it.`);
        const remove = async () => {
          await context.records.buildpacks.delete(item.guid);
          await context.staging.buildpackFiles.remove(item.guid);
          await told(context, request, 'delete', item);
        };
        return accepted(context, context.jobs.start('buildpack.delete', remove, { target: item.guid }));
      },
    },
    {
      method: 'POST',
      path: '/v3/buildpacks/:guid/upload',
      auth: 'admin',
      summary: 'Upload the files of a buildpack: a zip file of a Cloud Native Buildpack, or of one of Cloud Foundry.',
      rawBody: true,
      handle: (request) => upload(context, request, find(request)),
    },
  ];
}

function known(context: Context, guid: string): CatalogueBuildpack {
  const found = catalogue(context).find((item) => item.guid === guid);
  if (!found) throw notFound('Buildpack');
  return found;
}

function stackOf({ shipped, uploaded }: CatalogueBuildpack): string | undefined {
  return uploaded === undefined ? shipped?.stack : uploaded.spec.stack;
}

function metadataOf(context: Context, { guid, uploaded }: CatalogueBuildpack): UserMetadata | undefined {
  return (uploaded ?? context.records.catalogEntries.get(guid))?.spec.userMetadata;
}

function listed(context: Context, item: CatalogueBuildpack): Stored<Listed> {
  // What people write on one of the platform's own does not make it younger.
  const own = { name: item.guid, uid: item.guid, resourceVersion: '0', creationTimestamp: EPOCH };
  const metadata = item.uploaded?.metadata ?? own;
  const userMetadata = metadataOf(context, item);
  return { metadata, item, spec: { displayName: item.name, ...(userMetadata === undefined ? {} : { userMetadata }) } };
}

function presentBuildpack(context: Context, item: CatalogueBuildpack): Json {
  const { guid, name, position, enabled, shipped, uploaded } = item;
  const object = listed(context, item);
  const self = `${context.urls.api}/v3/buildpacks/${guid}`;
  const { labels = {}, annotations = {} } = object.spec.userMetadata ?? {};
  return {
    guid,
    created_at: uploaded ? createdAt(uploaded) : EPOCH,
    updated_at: uploaded ? updatedAt(uploaded) : EPOCH,
    name,
    stack: stackOf(item) ?? null,
    state: shipped !== undefined || uploaded?.spec.filename !== undefined ? 'READY' : 'AWAITING_UPLOAD',
    position,
    lifecycle: 'buildpack',
    filename: shipped === undefined ? (uploaded?.spec.filename ?? null) : `${shipped.name}-${shipped.version}`,
    enabled,
    locked: uploaded?.spec.locked ?? true,
    ...(shipped === undefined ? {} : { version: shipped.version }),
    metadata: { labels, annotations },
    links: { self: link(self), ...(uploaded ? { upload: link(`${self}/upload`, 'POST') } : {}) },
  };
}

function told(context: Context, request: ApiRequest, verb: string, item: CatalogueBuildpack): Promise<void> {
  const object = listed(context, item);
  return tell(context, request, { type: `audit.buildpack.${verb}`, kind: 'buildpack', object });
}

interface Wanted {
  name: string | undefined;
  stack: string | null | undefined;
  position: number | undefined;
  enabled: boolean | undefined;
  locked: boolean | undefined;
  metadata: ReturnType<Reader['metadata']>;
}

function read(context: Context, request: ApiRequest): Wanted {
  const reader = new Reader(request.body).only(
    'name',
    'stack',
    'position',
    'enabled',
    'locked',
    'lifecycle',
    'metadata',
  );
  const name = reader.string('name');
  if (name !== undefined && !/^[\w-]{1,250}$/.test(name))
    reader.fail('Name must be of letters, digits, "_" and "-", and at most 250 of them');
  const stack = reader.nullableString('stack');
  if (typeof stack === 'string' && stack !== context.defaults.stack)
    reader.fail(`Stack '${stack.slice(0, 60)}' does not exist`);
  const lifecycle = reader.string('lifecycle');
  if (lifecycle !== undefined && lifecycle !== 'buildpack')
    reader.fail('Lifecycle must be "buildpack": it runs Cloud Native Buildpacks too');
  const position = reader.integer('position', { min: 1, max: MAX_POSITION });
  const [enabled, locked] = [reader.boolean('enabled'), reader.boolean('locked')];
  const metadata = reader.metadata();
  reader.done();
  return { name, stack, position, enabled, locked, metadata };
}

function requireUnique(context: Context, wanted: { guid?: string; name: string; stack: string | undefined }): void {
  if (sameName(context, wanted) === undefined) return;
  const { name, stack } = wanted;
  throw unprocessable(
    stack === undefined
      ? `Buildpack with name '${name}' and an unassigned stack already exists`
      : `Buildpack with name '${name}', stack '${stack}' and lifecycle 'buildpack' already exists`,
  );
}

async function postBuildpack(context: Context, request: ApiRequest): Promise<Reply> {
  const { name, stack, position = 1, enabled = true, locked = false, metadata } = read(context, request);
  if (name === undefined) throw unprocessable("Name can't be blank");
  requireUnique(context, { name, stack: stack ?? undefined });
  const guid = randomUUID();
  await context.records.buildpacks.create({
    metadata: { name: guid },
    spec: {
      displayName: name,
      ...(stack === undefined || stack === null ? {} : { stack }),
      position: MAX_POSITION,
      enabled,
      locked,
      userMetadata: mergeMetadata(undefined, metadata),
    },
  });
  await moveTo(context, guid, position);
  const item = known(context, guid);
  await told(context, request, 'create', item);
  return created(presentBuildpack(context, item));
}

async function patchBuildpack(context: Context, request: ApiRequest, item: CatalogueBuildpack): Promise<Reply> {
  const { name, stack, position, enabled, locked, metadata } = read(context, request);
  const { guid, uploaded } = item;
  if (uploaded === undefined && (name ?? stack ?? locked) !== undefined)
    throw unprocessable(`Buildpack ${item.name} is the platform's own: its name, stack and lock cannot be changed.`);
  if (uploaded !== undefined) {
    const old = uploaded.spec.stack;
    if (old !== undefined && stack !== undefined && stack !== old)
      throw unprocessable('Buildpack stack cannot be changed');
    const next = { name: name ?? item.name, stack: stack ?? old };
    requireUnique(context, { guid, ...next });
    await context.records.buildpacks.modify(guid, (current) => ({
      ...current,
      spec: {
        ...current.spec,
        displayName: next.name,
        locked: locked ?? current.spec.locked,
        ...(next.stack === undefined ? {} : { stack: next.stack }),
      },
    }));
  }
  await changeShared(context, item, {
    ...(enabled === undefined ? {} : { enabled }),
    ...(metadata === undefined ? {} : { userMetadata: mergeMetadata(metadataOf(context, item), metadata) }),
  });
  if (position !== undefined) await moveTo(context, guid, position);
  const changed = known(context, guid);
  await told(context, request, 'update', changed);
  return ok(presentBuildpack(context, changed));
}

async function upload(context: Context, request: ApiRequest, item: CatalogueBuildpack): Promise<Reply> {
  if (item.uploaded?.spec.locked !== false) throw unprocessable('Buildpack is locked');
  await using received = await receiveUpload(request.raw, {
    directory: context.temporaryDirectory,
    fileFields: ['bits'],
    signal: request.signal,
  });
  const { file, filename = 'buildpack.zip' } = received;
  if (file === undefined)
    throw unprocessable("Uploaded buildpack file is invalid: A buildpack zip file must be uploaded as 'bits'");
  const input = { buildpack: item.guid, file, signal: request.signal };
  const { checksum } = await context.staging.buildpackFiles.store(input).catch((error: unknown) => {
    throw uploadProblem(error);
  });
  await context.records.buildpacks.modify(item.guid, (current) => ({
    ...current,
    spec: { ...current.spec, filename, checksum },
  }));
  const ready = known(context, item.guid);
  await told(context, request, 'upload', ready);
  // It is done; clients that follow the job hear so at once.
  const job = context.jobs.start('buildpack.upload', async () => undefined);
  return { ...accepted(context, job), body: presentBuildpack(context, ready) };
}
