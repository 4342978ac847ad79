/** The pod's state machine, on an engine and an API in memory. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { EngineError } from '#engine/engine.ts';
import { type ApiDouble, apiDouble } from '#testing/agent-api-double.ts';
import { EngineDouble } from '#testing/agent-engine-double.ts';
import { podObject } from '#testing/agent-pod.ts';
import type { Stored } from '../kinds/kind.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { RecordedEvent } from './events.ts';
import type { NodeContext } from './context.ts';
import { roomOf } from './node-settings.ts';
import { NodeVolumes } from './node-volumes.ts';
import { strictPolicy } from './security.ts';
import { PodWorker } from './worker.ts';

interface Bench {
  engine: EngineDouble;
  api: ApiDouble;
  worker: PodWorker;
  events: RecordedEvent[];
  context: NodeContext;
  /** A worker of a new agent on the same engine and API. */
  restart(): Promise<PodWorker>;
}

async function bench(t: TestContext, pod: Stored<Pod>, engine = new EngineDouble()): Promise<Bench> {
  engine.present.add('local/app:1');
  const api = apiDouble(pod);
  const events: RecordedEvent[] = [];
  const dataDirectory = await mkdtemp(join(tmpdir(), 'sampan-agent-'));
  const recorder = { record: (event: RecordedEvent) => void events.push(event), close: async () => {} };
  const context: NodeContext = {
    nodeName: 'node-1',
    hostIps: ['192.0.2.1'],
    engine,
    client: api.client,
    recorder,
    policy: strictPolicy,
    volumes: new NodeVolumes({
      nodeName: 'node-1',
      client: api.client,
      engine,
      recorder,
      dataDirectory,
      log: () => {},
    }),
    room: roomOf({ milliCpus: 4000, memoryBytes: 2 ** 33, diskBytes: 2 ** 40 }, {}),
    dataDirectory,
    log: () => {},
  };
  const made: PodWorker[] = [];
  const make = (): PodWorker => {
    const worker = new PodWorker(context, api.pod, () => {});
    made.push(worker);
    return worker;
  };
  const abort = new AbortController();
  t.after(async () => {
    abort.abort();
    for (const worker of made) await worker.close();
    await rm(dataDirectory, { recursive: true });
  });
  void (async () => {
    for await (const _event of engine.events({ signal: abort.signal })) made.at(-1)?.wake();
  })();
  const self: Bench = {
    engine,
    api,
    events,
    context,
    worker: make(),
    async restart() {
      await self.worker.close();
      self.worker = make();
      return self.worker;
    },
  };
  return self;
}

const conditionOf = (pod: Pod, type: string): string | undefined =>
  pod.status?.conditions?.find((condition) => condition.type === type)?.status;
const isReady = (pod: Pod): boolean => conditionOf(pod, 'Ready') === 'True';
const exited = (code: number) => ({ code, oomKilled: false, at: Date.now() });

test('a pod becomes Running and Ready, and says where it is', async (t) => {
  const { api, engine, events } = await bench(t, podObject('a'));
  const pod = await api.until('Ready', isReady);
  assert.equal(pod.status?.phase, 'Running');
  assert.equal(pod.status?.podIP, '10.86.0.2');
  assert.equal(pod.status?.hostIP, '192.0.2.1');
  assert.equal(pod.status?.qosClass, 'BestEffort');
  assert.equal(pod.status?.containerStatuses?.[0]?.restartCount, 0);
  assert.ok(pod.status?.containerStatuses?.[0]?.containerID?.startsWith('sampan://'));
  for (const type of ['PodReadyToStartContainers', 'Initialized', 'ContainersReady', 'PodScheduled']) {
    assert.equal(conditionOf(pod, type), 'True', type);
  }
  assert.deepEqual(engine.calls, ['sandbox a', 'create main_0', 'start main_0']);
  assert.deepEqual(
    events.map(({ reason }) => reason),
    ['Pulled', 'Created', 'Started'],
  );
});

test('cloudfoundry back-off: an ended process is started again at once, three times, then it waits', async (t) => {
  const annotations = { 'node.sampan.dev/backoff': 'cloudfoundry' };
  const { api, engine, events } = await bench(t, podObject('a', {}, annotations));
  for (let attempt = 0; attempt < 3; attempt++) {
    await api.until(
      `run ${attempt}`,
      (pod) => isReady(pod) && pod.status?.containerStatuses?.[0]?.restartCount === attempt,
    );
    engine.end(`main_${attempt}`, exited(1));
  }
  const pod = await api.until('run 3', (now) => isReady(now) && now.status?.containerStatuses?.[0]?.restartCount === 3);
  assert.equal(pod.status?.containerStatuses?.[0]?.lastState?.terminated?.exitCode, 1);
  assert.equal(engine.sandboxes().length, 1, 'the same sandbox');
  assert.deepEqual(
    engine
      .containers()
      .map(({ name }) => name)
      .sort(),
    ['main_2', 'main_3'],
    'one run before is kept',
  );
  engine.end('main_3', exited(1));
  const waiting = await api.until(
    'CrashLoopBackOff',
    (now) => now.status?.containerStatuses?.[0]?.state?.waiting?.reason === 'CrashLoopBackOff',
  );
  assert.match(
    waiting.status?.containerStatuses?.[0]?.state?.waiting?.message ?? '',
    /^back-off 30s restarting failed container=main pod=a_default\(uid-a\)$/,
  );
  assert.equal(waiting.status?.phase, 'Running');
  assert.equal(isReady(waiting), false);
  assert.equal(events.filter(({ reason }) => reason === 'BackOff').length, 1);
  assert.equal(events.filter(({ reason }) => reason === 'Exited').length, 4);
});

test('restartPolicy Never: the phase follows the exit codes', async (t) => {
  const good = await bench(t, podObject('a', { restartPolicy: 'Never' }));
  await good.api.until('Ready', isReady);
  good.engine.end('main_0', exited(0));
  const succeeded = await good.api.until('Succeeded', (pod) => pod.status?.phase === 'Succeeded');
  assert.equal(succeeded.status?.containerStatuses?.[0]?.state?.terminated?.reason, 'Completed');
  const bad = await bench(t, podObject('b', { restartPolicy: 'Never' }));
  await bad.api.until('Ready', isReady);
  bad.engine.end('main_0', { code: 137, signal: 9, oomKilled: true, at: Date.now() });
  const failed = await bad.api.until('Failed', (pod) => pod.status?.phase === 'Failed');
  assert.equal(failed.status?.containerStatuses?.[0]?.state?.terminated?.reason, 'OOMKilled');
  assert.ok(bad.events.some(({ reason }) => reason === 'OOMKilling'));
});

test('init containers run in order before the rest; a sidecar only has to be started', async (t) => {
  const { api, engine } = await bench(
    t,
    podObject('a', {
      initContainers: [
        { name: 'first', image: 'local/app:1' },
        { name: 'side', image: 'local/app:1', restartPolicy: 'Always' },
        { name: 'second', image: 'local/app:1' },
      ],
    }),
  );
  const running = (name: string) => (pod: Pod) =>
    pod.status?.initContainerStatuses?.find((status) => status.name === name)?.state?.running !== undefined;
  const pending = await api.until('first runs', running('first'));
  assert.equal(pending.status?.phase, 'Pending');
  assert.equal(pending.status?.containerStatuses?.[0]?.state?.waiting?.reason, 'PodInitializing');
  assert.equal(pending.status?.initContainerStatuses?.[2]?.state?.waiting?.reason, 'PodInitializing');
  engine.end('first_0', exited(0));
  await api.until('second runs', running('second'));
  assert.ok(running('side')(api.pod));
  engine.end('second_0', exited(0));
  await api.until('Ready', isReady);
  assert.deepEqual(
    engine.calls.filter((call) => call.startsWith('start')),
    ['start first_0', 'start side_0', 'start second_0', 'start main_0'],
  );
});

test('termination: not ready at once, preStop, stop signal with the rest of the grace, then the object goes', async (t) => {
  const { api, engine, worker, events } = await bench(
    t,
    podObject('a', { containers: [{ lifecycle: { preStop: { exec: { command: ['drain'] } } } }] }),
  );
  await api.until('Ready', isReady);
  api.pod = {
    ...api.pod,
    metadata: {
      ...api.pod.metadata,
      resourceVersion: '100',
      deletionTimestamp: new Date(Date.now() + 20_000).toISOString(),
      deletionGracePeriodSeconds: 20,
    },
  };
  worker.update(api.pod);
  const pod = await api.until('deleted', (_pod, deleted) => deleted);
  assert.equal(isReady(pod), false);
  assert.equal(pod.status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 143);
  assert.equal(pod.status?.phase, 'Failed');
  assert.deepEqual(engine.calls.slice(3), ['exec drain', 'stop main_0 20', 'remove-sandbox a']);
  assert.equal(engine.sandboxes().length, 0);
  assert.equal(events.at(-1)?.message, 'Stopping container main');
});

test('a second delete with less grace cuts the first short', async (t) => {
  const { api, engine, worker } = await bench(t, podObject('a'));
  await api.until('Ready', isReady);
  engine.stubborn = true;
  const remove = (seconds: number, version: string): void => {
    const deletionTimestamp = new Date(Date.now() + seconds * 1000).toISOString();
    const metadata = {
      ...api.pod.metadata,
      resourceVersion: version,
      deletionTimestamp,
      deletionGracePeriodSeconds: seconds,
    };
    api.pod = { ...api.pod, metadata };
    worker.update(api.pod);
  };
  remove(300, '100');
  await api.until('being stopped', () => engine.calls.includes('stop main_0 300'));
  remove(0, '200');
  await api.until('deleted', (_pod, deleted) => deleted);
  assert.deepEqual(
    engine.calls.filter((call) => call.startsWith('stop')),
    ['stop main_0 300', 'stop main_0 0'],
  );
});

test('a restarted agent adopts what runs: nothing is started, and what was ready stays ready', async (t) => {
  const readinessProbe = { tcpSocket: { port: 1 }, periodSeconds: 60 };
  const bed = await bench(t, podObject('a', { containers: [{ readinessProbe }] }));
  await bed.api.until('runs', (pod) => pod.status?.containerStatuses?.[0]?.state?.running !== undefined);
  const [status] = bed.api.pod.status?.containerStatuses ?? [];
  assert.ok(status);
  assert.equal(status.ready, false);
  await bed.worker.close();
  bed.api.pod = {
    ...bed.api.pod,
    status: { ...bed.api.pod.status, containerStatuses: [{ ...status, ready: true, started: true }] },
  };
  const calls = bed.engine.calls.length;
  const patches = bed.api.patches;
  await bed.restart();
  await bed.api.until('a status of the new worker', () => bed.api.patches > patches);
  assert.equal(isReady(bed.api.pod), true);
  assert.equal(bed.api.pod.status?.containerStatuses?.[0]?.ready, true);
  assert.equal(bed.engine.calls.length, calls);
});

test('after the sandbox is lost (a reboot) the pod starts anew with its restart count raised', async (t) => {
  const bed = await bench(t, podObject('a'));
  await bed.api.until('Ready', isReady);
  await bed.worker.close();
  bed.engine.sandboxMap.clear();
  bed.engine.containerMap.clear();
  await bed.restart();
  const pod = await bed.api.until(
    'runs again',
    (now) => isReady(now) && now.status?.containerStatuses?.[0]?.restartCount === 1,
  );
  assert.equal(pod.status?.phase, 'Running');
});

test('after a reboot init containers run again, and their count is raised once', async (t) => {
  const bed = await bench(t, podObject('a', { initContainers: [{ name: 'first', image: 'local/app:1' }] }));
  const first = (pod: Pod) => pod.status?.initContainerStatuses?.[0];
  await bed.api.until('first runs', (pod) => first(pod)?.state?.running !== undefined);
  bed.engine.end('first_0', exited(0));
  await bed.api.until('Ready', isReady);
  await bed.worker.close();
  bed.engine.sandboxMap.clear();
  bed.engine.containerMap.clear();
  bed.engine.present.clear();
  bed.engine.pullError = new EngineError('unavailable', 'the registry starts too');
  await bed.restart();
  await bed.api.until('waits for the image', (pod) => first(pod)?.state?.waiting?.reason === 'ImagePullBackOff');
  assert.equal(first(bed.api.pod)?.restartCount, 1);
  assert.equal(isReady(bed.api.pod), false);
  bed.engine.present.add('local/app:1');
  await bed.restart();
  await bed.api.until('first runs again', (pod) => first(pod)?.state?.running !== undefined);
  bed.engine.end('first_1', exited(0));
  const pod = await bed.api.until('Ready again', isReady);
  assert.equal(pod.status?.containerStatuses?.[0]?.restartCount, 1);
});

test('restartPolicy Never: a lost container is a failed one', async (t) => {
  const bed = await bench(t, podObject('a', { restartPolicy: 'Never' }));
  await bed.api.until('Ready', isReady);
  await bed.worker.close();
  bed.engine.sandboxMap.clear();
  bed.engine.containerMap.clear();
  await bed.restart();
  const pod = await bed.api.until('Failed', (now) => now.status?.phase === 'Failed');
  assert.equal(pod.status?.containerStatuses?.[0]?.state?.terminated?.reason, 'ContainerStatusUnknown');
  assert.equal(bed.engine.sandboxes().length, 0);
});

test('a container that was made and not started is started, not made again', async (t) => {
  const bed = await bench(t, podObject('a'));
  await bed.api.until('Ready', isReady);
  await bed.worker.close();
  const [container] = bed.engine.containers();
  assert.ok(container);
  const { startedAt: _startedAt, pid: _pid, ...rest } = container;
  bed.engine.containerMap.set(container.id, { ...rest, state: 'created' });
  bed.engine.calls.length = 0;
  await bed.restart();
  await bed.api.until('started', () => bed.engine.container(container.id)?.state === 'running' && isReady(bed.api.pod));
  assert.deepEqual(bed.engine.calls, ['start main_0']);
});

test('an image that cannot be pulled: ErrImagePull, then ImagePullBackOff, and the events say why', async (t) => {
  const bed = await bench(t, podObject('a', { containers: [{ image: 'registry.example/none:1' }] }), failingPulls());
  const state = (pod: Pod) => pod.status?.containerStatuses?.[0]?.state?.waiting?.reason;
  const failed = await bed.api.until('ErrImagePull', (pod) => state(pod) === 'ErrImagePull');
  assert.equal(failed.status?.phase, 'Pending');
  await bed.api.until('ImagePullBackOff', (pod) => state(pod) === 'ImagePullBackOff');
  assert.deepEqual(
    bed.events.map(({ reason }) => reason),
    ['Pulling', 'Failed', 'Failed', 'BackOff', 'Failed'],
  );
  assert.match(bed.events[1]?.message ?? '', /^Failed to pull image "registry.example\/none:1": no such image$/);
});

function failingPulls(): EngineDouble {
  const engine = new EngineDouble();
  engine.pullError = new EngineError('not-found', 'no such image');
  return engine;
}

/** The pod's container gets another image, which is pulled when the test says so. */
async function changeImage(bed: Bench, image: string): Promise<{ pulled(error?: EngineError): void }> {
  const pull = Promise.withResolvers<void>();
  const { pull: pullNow } = bed.engine.images;
  bed.engine.images.pull = async (...args) => {
    await pull.promise;
    return await pullNow(...args);
  };
  const containers = (bed.api.pod.spec?.containers ?? []).map((container) => ({ ...container, image }));
  const resourceVersion = String(Number(bed.api.pod.metadata.resourceVersion) + 1);
  bed.api.pod = {
    ...bed.api.pod,
    metadata: { ...bed.api.pod.metadata, resourceVersion },
    spec: { ...bed.api.pod.spec, containers },
  };
  bed.worker.update(bed.api.pod);
  await bed.api.until('the old one stopped, the new image pulled', () => {
    const isStopped = bed.engine.containers().some(({ name, state }) => name === 'main_0' && state === 'exited');
    return isStopped && bed.events.some(({ reason }) => reason === 'Pulling');
  });
  return {
    pulled(error) {
      bed.engine.pullError = error;
      pull.resolve();
    },
  };
}

test('a changed image: the pod stays as it was until the new container runs, whatever its restart policy', async (t) => {
  const bed = await bench(t, podObject('a', { restartPolicy: 'Never' }));
  await bed.api.until('Ready', isReady);
  const { patches } = bed.api;
  const image = await changeImage(bed, 'local/app:2');
  bed.worker.wake();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(bed.api.patches, patches, 'nothing new to tell');
  image.pulled();
  const pod = await bed.api.until('replaced', (now) => now.status?.containerStatuses?.[0]?.restartCount === 1);
  assert.equal(isReady(pod), true);
  assert.equal(bed.api.patches, patches + 1, 'it was never told to be anything else');
  const [status] = pod.status?.containerStatuses ?? [];
  assert.equal(status?.image, 'local/app:2');
  assert.equal(status?.lastState?.terminated?.exitCode, 143);
  assert.ok(bed.events.some(({ message }) => message === 'Container main definition changed, will be restarted'));
});

test('a changed image that cannot be pulled: the pod says so, and is not ready', async (t) => {
  const bed = await bench(t, podObject('a'));
  await bed.api.until('Ready', isReady);
  (await changeImage(bed, 'local/none:1')).pulled(new EngineError('not-found', 'no such image'));
  const pod = await bed.api.until(
    'ErrImagePull',
    (now) => now.status?.containerStatuses?.[0]?.state?.waiting?.reason === 'ErrImagePull',
  );
  assert.equal(isReady(pod), false);
  assert.equal(pod.status?.phase, 'Running');
});

test('a pod that is deleted while its image changes stops, and starts nothing more', async (t) => {
  const bed = await bench(t, podObject('a'));
  await bed.api.until('Ready', isReady);
  const image = await changeImage(bed, 'local/app:2');
  const metadata = {
    ...bed.api.pod.metadata,
    resourceVersion: '100',
    deletionTimestamp: new Date(Date.now() + 20_000).toISOString(),
    deletionGracePeriodSeconds: 20,
  };
  bed.api.pod = { ...bed.api.pod, metadata };
  bed.worker.update(bed.api.pod);
  // It has looked by then.
  await new Promise((resolve) => setImmediate(resolve));
  image.pulled();
  await bed.api.until('deleted', (_pod, deleted) => deleted);
  assert.ok(!bed.engine.calls.includes('create main_1'));
  assert.equal(bed.engine.sandboxes().length, 0);
});

test('a missing ConfigMap key is a configuration error, and the container starts once it is there', async (t) => {
  const env = [{ name: 'X', valueFrom: { configMapKeyRef: { name: 'settings', key: 'x' } } }];
  const bed = await bench(t, podObject('a', { containers: [{ env }] }));
  const waiting = await bed.api.until(
    'waits',
    (pod) => pod.status?.containerStatuses?.[0]?.state?.waiting?.reason === 'CreateContainerConfigError',
  );
  assert.equal(waiting.status?.containerStatuses?.[0]?.state?.waiting?.message, 'configmap "settings" not found');
  bed.api.objects.set('configmaps/settings', { metadata: { name: 'settings' }, data: { x: 'here' } });
  await bed.api.until('Ready', isReady);
  assert.deepEqual(bed.engine.containers()[0]?.spec.env, ['X=here']);
});

test('a command that cannot be executed: StartError, with the reason', async (t) => {
  const engine = new EngineDouble();
  engine.startError = new EngineError('invalid', 'no such file: "/nope"');
  const bed = await bench(t, podObject('a', { restartPolicy: 'Never' }), engine);
  const pod = await bed.api.until('Failed', (now) => now.status?.phase === 'Failed');
  assert.equal(pod.status?.containerStatuses?.[0]?.state?.terminated?.reason, 'StartError');
  assert.match(pod.status?.containerStatuses?.[0]?.state?.terminated?.message ?? '', /no such file/);
});

test('what this node does not give makes the pod Failed, with the reason', async (t) => {
  const bed = await bench(t, podObject('a', { hostNetwork: true }));
  const pod = await bed.api.until('Failed', (now) => now.status?.phase === 'Failed');
  assert.equal(pod.status?.reason, 'PodRefused');
  assert.equal(pod.status?.containerStatuses, undefined, 'kubectl shows the reason, and no state of a container');
  assert.equal(
    pod.status?.message,
    'spec.hostNetwork is not allowed on this node: remove it, or start the node with --allow-risk host-namespaces',
  );
  assert.deepEqual(bed.engine.calls, []);
});

test('activeDeadlineSeconds ends the pod', async (t) => {
  const bed = await bench(t, podObject('a', { activeDeadlineSeconds: 1 }));
  await bed.api.until('Ready', isReady);
  const pod = await bed.api.until(
    'Failed',
    (now) => now.status?.phase === 'Failed' && bed.engine.containers()[0]?.state === 'exited',
  );
  assert.equal(pod.status?.reason, 'DeadlineExceeded');
});

test('a pod that is gone from the API is torn down', async (t) => {
  const bed = await bench(t, podObject('a'));
  await bed.api.until('Ready', isReady);
  bed.worker.gone();
  await bed.api.until('removed', () => bed.engine.sandboxes().length === 0);
  assert.equal(bed.api.deleted, false);
});

test('a container that failed its liveness probe is not ready from then on, while it runs to its end', async (t) => {
  const engine = new EngineDouble();
  engine.execCode = 1;
  const livenessProbe = { exec: { command: ['alive'] }, periodSeconds: 1, failureThreshold: 1 };
  const lifecycle = { preStop: { sleep: { seconds: 20 } } };
  const bed = await bench(t, podObject('a', { containers: [{ livenessProbe, lifecycle }] }), engine);
  await bed.api.until('not ready', (pod) => {
    const [status] = pod.status?.containerStatuses ?? [];
    return status?.ready === false && status.state?.running !== undefined && status.started === true;
  });
  assert.ok(!engine.calls.some((call) => call.startsWith('stop')), 'it is drained first');
});

test('a failed liveness probe restarts the container in its sandbox', async (t) => {
  const engine = new EngineDouble();
  engine.execCode = 1;
  const livenessProbe = { exec: { command: ['alive'] }, periodSeconds: 1, failureThreshold: 1 };
  const bed = await bench(t, podObject('a', { containers: [{ livenessProbe }] }), engine);
  await bed.api.until('restarted', (pod) => pod.status?.containerStatuses?.[0]?.restartCount === 1);
  assert.ok(
    bed.events.some(
      ({ reason, message }) =>
        reason === 'Killing' && message === 'Container main failed liveness probe, will be restarted',
    ),
  );
  assert.ok(bed.events.some(({ reason }) => reason === 'Unhealthy'));
});

test('readiness is seen within milliseconds of listening, long before the period', async (t) => {
  const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => server.close());
  const address = server.address();
  assert.ok(address && typeof address === 'object');
  const engine = new EngineDouble();
  const create = engine.createSandbox.bind(engine);
  engine.createSandbox = async (spec) => {
    const sandbox = { ...(await create(spec)), ip: '127.0.0.1' };
    engine.sandboxMap.set(sandbox.id, sandbox);
    return sandbox;
  };
  const readinessProbe = { tcpSocket: { port: address.port }, periodSeconds: 600 };
  const bed = await bench(t, podObject('a', { containers: [{ readinessProbe }] }), engine);
  await bed.api.until('Ready', isReady);
  assert.ok(!bed.events.some(({ reason }) => reason === 'Unhealthy'));
});

test('a pod that makes no sense harms nobody, and can still be deleted', async (t) => {
  const bed = await bench(t, podObject('a', { containers: [{ resources: { limits: { memory: 'lots' } } }] }));
  const remove = (): void => {
    const metadata = { ...bed.api.pod.metadata, resourceVersion: '100', deletionTimestamp: '2026-01-01T00:00:00Z' };
    bed.api.pod = { ...bed.api.pod, metadata, status: { qosClass: 'Burstable' } };
    bed.worker.update(bed.api.pod);
  };
  await new Promise((resolve) => setImmediate(resolve));
  remove();
  await bed.api.until('deleted', (_pod, deleted) => deleted);
  assert.equal(bed.engine.sandboxes().length, 0);
});

test('a status that did not change is not written', async (t) => {
  const bed = await bench(t, podObject('a'));
  await bed.api.until('Ready', isReady);
  const { patches } = bed.api;
  for (let index = 0; index < 5; index++) {
    bed.worker.wake();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(bed.api.patches, patches);
});
