/** Controllers that are killed after every few of their writes, and begin again from what is stored: they come to the same end. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, createNode, startControlPlane, until } from '#testing/control-plane.ts';
import { playJobs } from '#testing/play-jobs.ts';
import type { Client } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { controllerRevisions, daemonSets, jobs, pods, statefulSets } from '../kinds/resources.ts';
import { startScheduler } from '../scheduler/start.ts';
import { createDaemonSetController } from './daemon-set.ts';
import { createJobController } from './job.ts';
import { startControllers } from './run.ts';
import { createStatefulSetController } from './stateful-set.ts';

const writes = new Set(['create', 'update', 'updateStatus', 'patch', 'delete']);

/** A client that carries out so many writes, and whose process is dead from then on: it does not learn of the last one. */
function mortal(client: Client, lifetime: number): { client: Client; died: Promise<void> } {
  const { promise: died, resolve: die } = Promise.withResolvers<void>();
  let left = lifetime;
  const wrapped = new Proxy(client, {
    get(target, name, receiver) {
      const method: unknown = Reflect.get(target, name, receiver);
      if (typeof method !== 'function' || !writes.has(String(name))) return method;
      return async (...args: unknown[]) => {
        if (left <= 0) throw new Error('killed before this write');
        left--;
        const last = left === 0;
        try {
          const result: unknown = await Reflect.apply(method, target, args);
          if (!last) return result;
        } finally {
          // Also where it was refused.
          if (last) die();
        }
        throw new Error('killed after this write');
      };
    },
  });
  return { client: wrapped, died };
}

describe('controllers that are killed again and again', () => {
  let plane: ControlPlane;
  const stops: (() => unknown)[] = [];
  before(async () => {
    plane = await startControlPlane();
    const stopNodes = playJobs(plane.client, ({ spec }) =>
      spec?.containers[0]?.image === 'ends' ? { code: 0 } : undefined,
    );
    const scheduler = await startScheduler(plane.context);
    stops.push(stopNodes, () => scheduler.close());
    for (const name of ['a', 'b', 'c']) await createNode(plane.client, name);
  });
  after(async () => {
    for (const stop of stops) await stop();
    await plane.close();
  });

  /** Lives of one to four writes, until it has come to what is waited for. Returns how many there were. */
  async function live(end: Promise<unknown>): Promise<number> {
    let ended = false;
    const watched = end.finally(() => {
      ended = true;
    });
    for (let life = 1; ; life++) {
      const { client, died } = mortal(plane.client, 1 + (life % 4));
      const controllers = [createJobController(), createStatefulSetController(), createDaemonSetController()];
      const running = await startControllers(controllers, { ...plane.context, client, log: () => undefined });
      await Promise.race([died, watched]);
      await running.close();
      if (ended) return life;
    }
  }

  const template = (image: string, labels = {}) => ({
    metadata: { labels },
    spec: { containers: [{ name: 'main', image }] },
  });

  it('count every pod of a job once', async () => {
    const namespace = await plane.namespace('job');
    const { spec } = template('ends');
    await plane.client.create(jobs, {
      metadata: { name: 'all', namespace },
      spec: { completions: 8, parallelism: 3, template: { spec: { ...spec, restartPolicy: 'Never' } } },
    });
    const end = until(plane.client, jobs, namespace, ([one]) =>
      Boolean(one?.status?.conditions?.some(({ type }) => type === 'Complete')),
    );
    const lives = await live(end);
    assert.ok(lives > 5, `${lives} lives`);
    const [job] = await end;
    const made = (await plane.client.list(pods, { namespace })).items;
    assert.deepEqual([job?.status?.succeeded, job?.status?.failed, made.length], [8, undefined, 8]);
    assert.ok(made.every(({ metadata }) => metadata.finalizers === undefined));
  });

  for (const resource of [statefulSets, daemonSets]) {
    it(`bring every pod of a ${resource.kind} to its template, and keep one revision of each`, async () => {
      const namespace = await plane.namespace(resource.resource);
      const labels = { app: 'set' };
      const size = resource.kind === 'StatefulSet' ? { replicas: 3, serviceName: 'set' } : {};
      const spec = { selector: { matchLabels: labels }, ...size };
      const path = `/apis/apps/v1/namespaces/${namespace}/${resource.resource}`;
      const put = (image: string, method: string, name = '') =>
        plane.client.request<Stored<{ metadata: object }>>({
          method,
          path: path + name,
          body: { metadata: { name: 'set', namespace }, spec: { ...spec, template: template(image, labels) } },
        });
      const allOf = (image: string) =>
        until(
          plane.client,
          pods,
          namespace,
          (list) =>
            list.length === 3 &&
            list.every(
              (pod) =>
                pod.spec?.containers[0]?.image === image &&
                pod.metadata.deletionTimestamp === undefined &&
                pod.status?.phase === 'Running',
            ),
        );
      await put('one', 'POST');
      await live(allOf('one'));
      await put('two', 'PUT', '/set');
      await live(allOf('two'));
      const revisions = (await plane.client.list(controllerRevisions, { namespace })).items;
      assert.deepEqual(revisions.map(({ revision }) => revision).sort(), [1, 2]);
    });
  }
});
