/** What the platform says of itself. */
import { type Context, type Endpoint, ok } from '../api.ts';
import { notAuthorized } from '../errors.ts';
import { listReply } from '../listing.ts';
import { presentApp } from '../present/apps.ts';
import { link } from '../present/base.ts';
import { usageSummary } from '../present/usage.ts';
import { findStack, stackEndpoints } from './stacks.ts';

export function platformEndpoints(context: Context): Endpoint[] {
  const { urls, records, access } = context;
  return [
    ...stackEndpoints(context),
    {
      method: 'GET',
      path: '/v3/stacks/:guid/apps',
      auth: 'user',
      summary: 'List the apps on a stack.',
      handle: (request) => {
        const found = findStack(context, request.params.guid);
        const apps = records.apps
          .all()
          .filter(({ spec }) => spec.lifecycle.type !== 'docker' && spec.lifecycle.stack === found.name);
        return listReply(context, request, {
          items: access.visible(request.identity, apps),
          present: (app) => presentApp(urls, app, records.spaceOf(app)?.metadata.name ?? ''),
          filters: { names: (item, values) => values.includes(item.spec.displayName) },
          userLabels: (item) => item.spec.userMetadata?.labels ?? {},
        });
      },
    },
    {
      method: 'GET',
      path: '/v3/info/usage_summary',
      auth: 'user',
      summary: 'Get how much of everything is used, for administrators and global auditors.',
      handle: (request) => {
        if (request.identity.reads === 'own') throw notAuthorized();
        const domains = records.domains.all().filter(({ spec }) => spec.organization !== undefined);
        return ok({
          usage_summary: usageSummary(context, records.spaces.all(), domains.length),
          links: { self: link(`${urls.api}/v3/info/usage_summary`) },
        });
      },
    },
  ];
}
