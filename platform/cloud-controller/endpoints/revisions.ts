import type { Stored } from '#cluster/kinds/kind.ts';
import { isActive } from '../../resources/deployments.ts';
import type { Revision } from '../../resources/types.ts';
import { type ApiRequest, type Context, type Endpoint, type Json, ok } from '../api.ts';
import { notFound } from '../errors.ts';
import { listReply } from '../listing.ts';
import { isVersion, record } from '../operations/app-lifecycle.ts';
import { readEnvironment } from '../operations/environment.ts';
import { changeMetadata } from '../operations/metadata.ts';
import { presentRevision } from '../present/apps.ts';
import { link } from '../present/base.ts';
import { readApp } from './apps.ts';

export function revisionEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const present = (revision: Stored<Revision>): Json =>
    presentRevision(urls, {
      ...revision,
      spec: {
        ...revision.spec,
        deployable: revision.spec.deployable && records.droplets.get(revision.spec.droplet) !== undefined,
      },
    });
  const list = (request: ApiRequest, items: Stored<Revision>[]) =>
    listReply(context, request, {
      items: items.filter(isVersion),
      present,
      filters: {
        versions: (item, values) => values.includes(String(item.spec.version)),
        deployable: (item, values) => values.includes(String(present(item)['deployable'])),
      },
      orders: { version: (item) => item.spec.version },
      userLabels: (item) => item.spec.userMetadata?.labels ?? {},
    });
  const shown = (revision: Stored<Revision>): Stored<Revision> => {
    if (!isVersion(revision)) throw notFound('Revision');
    return revision;
  };
  const read = (request: ApiRequest) =>
    shown(access.read(request.identity, records.revisions, request.params.guid ?? '', 'Revision'));
  return [
    {
      method: 'GET',
      path: '/v3/apps/:guid/revisions',
      auth: 'user',
      summary: 'List the revisions of an app.',
      handle: (request) => list(request, records.revisions.ofApp(readApp(context, request).metadata.name)),
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/revisions/deployed',
      auth: 'user',
      summary: 'List the revisions of an app that run.',
      handle: (request) => {
        const app = readApp(context, request);
        const running = new Set<string>();
        if (app.spec.state === 'STARTED' && app.spec.currentRevision) running.add(app.spec.currentRevision);
        for (const deployment of records.deployments.ofApp(app.metadata.name)) {
          if (isActive(deployment) && deployment.spec.revision) running.add(deployment.spec.revision);
        }
        return list(
          request,
          records.revisions.ofApp(app.metadata.name).filter((revision) => running.has(revision.metadata.name)),
        );
      },
    },
    {
      method: 'GET',
      path: '/v3/revisions/:guid',
      auth: 'user',
      summary: 'Get a revision.',
      handle: (request) => ok(present(read(request))),
    },
    {
      method: 'PATCH',
      path: '/v3/revisions/:guid',
      auth: 'user',
      summary: "Change a revision's metadata.",
      handle: async (request) => {
        const { name } = read(request).metadata;
        const revision = access.write(request.identity, records.revisions, name, 'Revision');
        const changed = await changeMetadata(records.revisions, revision, request.body);
        return ok(present(changed));
      },
    },
    {
      method: 'GET',
      path: '/v3/revisions/:guid/environment_variables',
      auth: 'user',
      summary: 'Get the environment variables that a revision ran with.',
      handle: async (request) => {
        const { name } = read(request).metadata;
        const revision = access.readSecrets(request.identity, records.revisions, name, 'Revision');
        if (!revision.metadata.namespace) throw notFound('Revision');
        const self = `${urls.api}/v3/revisions/${revision.metadata.name}`;
        const app = records.apps.get(revision.spec.app);
        const told = { revision_guid: revision.metadata.name, revision_version: revision.spec.version };
        if (app) await record(context, request.identity, app, 'audit.app.revision.environment_variables.show', told);
        return ok({
          var: await readEnvironment(context.client, revision.metadata.namespace, revision.metadata.name),
          links: {
            self: link(`${self}/environment_variables`),
            revision: link(self),
            app: link(`${urls.api}/v3/apps/${revision.spec.app}`),
          },
        });
      },
    },
  ];
}
