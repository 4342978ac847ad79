/** Every kind that makes pods, as a stock kubectl drives it, with every controller and the scheduler running. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, createNode, startControlPlane } from '#testing/control-plane.ts';
import { type Kubectl, kubectlOld, startKubectl } from '#testing/kubectl.ts';
import { playJobs } from '#testing/play-jobs.ts';
import { startScheduler } from '../scheduler/start.ts';
import { allControllers } from './all.ts';

describe('kubectl', { skip: kubectlOld }, () => {
  let plane: ControlPlane;
  let client: Kubectl;
  let kubectl: Kubectl['run'];
  const stops: (() => unknown)[] = [];
  before(async () => {
    plane = await startControlPlane();
    client = await startKubectl(plane);
    kubectl = client.run;
    // Pods of the image `ends` succeed, those of `fails` fail, all others run.
    const codes: Record<string, number> = { ends: 0, fails: 1 };
    const stopNodes = playJobs(plane.client, ({ spec }) => {
      const code = codes[spec?.containers[0]?.image ?? ''];
      return code === undefined ? undefined : { code };
    });
    const scheduler = await startScheduler(plane.context);
    stops.push(stopNodes, () => scheduler.close());
    // Its nodes never say anything.
    await plane.start(...allControllers({ nodeLifecycle: { startupGrace: 600_000, leaseGrace: 600_000 } }));
    for (const name of ['node-1', 'node-2']) await createNode(plane.client, name);
  });
  after(async () => {
    for (const stop of stops) await stop();
    await client.close();
    await plane.close();
  });

  const labels = (app: string) => ({ selector: { matchLabels: { app } } });
  const template = (app: string, image: string) => ({
    metadata: { labels: { app } },
    spec: { containers: [{ name: 'main', image }] },
  });
  const images = (app: string): Promise<string> =>
    kubectl('get', 'pods', '-l', `app=${app}`, '-o', 'jsonpath={range .items[*]}{.spec.containers[0].image} {end}');

  it('creates a job, waits for its end, and makes one from a cron job', async () => {
    await kubectl('create', 'job', 'once', '--image=ends');
    await kubectl('wait', '--for=condition=complete', 'job/once', '--timeout=30s');
    assert.match(await kubectl('get', 'job', 'once'), /once\s+Complete\s+1\/1/);
    assert.match(await kubectl('describe', 'job', 'once'), /Normal\s+Completed.*Job completed/);
    await kubectl('create', 'cronjob', 'daily', '--image=ends', '--schedule=0 3 * * *');
    await kubectl('create', 'job', 'by-hand', '--from=cronjob/daily');
    await kubectl('wait', '--for=condition=complete', 'job/by-hand', '--timeout=30s');
    await client.apply({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'bad' },
      spec: {
        backoffLimit: 0,
        template: { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'fails' }] } },
      },
    });
    await kubectl('wait', '--for=condition=failed', 'job/bad', '--timeout=30s');
    await kubectl('delete', 'job,cronjob', '--all', '--timeout=30s');
    await kubectl('wait', '--for=delete', 'pods', '--all', '--timeout=30s');
    assert.equal(await kubectl('get', 'jobs,pods', '-o', 'name'), '');
  });

  for (const kind of ['StatefulSet', 'DaemonSet']) {
    it(`rolls a ${kind} out, tells its history, goes back and restarts it`, async () => {
      const [app, path] = [kind.toLowerCase(), `${kind.toLowerCase()}/${kind.toLowerCase()}`];
      const size = kind === 'StatefulSet' ? { replicas: 2, serviceName: app } : {};
      await client.apply({
        apiVersion: 'apps/v1',
        kind,
        metadata: { name: app },
        spec: { ...labels(app), ...size, template: template(app, 'one') },
      });
      const rolledOut = () => kubectl('rollout', 'status', path, '--timeout=30s');
      await rolledOut();
      await kubectl('set', 'image', path, 'main=two');
      assert.match(await rolledOut(), /successfully rolled out|roll out complete/);
      assert.equal(await images(app), 'two two ');
      const history = (await kubectl('rollout', 'history', path)).split('\n').slice(2);
      assert.deepEqual(
        history.map((line) => line.split(' ')[0]).filter((line) => line),
        ['1', '2'],
      );
      assert.match(await kubectl('rollout', 'history', path, '--revision=1'), /Image:\s+one/);
      await kubectl('rollout', 'undo', path);
      await rolledOut();
      assert.equal(await images(app), 'one one ');
      const before = await kubectl('get', 'pods', '-l', `app=${app}`, '-o', 'jsonpath={.items[*].metadata.uid}');
      await kubectl('rollout', 'restart', path);
      await rolledOut();
      const after = await kubectl('get', 'pods', '-l', `app=${app}`, '-o', 'jsonpath={.items[*].metadata.uid}');
      assert.equal(
        before.split(' ').some((uid) => after.includes(uid)),
        false,
      );
      if (kind === 'StatefulSet') {
        await kubectl('scale', path, '--replicas=3');
        await rolledOut();
        assert.match(await kubectl('get', path), /3\/3/);
      }
      await kubectl('delete', path, '--cascade=foreground', '--timeout=30s');
      assert.equal(await kubectl('get', 'pods,controllerrevisions', '-l', `app=${app}`, '-o', 'name'), '');
    });
  }

  it('scales a replication controller, and drains a node past a disruption budget', async () => {
    await client.apply({
      apiVersion: 'v1',
      kind: 'ReplicationController',
      metadata: { name: 'old' },
      spec: { replicas: 1, selector: { app: 'old' }, template: template('old', 'one') },
    });
    await kubectl('scale', 'rc/old', '--replicas=3');
    await kubectl('wait', '--for=jsonpath={.status.availableReplicas}=3', 'rc/old', '--timeout=30s');
    await kubectl('create', 'poddisruptionbudget', 'old', '--selector=app=old', '--max-unavailable=1');
    await kubectl('wait', '--for=jsonpath={.status.disruptionsAllowed}=1', 'pdb/old', '--timeout=30s');
    await kubectl('drain', 'node-1', '--timeout=50s');
    const where = await kubectl('get', 'pods', '-l', 'app=old', '-o', 'jsonpath={.items[*].spec.nodeName}');
    assert.ok(!where.includes('node-1'), where);
    await kubectl('wait', '--for=jsonpath={.status.availableReplicas}=3', 'rc/old', '--timeout=30s');
  });

  it('finds the endpoints of a service', async () => {
    await kubectl('expose', 'rc', 'old', '--port=80', '--name=old');
    await kubectl('wait', '--for=jsonpath={.subsets[0].addresses[2].ip}', 'endpoints/old', '--timeout=30s');
    assert.match(await kubectl('get', 'endpoints', 'old'), /old\s+[\d.]+:80,[\d.]+:80,[\d.]+:80/);
    await kubectl('delete', 'service', 'old');
    await kubectl('wait', '--for=delete', 'endpoints/old', '--timeout=30s');
  });

  it('had nothing to complain of', () => {
    assert.deepEqual(plane.warnings, []);
  });
});
