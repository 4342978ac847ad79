/**
 * Lists of Cloud Foundry's API with 10,000 routes, 1,000 apps, their processes and 1,000 service instances, pages of every size that
 * clients ask for, as an administrator and as a developer of the space, over HTTP with a token, one after another. Client: node:http
 * over one kept connection, which reads the answer and throws it away. The API server, the cloud controller, UAA and the client share
 * this process.
 */
import { Agent, request } from 'node:http';
import { type TestCloud, startTestCloud } from '#platform/cloud-controller/cloud.fixture.ts';
import { putUser } from '#platform/uaa/users.ts';
import { fill } from './many-routes.ts';
import { percentile, type Row } from './row.ts';

const ROUNDS = 200;

/** Of a developer of the space, who sees it all by a role. */
const DEVELOPER = { name: 'bench-developer', secret: 'secret' };
const DEVELOPERS_PATHS = ['/v3/routes', '/v3/routes?per_page=5000', '/v3/apps?per_page=5000'];

const PATHS = [
  '/v3/routes',
  '/v3/routes?per_page=5000',
  '/v3/routes?per_page=5000&include=domain,space.organization',
  '/v3/routes?per_page=5000&page=2&order_by=-created_at',
  '/v3/routes?hosts=route-77&include=domain',
  '/v3/apps',
  '/v3/apps?per_page=5000&include=space.organization',
  '/v3/apps?names=app-77',
  '/v3/processes?per_page=5000',
  '/v3/service_instances?per_page=5000',
];

/** With the roles that a developer has. */
async function makeDeveloper({ json, plane }: TestCloud): Promise<void> {
  const guid = await putUser(plane.client, { username: DEVELOPER.name, password: DEVELOPER.secret, groups: [] });
  const first = async (path: string) => ((await json('GET', path)).resources as { guid: string }[])[0]?.guid;
  const grant = async (type: string, place: string, path: string) =>
    json('POST', '/v3/roles', {
      type,
      relationships: { user: { data: { guid } }, [place]: { data: { guid: await first(path) } } },
    });
  await grant('organization_user', 'organization', '/v3/organizations');
  await grant('space_developer', 'space', '/v3/spaces');
}

function read(url: string, token: string, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent, headers: { authorization: `bearer ${token}` } }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`${url}: ${response.statusCode}`));
      response.resume().once('end', resolve).once('error', reject);
    });
    sent.once('error', reject).end();
  });
}

async function measure(cloud: TestCloud, path: string, who: { name: string; secret: string }): Promise<number> {
  const token = String((await cloud.login(who.name, who.secret)).body.access_token);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now();
    await read(`${cloud.url}${path}`, token, agent);
    times.push(performance.now() - began);
  }
  agent.destroy();
  return percentile(times, 0.99);
}

export async function run(): Promise<Row[]> {
  const cloud = await startTestCloud();
  try {
    await fill(cloud);
    await makeDeveloper(cloud);
    const rows: Row[] = [];
    const add = async (path: string, who: { name: string; secret: string }, as: string): Promise<void> => {
      rows.push({
        what: `GET ${path}${as}, p99 of ${ROUNDS}`,
        unit: 'ms',
        ours: await measure(cloud, path, who),
        goal: 'at most 100 ms',
      });
    };
    for (const path of PATHS) await add(path, { name: 'admin', secret: cloud.password }, '');
    for (const path of DEVELOPERS_PATHS) await add(path, DEVELOPER, ' as a developer');
    return rows;
  } finally {
    await cloud.close();
  }
}
