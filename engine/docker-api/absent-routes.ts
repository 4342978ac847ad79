/**
 * Swarm and plugins, which are not there. What only asks is answered as dockerd answers where no swarm is: the same status and
 * words, so that tools which know that go on working.
 */
import { answerJson, type Call } from './call.ts';
import { DockerError } from './errors.ts';
import type { Route } from './route.ts';

const NO_MANAGER =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';
const NO_SWARM = 'This node is not part of a swarm';
const INSTEAD = 'swarm mode is not there: run several machines with the cluster plank, which kubectl drives';
const NO_PLUGINS = 'plugins are not supported by this engine';
const TEST = 'engine/docker-api/system.test.ts';

const refusing =
  (status: number, message: string) =>
  async ({ path }: Call): Promise<void> => {
    throw new DockerError(status, message.replace('{name}', path['name'] ?? ''));
  };

function absent(lines: string, note: string, handle: (call: Call) => Promise<void>): Route[] {
  return lines
    .trim()
    .split(/,\s*/)
    .map((line): Route => {
      const [method = '', path = ''] = line.split(' ');
      return { method, path, handle, state: 'absent', note, test: TEST };
    });
}

const MANAGED = `
GET /nodes, GET /nodes/{id}, DELETE /nodes/{id}, POST /nodes/{id}/update, GET /swarm, POST /swarm/update,
GET /swarm/unlockkey, GET /services, POST /services/create, GET /services/{id}, DELETE /services/{id},
POST /services/{id}/update, GET /services/{id}/logs, GET /tasks, GET /tasks/{id}, GET /tasks/{id}/logs, GET /secrets,
POST /secrets/create, GET /secrets/{id}, DELETE /secrets/{id}, POST /secrets/{id}/update, GET /configs,
POST /configs/create, GET /configs/{id}, DELETE /configs/{id}, POST /configs/{id}/update`;

export const ABSENT_ROUTES: readonly Route[] = [
  ...absent(MANAGED, 'no swarm: 503 as dockerd says it outside of one', refusing(503, NO_MANAGER)),
  ...absent('POST /swarm/leave', 'no swarm: 503 as dockerd says it outside of one', refusing(503, NO_SWARM)),
  ...absent(
    'POST /swarm/init, POST /swarm/join',
    'no swarm: the cluster plank is there for that',
    refusing(501, INSTEAD),
  ),
  ...absent('POST /swarm/unlock', 'no swarm: 409 as dockerd says it', refusing(409, 'swarm is not locked')),
  ...absent(
    'PUT /volumes/{name}',
    'volumes of a swarm only: 503 as dockerd says it',
    refusing(503, 'volume update only valid for cluster volumes, but swarm is unavailable'),
  ),
  {
    method: 'GET',
    path: '/plugins',
    summary: 'An empty list',
    handle: async (call) => answerJson(call, []),
    state: 'partial',
    note: 'there are no plugins, so the list is empty',
    test: TEST,
  },
  ...absent(
    'GET /plugins/privileges, POST /plugins/pull, POST /plugins/create',
    'no plugins',
    refusing(501, NO_PLUGINS),
  ),
  ...absent(
    `GET /plugins/{name}/json, DELETE /plugins/{name}, POST /plugins/{name}/enable, POST /plugins/{name}/disable,
POST /plugins/{name}/upgrade, POST /plugins/{name}/push, POST /plugins/{name}/set`,
    'no plugins: none has that name',
    refusing(404, 'plugin "{name}" not found'),
  ),
];
