/** Quotas in Cloud Foundry's JSON, both ways: which of its fields is which limit. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { OrganizationQuota, QuotaLimits, SpaceQuota } from '../../resources/types.ts';
import type { Json, Urls } from '../api.ts';
import type { Reader } from '../validate.ts';
import { base, link, toOne } from './base.ts';

type Amount = Exclude<keyof QuotaLimits, 'paidServices'>;

const FIELDS: Record<'apps' | 'services' | 'routes' | 'domains', Record<string, Amount>> = {
  apps: {
    total_memory_in_mb: 'memoryMb',
    per_process_memory_in_mb: 'processMemoryMb',
    total_instances: 'instances',
    per_app_tasks: 'tasksPerApp',
    log_rate_limit_in_bytes_per_second: 'logRateBytes',
  },
  services: { total_service_instances: 'serviceInstances', total_service_keys: 'serviceKeys' },
  routes: { total_routes: 'routes', total_reserved_ports: 'reservedPorts' },
  domains: { total_domains: 'domains' },
};

const PAID = 'paid_services_allowed';

export type QuotaScope = 'organization' | 'space';

/** Domains belong to organizations. */
export function sectionsOf(scope: QuotaScope): (keyof typeof FIELDS)[] {
  return scope === 'organization' ? ['apps', 'services', 'routes', 'domains'] : ['apps', 'services', 'routes'];
}

/** Null lifts a limit; what is absent stays. Mistakes go to the reader. */
export function readLimits(reader: Reader, scope: QuotaScope, current: QuotaLimits): QuotaLimits {
  const limits = { ...current };
  for (const section of sectionsOf(scope)) {
    const fields = FIELDS[section];
    const part = reader.object(section)?.only(...Object.keys(fields), ...(section === 'services' ? [PAID] : []));
    for (const [field, limit] of Object.entries(fields)) {
      if (!part?.has(field)) continue;
      limits[limit] = part.integer(field, { min: 0, max: Number.MAX_SAFE_INTEGER }) ?? null;
    }
    if (section === 'services') limits.paidServices = part?.boolean(PAID) ?? limits.paidServices;
  }
  const { routes, reservedPorts } = limits;
  if (routes !== null && reservedPorts !== null && reservedPorts > routes)
    reader.fail(`Total reserved ports must be less than or equal to total routes, which are ${routes}`);
  return limits;
}

function presentLimits(scope: QuotaScope, limits: QuotaLimits): Json {
  return Object.fromEntries(
    sectionsOf(scope).map((section) => [
      section,
      {
        ...(section === 'services' ? { [PAID]: limits.paidServices } : {}),
        ...Object.fromEntries(Object.entries(FIELDS[section]).map(([field, limit]) => [field, limits[limit]])),
      },
    ]),
  );
}

export function presentOrganizationQuota(urls: Urls, quota: Stored<OrganizationQuota>, organizations: string[]): Json {
  return {
    ...base(quota),
    name: quota.spec.displayName,
    ...presentLimits('organization', quota.spec.limits),
    relationships: { organizations: toMany(organizations) },
    links: { self: link(`${urls.api}/v3/organization_quotas/${quota.metadata.name}`) },
  };
}

export function presentSpaceQuota(urls: Urls, quota: Stored<SpaceQuota>, spaces: string[]): Json {
  const { organization } = quota.spec;
  return {
    ...base(quota),
    name: quota.spec.displayName,
    ...presentLimits('space', quota.spec.limits),
    relationships: { organization: toOne(organization), spaces: toMany(spaces) },
    links: {
      self: link(`${urls.api}/v3/space_quotas/${quota.metadata.name}`),
      organization: link(`${urls.api}/v3/organizations/${organization}`),
    },
  };
}

export function toMany(guids: string[]): Json {
  return { data: guids.map((guid) => ({ guid })) };
}
