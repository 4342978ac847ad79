/** What benches of a large platform begin with: 10,000 routes to 1,000 apps, their processes, and 1,000 service instances. */
import type { TestCloud } from '#platform/cloud-controller/cloud.fixture.ts';
import { serviceInstances } from '#platform/resources/service-types.ts';
import { apps, labels, processes, routes, spaces } from '#platform/resources/types.ts';

const APPS = 1000;
const ROUTES = 10_000;
const AT_ONCE = 32;

/** Resolves when the cloud controller knows all of them. */
export async function fill({ json, plane, informers, until }: TestCloud): Promise<void> {
  const first = async (path: string) => ((await json('GET', path)).resources as { guid: string; name: string }[])[0];
  const [space, domain] = [await first('/v3/spaces'), await first('/v3/domains?names=apps.test')];
  const namespace = informers.of(spaces).list()[0]?.spec.namespace ?? '';
  const make = async (count: number, create: (number: number) => Promise<unknown>): Promise<void> => {
    for (let number = 0; number < count; number += AT_ONCE)
      await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - number) }, (_, more) => create(number + more)));
  };
  await make(APPS, (number) =>
    plane.client.create(apps, {
      metadata: { name: guidOf(1, number), namespace, labels: { [labels.space]: space?.guid ?? '' } },
      spec: {
        displayName: `app-${number}`,
        state: 'STOPPED',
        lifecycle: { type: 'buildpack', buildpacks: [], stack: 'sampan' },
        generation: 1,
      },
    }),
  );
  await make(APPS, (number) =>
    plane.client.create(processes, {
      metadata: { name: guidOf(1, number), namespace, labels: { [labels.app]: guidOf(1, number) } },
      spec: {
        app: guidOf(1, number),
        type: 'web',
        instances: 1,
        memoryMb: 256,
        diskMb: 1024,
        healthCheck: { type: 'port' },
        readinessCheck: { type: 'process' },
        logRateLimitBytes: -1,
      },
    }),
  );
  await make(APPS, (number) =>
    plane.client.create(serviceInstances, {
      metadata: { name: guidOf(4, number), namespace, labels: { [labels.space]: space?.guid ?? '' } },
      spec: { displayName: `service-${number}`, tags: ['bench'] },
    }),
  );
  await make(ROUTES, (number) =>
    plane.client.create(routes, {
      metadata: { name: guidOf(2, number), namespace, labels: { [labels.space]: space?.guid ?? '' } },
      spec: {
        domain: domain?.guid ?? '',
        domainName: 'apps.test',
        host: `route-${number}`,
        path: '',
        protocol: 'http',
        destinations: [
          { guid: guidOf(3, number), app: guidOf(1, number % APPS), processType: 'web', protocol: 'http1' },
        ],
      },
    }),
  );
  await until('all are known', async () => {
    const { pagination } = await json('GET', '/v3/routes?per_page=1');
    return (pagination as { total_results: number }).total_results === ROUTES;
  });
}

export function guidOf(kind: number, number: number): string {
  return `0000000${kind}-0000-4000-8000-${String(number).padStart(12, '0')}`;
}
