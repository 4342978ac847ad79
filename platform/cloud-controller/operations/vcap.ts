/** `VCAP_APPLICATION` as `/v3/apps/:guid/env` shows it; the instances' own has the process and limits besides. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { App } from '../../resources/types.ts';
import type { Context, Json } from '../api.ts';
import { routeUrl } from '../present/routes.ts';

export function vcapApplication(context: Context, app: Stored<App>): Json {
  const space = context.records.spaceOf(app);
  const organization = context.records.organizations.get(space?.spec.organization ?? '');
  const uris = context.records.routes.ofApp(app.metadata.name).map((route) => routeUrl(route));
  return {
    cf_api: context.urls.api,
    limits: { fds: 16_384 },
    application_id: app.metadata.name,
    application_name: app.spec.displayName,
    name: app.spec.displayName,
    application_uris: uris,
    uris,
    space_id: space?.metadata.name ?? '',
    space_name: space?.spec.displayName ?? '',
    organization_id: space?.spec.organization ?? '',
    organization_name: organization?.spec.displayName ?? '',
    users: null,
  };
}
