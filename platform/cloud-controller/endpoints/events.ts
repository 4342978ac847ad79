import { type Context, type Endpoint, ok } from '../api.ts';
import { notFound } from '../errors.ts';
import { listReply } from '../listing.ts';
import { presentAuditEvent } from '../present/routes.ts';
import { presented } from '../presented.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { AuditEvent } from '../../resources/event-types.ts';

export function eventEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const bytes = presented<AuditEvent>((event) => presentAuditEvent(urls, event));
  const visible = (identity: Identity, event: Stored<AuditEvent>): boolean => {
    const space = records.spaces.get(event.spec.space ?? '');
    if (space) return access.readsSpace(identity, space);
    return event.spec.organization === undefined
      ? identity.reads !== 'own'
      : identity.reads !== 'own' || access.isManagerOf(identity, event.spec.organization);
  };
  return [
    {
      method: 'GET',
      path: '/v3/audit_events',
      auth: 'user',
      summary: 'List what was done and what happened, for 31 days.',
      handle: (request) => {
        // The commonest question is about one app: its events are found by an index.
        const targets = request.query.get('target_guids')?.split(',');
        const candidates =
          targets === undefined || targets.some((guid) => records.apps.get(guid) === undefined)
            ? records.auditEvents.all()
            : targets.flatMap((guid) => records.auditEvents.ofApp(guid));
        return listReply(context, request, {
          items: candidates.filter((event) => visible(request.identity, event)),
          present: bytes,
          filters: {
            types: (item, values) => values.includes(item.spec.type),
            target_guids: (item, values) => values.includes(item.spec.target.guid),
            'target_guids[not]': (item, values) => !values.includes(item.spec.target.guid),
            space_guids: (item, values) => values.includes(item.spec.space ?? ''),
            organization_guids: (item, values) => values.includes(item.spec.organization ?? ''),
          },
        });
      },
    },
    {
      method: 'GET',
      path: '/v3/audit_events/:guid',
      auth: 'user',
      summary: 'Get an audit event.',
      handle: (request) => {
        const event = records.auditEvents.get(request.params.guid ?? '');
        if (!event || !visible(request.identity, event)) throw notFound('Event');
        return ok(presentAuditEvent(urls, event));
      },
    },
  ];
}
