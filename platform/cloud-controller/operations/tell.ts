/** Audit events of requests about organizations, spaces, quotas and the like; those about apps are made by `record`. */
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Space } from '../../resources/types.ts';
import type { ApiRequest, Context } from '../api.ts';

interface Told {
  /** `audit.space.update` … */
  type: string;
  /** What it is called in events: `space`, `organization_quota`. */
  kind: string;
  object: Stored<ClientObject & { spec: { displayName: string } }>;
  space?: Stored<Space> | undefined;
  organization?: string;
  /** Default: what was asked. */
  data?: Record<string, unknown>;
}

export async function tell(context: Context, request: ApiRequest, told: Told): Promise<void> {
  const { type, kind, object, space, organization, data } = told;
  await context.audit.record({
    type,
    actor: request.identity,
    target: { guid: object.metadata.name, type: kind, name: object.spec.displayName },
    ...(space === undefined ? {} : { space }),
    ...(organization === undefined ? {} : { organization }),
    data: data ?? { request: request.body },
  });
}
