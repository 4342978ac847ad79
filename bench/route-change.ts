/**
 * How long a route takes to serve: from the call that adds it to the router to its first 200, one after another, with 10,000 routes,
 * while another route is loaded.
 */
import { APPS, get, HOST, type RouterBed, withRouter, wrk } from './router-bed.ts';
import { percentile, type Row } from './row.ts';

const CHANGES = 1000;

async function changeRoutes({ router, table }: RouterBed): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < CHANGES; index++) {
    const host = `new-${index}.bench.test`;
    const began = performance.now();
    const route = { host, path: '/', backend: `app-${index % APPS}`, id: host };
    await router.apply({ ...table, routes: [...table.routes, route] });
    const status = await get(router.ports().http, host);
    if (status !== 200) throw new Error(`${host} answered ${status}`);
    times.push(performance.now() - began);
  }
  return times;
}

export async function run(): Promise<Row[]> {
  return withRouter(async (bed) => {
    let changing = true;
    const load = async (): Promise<number> => {
      let failed = 0;
      while (changing) failed += (await wrk(bed.router.ports().http, HOST, 5)).failed;
      return failed;
    };
    const changes = changeRoutes(bed).finally(() => (changing = false));
    const [times, failed] = await Promise.all([changes, load()]);
    if (failed > 0) throw new Error(`${failed} requests of the load failed`);
    return [
      {
        what: `route added to its first 200, under load, p99 of ${CHANGES}`,
        unit: 'ms',
        ours: percentile(times, 0.99),
        goal: 'at most 100 ms, none failed',
      },
    ];
  });
}
