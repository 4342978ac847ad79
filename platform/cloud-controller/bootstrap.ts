/** What is there from the first boot on, and what a crash left half-done: both run at every start. */
import { annotations } from '../resources/types.ts';
import type { Identity } from '../uaa/uaa.ts';
import type { Context } from './api.ts';
import { createDomain } from './endpoints/domains.ts';
import { ensureSharedSegment } from './endpoints/isolation-segments.ts';
import { createOrganization } from './endpoints/organizations.ts';
import { ensureDefaultQuota } from './endpoints/quotas.ts';
import { deleteOrganization, deleteSpace } from './operations/deletions.ts';
import { movedRoute } from './operations/route-sharing.ts';
import { ensureDefaultGroups } from './operations/security-groups.ts';
import { createSpace } from './operations/space-create.ts';

const PLATFORM: Identity = {
  userId: 'platform',
  userName: 'platform',
  clientId: '',
  origin: 'uaa',
  scopes: [],
  admin: true,
  reads: 'all',
};

/** Of routes from app to app. There is one at least. */
const INTERNAL_DOMAIN = 'apps.internal';

export async function ensureDefaults(
  context: Context,
  names: { organization: string; space: string },
): Promise<{ organization: string; space: string }> {
  const { records } = context;
  await ensureDefaultQuota(context);
  await ensureSharedSegment(context);
  await ensureDefaultGroups(context);
  if (!records.domains.all().some((domain) => domain.spec.displayName === context.domain)) {
    await createDomain(context, { name: context.domain });
  }
  if (!records.domains.all().some((domain) => domain.spec.internal)) {
    await createDomain(context, { name: INTERNAL_DOMAIN, internal: true });
  }
  const named = (name: string) => (item: { spec: { displayName: string } }) => item.spec.displayName === name;
  const organization =
    records.organizations.all().find(named(names.organization)) ??
    (await createOrganization(context, names.organization));
  const space =
    records.spaces
      .all()
      .filter((item) => item.spec.organization === organization.metadata.name)
      .find(named(names.space)) ?? (await createSpace(context, { organization, name: names.space }));
  return { organization: organization.metadata.name, space: space.metadata.name };
}

/** Moves of routes that a restart, or a cluster that did not answer, interrupted go on. */
export async function resumeMoves(context: Context): Promise<void> {
  try {
    await context.records.routes.finishMoves(movedRoute(context));
  } catch (error) {
    context.log('warn', 'A route could not be moved to the space that it was on its way to', { error });
  }
}

/** Deletions that a restart interrupted go on. */
export async function resumeDeletions(context: Context): Promise<void> {
  const deleting = (item: { metadata: { annotations?: Record<string, string> } }) =>
    item.metadata.annotations?.[annotations.deleting] !== undefined;
  for (const organization of context.records.organizations.all().filter(deleting)) {
    context.jobs.start('organization.delete', () => deleteOrganization(context, PLATFORM, organization), {
      target: organization.metadata.name,
    });
  }
  for (const space of context.records.spaces.all().filter(deleting)) {
    context.jobs.start('space.delete', () => deleteSpace(context, PLATFORM, space), { target: space.metadata.name });
  }
}
