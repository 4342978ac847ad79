import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { type App, labels, type Package } from '../../resources/types.ts';
import { StagingError } from '../../staging/staging.ts';
import { type ApiRequest, accepted, type Context, created, type Endpoint, ok, type Reply } from '../api.ts';
import { CloudFoundryError, notAuthorized, unprocessable } from '../errors.ts';
import { listReply } from '../listing.ts';
import { record } from '../operations/app-lifecycle.ts';
import { parseResources, readResources } from '../operations/resources.ts';
import { dropPullSecret, pullSecretName, writePullSecret } from '../operations/pull-secret.ts';
import { receiveUpload, uploadProblem } from '../operations/upload.ts';
import { packageState, presentDroplet, presentPackage } from '../present/apps.ts';
import { presented } from '../presented.ts';
import { ownedBy } from '../records.ts';
import { whenSettled } from '../waiting.ts';
import { mergeMetadata, Reader } from '../validate.ts';
import { readApp } from './apps.ts';

export function packageEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const present = (item: Stored<Package>) => presentPackage(urls, item);
  const bytes = presented(present);
  const read = (request: ApiRequest) =>
    access.read(request.identity, records.packages, request.params.guid ?? '', 'Package');
  const write = (request: ApiRequest) =>
    access.write(request.identity, records.packages, request.params.guid ?? '', 'Package');
  const list = (request: ApiRequest, items: Stored<Package>[]) =>
    listReply(context, request, {
      items,
      present: bytes,
      filters: {
        states: (item, values) => values.includes(packageState(item)),
        types: (item, values) => values.includes(item.spec.type),
        app_guids: (item, values) => values.includes(item.spec.app),
        space_guids: (item, values) => values.includes(records.spaceOf(item)?.metadata.name ?? ''),
        organization_guids: (item, values) => values.includes(records.spaceOf(item)?.spec.organization ?? ''),
      },
      userLabels: (item) => item.spec.userMetadata?.labels ?? {},
    });
  return [
    {
      method: 'GET',
      path: '/v3/packages',
      auth: 'user',
      summary: 'List packages.',
      handle: (request) => list(request, access.visible(request.identity, records.packages.all())),
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/packages',
      auth: 'user',
      summary: 'List the packages of an app.',
      handle: (request) => list(request, records.packages.ofApp(readApp(context, request).metadata.name)),
    },
    {
      method: 'POST',
      path: '/v3/packages',
      auth: 'user',
      summary: 'Create a package: source to be uploaded (`bits`), or an image (`docker`).',
      handle: (request) => postPackage(context, request),
    },
    {
      method: 'GET',
      path: '/v3/packages/:guid',
      auth: 'user',
      summary: 'Get a package.',
      handle: async (request) => {
        read(request);
        await whenSettled(request, records.packages.informer, () => {
          const item = records.packages.get(request.params.guid ?? '');
          return item === undefined || !['PROCESSING_UPLOAD', 'COPYING'].includes(packageState(item));
        });
        return ok(present(read(request)));
      },
    },
    {
      method: 'PATCH',
      path: '/v3/packages/:guid',
      auth: 'user',
      summary: "Change a package's metadata, or the login of a docker image.",
      handle: async (request) => ok(present(await patchPackage(context, request, write(request)))),
    },
    {
      method: 'DELETE',
      path: '/v3/packages/:guid',
      auth: 'user',
      summary: 'Delete a package.',
      handle: (request) => {
        const item = write(request);
        const remove = async () => {
          await records.packages.delete(item.metadata.name);
          await dropPullSecret(context, item);
          await tell(context, request, 'audit.app.package.delete', item);
        };
        return accepted(context, context.jobs.start('package.delete', remove, { target: item.metadata.name }));
      },
    },
    {
      method: 'POST',
      path: '/v3/packages/:guid/upload',
      auth: 'user',
      summary: 'Upload the source of a package: a zip file and the files that the platform has already.',
      rawBody: true,
      handle: (request) => {
        const item = write(request);
        context.flags.require(request.identity, 'app_bits_upload');
        return upload(context, request, item);
      },
    },
    {
      method: 'GET',
      path: '/v3/packages/:guid/download',
      auth: 'user',
      summary: 'Download the source of a package as a zip file.',
      handle: async (request) => {
        const item = access.readSecrets(request.identity, records.packages, request.params.guid ?? '', 'Package');
        if (item.spec.type !== 'bits') throw unprocessable('Package type must be bits.');
        if (packageState(item) !== 'READY' || item.spec.image === undefined) {
          throw unprocessable('Package has no bits to download.');
        }
        const stream = await context.staging.bits.read(item.spec.image).catch((error: unknown) => {
          throw uploadProblem(error);
        });
        await tell(context, request, 'audit.app.package.download', item);
        return { status: 200, type: 'application/zip', stream };
      },
    },
    {
      method: 'GET',
      path: '/v3/packages/:guid/droplets',
      auth: 'user',
      summary: 'List the droplets that were made of a package.',
      handle: (request) => {
        const item = read(request);
        return listReply(context, request, {
          items: records.droplets.ofApp(item.spec.app).filter((droplet) => droplet.spec.package === item.metadata.name),
          present: (droplet) => presentDroplet(urls, droplet),
          filters: { states: (droplet, values) => values.includes(droplet.status?.state ?? 'STAGED') },
        });
      },
    },
    {
      method: 'POST',
      path: '/v3/resource_matches',
      auth: 'user',
      summary: 'Say which files need not be uploaded.',
      handle: async (request) => {
        const resources = readResources(request.body.resources, { paths: false });
        const matched = context.flags.isOn('resource_matching')
          ? await context.staging.bits.match(resources, matchedApps(context, request))
          : [];
        return created({
          resources: matched.map((resource) => ({
            checksum: { value: resource.sha1 },
            size_in_bytes: resource.sizeBytes,
            ...(resource.path === '' ? {} : { path: resource.path }),
            mode: resource.mode.toString(8),
          })),
        });
      },
    },
  ];
}

async function postPackage(context: Context, request: ApiRequest): Promise<Reply> {
  const { records, access } = context;
  const copied = request.query.get('source_guid');
  const reader = new Reader(request.body).only('type', 'relationships', 'data', 'metadata');
  const type = reader.string('type') ?? (copied === null ? undefined : 'copy');
  if (type !== 'bits' && type !== 'docker' && type !== 'copy') reader.fail("Type must be one of 'bits, docker'");
  const appGuid = reader.relationship('app', { required: true });
  const data = reader.object('data');
  const image = data?.string('image');
  const username = data?.string('username');
  const password = data?.string('password');
  if (type === 'docker' && (image === undefined || !/^[a-z0-9][a-zA-Z0-9._:/@-]{0,511}$/.test(image))) {
    reader.fail(
      `Image ${JSON.stringify(image ?? '').slice(0, 80)} must be an image reference, as in docker.io/library/nginx:1.27`,
    );
  }
  const metadata = reader.metadata();
  reader.done();
  const app = records.apps.get(appGuid ?? '');
  const space = app && records.spaceOf(app);
  if (!app || !space || !access.readsSpace(request.identity, space)) {
    throw unprocessable('App is invalid. Ensure it exists and you have access to it.');
  }
  if (!access.writesSpace(request.identity, space)) throw notAuthorized();
  const guid = randomUUID();
  if (copied !== null) return copyPackage(context, request, { app, source: copied, guid });
  const docker = type === 'docker';
  if (docker) context.flags.require(request.identity, 'diego_docker');
  if (docker !== (app.spec.lifecycle.type === 'docker')) {
    throw unprocessable(`Cannot create a ${type} package for a ${app.spec.lifecycle.type} app`);
  }
  const passwordSecret = password === undefined ? undefined : pullSecretName(guid);
  if (passwordSecret !== undefined) {
    const login = { image: image ?? '', username: username ?? '', password: password ?? '' };
    await writePullSecret(context, app, passwordSecret, login);
  }
  const item = await records.packages.create({
    metadata: packageMeta(app, guid),
    spec: {
      app: app.metadata.name,
      type: docker ? 'docker' : 'bits',
      ...(image === undefined ? {} : { image }),
      ...(docker
        ? { docker: { ...(username === undefined ? {} : { username }), ...(passwordSecret ? { passwordSecret } : {}) } }
        : {}),
      userMetadata: mergeMetadata(undefined, metadata),
    },
  });
  // Its state needs no write: without one it is what a new package has (`packageState`).
  await tell(context, request, 'audit.app.package.create', item, { request: { type } });
  return created(presentPackage(context.urls, item));
}

async function patchPackage(context: Context, request: ApiRequest, item: Stored<Package>): Promise<Stored<Package>> {
  const reader = new Reader(request.body).only('metadata', 'username', 'password');
  const metadata = reader.metadata();
  const username = reader.string('username');
  const password = reader.string('password');
  reader.done();
  const { image = '', docker = {} } = item.spec;
  const login = username !== undefined || password !== undefined;
  if (login && item.spec.type !== 'docker')
    throw unprocessable('Cannot update Docker credentials for a buildpack app.');
  const app = context.records.apps.get(item.spec.app);
  if (password !== undefined && app) {
    const name = pullSecretName(item.metadata.name);
    await writePullSecret(context, app, name, { image, username: username ?? docker.username ?? '', password });
  }
  return context.records.packages.modify(item.metadata.name, (current) => ({
    ...current,
    spec: {
      ...current.spec,
      userMetadata: mergeMetadata(current.spec.userMetadata, metadata),
      ...(login
        ? {
            docker: {
              ...current.spec.docker,
              ...(username === undefined ? {} : { username }),
              ...(password === undefined ? {} : { passwordSecret: pullSecretName(item.metadata.name) }),
            },
          }
        : {}),
    },
  }));
}

function packageMeta(app: Stored<App>, guid: string) {
  return {
    name: guid,
    namespace: app.metadata.namespace ?? '',
    labels: { [labels.app]: app.metadata.name },
    ownerReferences: ownedBy(app),
  };
}

/** A copy has bits of its own: it stays when the app that it was made from goes. */
async function copyPackage(
  context: Context,
  request: ApiRequest,
  input: { app: Stored<App>; source: string; guid: string },
): Promise<Reply> {
  const { access, records } = context;
  const { app, guid } = input;
  const source = access.read(request.identity, records.packages, input.source, 'Source package');
  access.write(request.identity, records.packages, input.source, 'Source package');
  if (source.spec.app === app.metadata.name) throw unprocessable('Source and destination app cannot be the same');
  if (packageState(source) !== 'READY') throw unprocessable('Source package is not ready to be copied.');
  const { image, type } = source.spec;
  const copied =
    type === 'docker' || image === undefined
      ? image
      : await context.staging.bits.copy({ image, app: app.metadata.name }).catch((error: unknown) => {
          throw uploadProblem(error);
        });
  const item = await records.packages.create({
    metadata: packageMeta(app, guid),
    // The login of a docker image is not handed on.
    spec: { app: app.metadata.name, type, ...(copied === undefined ? {} : { image: copied }) },
  });
  const ready = await records.packages.modifyStatus(guid, (current) => ({
    ...current,
    status: { ...source.status, state: 'READY' },
  }));
  await tell(context, request, 'audit.app.package.create', item, {
    request: { source_package_guid: source.metadata.name },
  });
  return created(presentPackage(context.urls, ready));
}

async function tell(
  context: Context,
  request: ApiRequest,
  type: string,
  item: Stored<Package>,
  data: Record<string, unknown> = {},
): Promise<void> {
  const app = context.records.apps.get(item.spec.app);
  if (app) await record(context, request.identity, app, type, { package_guid: item.metadata.name, ...data });
}

async function upload(context: Context, request: ApiRequest, item: Stored<Package>): Promise<Reply> {
  if (item.spec.type !== 'bits') throw unprocessable('Package type must be bits.');
  if (packageState(item) !== 'AWAITING_UPLOAD') {
    throw new CloudFoundryError(
      'PackageBitsAlreadyUploaded',
      'Bits may be uploaded only once. Create a new package to upload different bits.',
    );
  }
  await using received = await receiveUpload(request.raw, {
    directory: context.temporaryDirectory,
    fileFields: ['bits', 'application'],
    signal: request.signal,
  });
  const resources = readResources(parseResources(received.fields.get('resources')), { paths: true });
  if (received.file === undefined && resources.length === 0) {
    throw unprocessable('Upload must include either resources or bits');
  }
  const { records } = context;
  try {
    const stored = await context.staging.bits.store({
      app: item.spec.app,
      resources,
      sources: matchedApps(context, request),
      ...(received.file === undefined ? {} : { zip: received.file }),
    });
    await records.packages.modify(item.metadata.name, (current) => ({
      ...current,
      spec: { ...current.spec, image: stored.image },
    }));
    const status = { state: 'READY' as const, checksum: stored.checksum, sizeBytes: stored.sizeBytes };
    const [ready] = await Promise.all([
      records.packages.modifyStatus(item.metadata.name, (current) => ({ ...current, status })),
      tell(context, request, 'audit.app.package.upload', item, { size_in_bytes: stored.sizeBytes }),
    ]);
    return ok(presentPackage(context.urls, ready));
  } catch (error) {
    if (!(error instanceof StagingError)) throw error;
    await records.packages.modifyStatus(item.metadata.name, (current) => ({
      ...current,
      status: { state: 'FAILED', error: error.message },
    }));
    throw uploadProblem(error);
  }
}

/** Whose files need not be sent again: those of apps whose source the caller may read. */
function matchedApps({ access, records }: Context, { identity }: ApiRequest): string[] {
  return access
    .visible(identity, records.apps.all())
    .filter((app) => {
      const space = records.spaceOf(app);
      return space !== undefined && access.readsSecrets(identity, space);
    })
    .map((app) => app.metadata.name);
}
