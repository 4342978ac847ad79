/**
 * Lists of Cloud Foundry's API with 10,000 routes and 1,000 apps, pages of every size that clients ask for, over HTTP with a token, one after another. Client:
 * fetch. The API server, the cloud controller and UAA are the real ones, in this process.
 */
import { type TestCloud, startTestCloud } from '#platform/cloud-controller/cloud.fixture.ts';
import { apps, labels, routes, spaces } from '#platform/resources/types.ts';
import { percentile, type Row } from './row.ts';

const APPS = 1000;
const ROUTES = 10_000;
const ROUNDS = 200;
const AT_ONCE = 32;

const PATHS = [
  '/v3/routes',
  '/v3/routes?per_page=5000',
  '/v3/routes?per_page=5000&include=domain,space.organization',
  '/v3/routes?per_page=5000&page=2&order_by=-created_at',
  '/v3/routes?hosts=route-77&include=domain',
  '/v3/apps',
  '/v3/apps?per_page=5000&include=space.organization',
  '/v3/apps?names=app-77',
];

async function fill({ json, plane, informers }: TestCloud): Promise<void> {
  const first = async (path: string) => ((await json('GET', path)).resources as { guid: string; name: string }[])[0];
  const [space, domain] = [await first('/v3/spaces'), await first('/v3/domains?names=apps.test')];
  const namespace = informers.of(spaces).list()[0]?.spec.namespace ?? '';
  const guidOf = (kind: number, number: number): string =>
    `0000000${kind}-0000-4000-8000-${String(number).padStart(12, '0')}`;
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
}

export async function run(): Promise<Row[]> {
  const cloud = await startTestCloud();
  try {
    await fill(cloud);
    await cloud.until('all are known', async () => {
      const { pagination } = await cloud.json('GET', '/v3/routes?per_page=1');
      return (pagination as { total_results: number }).total_results === ROUTES;
    });
    const rows: Row[] = [];
    for (const path of PATHS) {
      const times: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const began = performance.now();
        const response = await fetch(`${cloud.url}${path}`, { headers: { authorization: `bearer ${cloud.token}` } });
        await response.arrayBuffer();
        if (response.status !== 200) throw new Error(`${path}: ${response.status}`);
        times.push(performance.now() - began);
      }
      rows.push({
        what: `GET ${path}, p99 of ${ROUNDS}`,
        unit: 'ms',
        ours: percentile(times, 0.99),
        goal: 'at most 100 ms',
      });
    }
    return rows;
  } finally {
    await cloud.close();
  }
}
