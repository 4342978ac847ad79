/** The node agent with a real engine (runc, conmon), the real API server and the SQLite store. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, afterEach, before, test } from 'node:test';
import { createJobController } from '#cluster/controllers/job.ts';
import { startControllers } from '#cluster/controllers/run.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { configMaps, events, jobs, leases, nodes, pods, secrets } from '#cluster/kinds/resources.ts';
import type { Container, ContainerStatus, Pod, PodSpec } from '#cluster/kinds/types/core.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { until } from './control-plane.ts';
import { isReady } from './pods.ts';

let bed: AgentFixture;
const namespace = 'default';

before(async () => {
  bed = await agentFixture(await claimOctet());
});
after(() => bed.close());
/** What a failed test leaves must not fail the next. */
afterEach(async () => {
  const { items } = await bed.client.list(pods, { namespace });
  await Promise.all(items.map(({ metadata }) => remove(metadata.name)));
});

type PodRequest = Omit<Partial<PodSpec>, 'containers'> & { containers: Partial<Container>[] };

async function create(name: string, spec: PodRequest, annotations: Record<string, string> = {}): Promise<void> {
  const containers = spec.containers.map((container) => ({
    name: 'main',
    image: bed.image,
    imagePullPolicy: 'IfNotPresent',
    ...container,
  }));
  await bed.client.create(pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, annotations },
    spec: { terminationGracePeriodSeconds: 0, ...spec, nodeName: bed.nodeName, containers },
  });
}

const shell = (script: string): string[] => ['sh', '-c', script];
const main = (pod: Stored<Pod> | undefined): ContainerStatus | undefined => pod?.status?.containerStatuses?.[0];
const idOf = (pod: Stored<Pod>): string => main(pod)?.containerID?.replace('sampan://', '') ?? '';

async function eventsOf(name: string): Promise<string[]> {
  const { items } = await bed.client.list(events, { namespace });
  return items.filter(({ involvedObject }) => involvedObject.name === name).map(({ reason }) => reason ?? '');
}

async function remove(name: string): Promise<void> {
  await bed.client.delete(pods, name, { namespace, gracePeriodSeconds: 0 });
  await bed.until(name, 'gone', (pod) => pod === undefined);
  const abort = AbortSignal.timeout(60_000);
  const changes = bed.engine.events({ signal: abort })[Symbol.asyncIterator]();
  const left = (): boolean =>
    bed.engine.sandboxes().some((sandbox) => sandbox.name.startsWith(`${namespace}/${name}/`));
  while (left()) assert.equal((await changes.next()).done, false, `the sandbox of ${name} was not removed`);
}

async function exec(
  name: string,
  command: string[],
  input?: string,
): Promise<{ code: number; out: string; err: string }> {
  const session = await bed.client.exec({ name, namespace }, { command, stdin: input !== undefined });
  session.stdin?.end(input);
  const [out, err, { code }] = await Promise.all([text(session.stdout), text(session.stderr), session.exited]);
  return { code, out, err };
}

/** A script that begins when its output is being read. */
async function runScript(name: string, script: string): Promise<string> {
  const { out } = await exec(name, shell(`read go; ${script}`), 'go\n');
  return out;
}

async function log(name: string, options: Parameters<typeof bed.client.podLog>[1] = {}): Promise<string> {
  return text(await bed.client.podLog({ name, namespace }, options));
}

/** What the log has as soon as it has anything. */
async function firstLine(name: string): Promise<string> {
  const stream = await bed.client.podLog({ name, namespace }, { follow: true });
  const [chunk] = (await once(stream, 'data')) as [Buffer];
  stream.destroy();
  return chunk.toString();
}

test('the node registers itself and renews its lease', async () => {
  const node = await bed.client.get(nodes, bed.nodeName);
  assert.equal(node.status?.conditions?.find(({ type }) => type === 'Ready')?.status, 'True');
  assert.equal(node.metadata.labels?.['kubernetes.io/hostname'], bed.nodeName);
  assert.ok((node.status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 0) > 0);
  assert.match(node.status?.nodeInfo?.kubeletVersion ?? '', /^v1\.30\./);
  const first = await bed.client.get(leases, bed.nodeName, 'kube-node-lease');
  assert.equal(first.spec?.holderIdentity, bed.nodeName);
  const signal = AbortSignal.timeout(60_000);
  const watch = bed.client.watch(leases, {
    namespace: 'kube-node-lease',
    resourceVersion: first.metadata.resourceVersion,
    signal,
  });
  for await (const event of watch) {
    if (event.type !== 'MODIFIED') continue;
    assert.ok((event.object.spec?.renewTime ?? '') > (first.spec?.renewTime ?? ''));
    return;
  }
  assert.fail('the lease was not renewed');
});

test('a pod runs with its environment and volumes, and is reached at its own address', async () => {
  await bed.client.create(configMaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'settings', namespace },
    data: { color: 'blue' },
  });
  await bed.client.create(secrets, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'login', namespace },
    data: { password: Buffer.from('s3cret').toString('base64') },
  });
  await create('full', {
    initContainers: [
      {
        name: 'prepare',
        image: bed.image,
        command: shell('echo prepared > /work/state'),
        volumeMounts: [{ name: 'work', mountPath: '/work' }],
      },
    ],
    containers: [
      {
        command: shell('echo started; exec httpd -f -p 8080 -h /work'),
        env: [
          { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
          { name: 'COLOR', valueFrom: { configMapKeyRef: { name: 'settings', key: 'color' } } },
          { name: 'URL', value: 'http://$(IP)/$(COLOR)' },
        ],
        volumeMounts: [
          { name: 'work', mountPath: '/work' },
          { name: 'settings', mountPath: '/settings' },
          { name: 'login', mountPath: '/password', subPath: 'password' },
          { name: 'memory', mountPath: '/memory' },
        ],
        readinessProbe: { httpGet: { path: '/state', port: 8080 } },
        securityContext: { runAsUser: 1000 },
        resources: { limits: { memory: '32Mi', cpu: '500m' } },
      },
    ],
    volumes: [
      { name: 'work', emptyDir: { sizeLimit: '16Mi' } },
      { name: 'memory', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      { name: 'settings', configMap: { name: 'settings' } },
      { name: 'login', secret: { secretName: 'login' } },
    ],
  });
  const pod = await bed.until('full', 'Ready', isReady);
  const { podIP } = pod.status ?? {};
  assert.equal(pod.status?.phase, 'Running');
  assert.equal(await (await fetch(`http://${podIP}:8080/state`)).text(), 'prepared\n');
  const out = await runScript(
    'full',
    'id -u; echo $URL; cat /settings/color /password; touch /work/mine && ls /memory',
  );
  assert.equal(out, `1000\nhttp://${podIP}/blue\nblues3cret`);
  assert.equal(await firstLine('full'), 'started\n');
  assert.equal(pod.status?.initContainerStatuses?.[0]?.state?.terminated?.reason, 'Completed');
  assert.match(await log('full', { timestamps: true }), /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d) started\n$/);
  await remove('full');
});

test('a killed process is started again at once in its sandbox: same address, count raised, log of before kept', async () => {
  const annotations = { 'node.sampan.dev/backoff': 'cloudfoundry' };
  await create(
    'phoenix',
    { containers: [{ command: shell('echo run of $$ at $(cat /proc/uptime); exec sleep 1000') }] },
    annotations,
  );
  const before = await bed.until('phoenix', 'Ready', isReady);
  const firstLog = await firstLine('phoenix');
  process.kill(bed.engine.container(idOf(before))?.pid ?? 0, 'SIGKILL');
  const again = await bed.until('phoenix', 'restarted', (pod) => isReady(pod) && main(pod)?.restartCount === 1);
  assert.equal(again.status?.podIP, before.status?.podIP);
  assert.notEqual(idOf(again), idOf(before));
  assert.deepEqual(
    { code: main(again)?.lastState?.terminated?.exitCode, signal: main(again)?.lastState?.terminated?.signal },
    { code: 137, signal: 9 },
  );
  assert.equal(await log('phoenix', { previous: true }), firstLog);
  assert.notEqual(await firstLine('phoenix'), firstLog);
  await remove('phoenix');
  const reasons = await eventsOf('phoenix');
  for (const reason of ['Pulled', 'Created', 'Started', 'Exited'])
    assert.ok(reasons.includes(reason), `${reason} in ${reasons}`);
});

test('exec passes input, output, errors and the exit code', async () => {
  await create('tool', { containers: [{ command: ['sleep', '1000'] }] });
  await bed.until('tool', 'Ready', isReady);
  const input = `${'0123456789abcdef'.repeat(20_000)}\n`;
  const echoed = await exec('tool', ['cat'], input);
  assert.equal(echoed.out.length, input.length);
  assert.equal(echoed.code, 0);
  assert.deepEqual(await exec('tool', shell('echo out; echo err >&2; exit 7')), {
    code: 7,
    out: 'out\n',
    err: 'err\n',
  });
  await remove('tool');
});

test('stats through the API server have memory, cpu and network of each pod', async () => {
  await create('measured', { containers: [{ command: shell('while true; do :; done') }] });
  await bed.until('measured', 'Ready', isReady);
  interface Summary {
    pods: {
      podRef: { name: string };
      containers: {
        cpu: { usageCoreNanoSeconds: number; usageNanoCores?: number };
        memory: { workingSetBytes: number };
      }[];
      network?: { rxBytes: number };
    }[];
  }
  const read = () =>
    bed.client.request<Summary>({ method: 'GET', path: `/api/v1/nodes/${bed.nodeName}/proxy/stats/summary` });
  await read();
  const pod = (await read()).pods.find(({ podRef }) => podRef.name === 'measured');
  const [container] = pod?.containers ?? [];
  assert.ok((container?.memory.workingSetBytes ?? 0) > 0);
  assert.ok((container?.cpu.usageCoreNanoSeconds ?? 0) > 0);
  assert.ok((container?.cpu.usageNanoCores ?? -1) >= 0);
  assert.ok(pod?.network);
  await remove('measured');
});

test('logs are followed to the end', async () => {
  await create('talker', {
    restartPolicy: 'Never',
    containers: [{ command: shell('mkfifo /tmp/gate; echo one; read go < /tmp/gate; echo two') }],
  });
  await bed.until('talker', 'running', (pod) => main(pod)?.state?.running !== undefined);
  const stream: Readable = await bed.client.podLog({ name: 'talker', namespace }, { follow: true });
  let seen = '';
  stream.on('data', (chunk: Buffer) => {
    seen += chunk.toString();
  });
  const ended = once(stream, 'end');
  await once(stream, 'data');
  await runScript('talker', 'echo go > /tmp/gate');
  await bed.until('talker', 'ended', (pod) => pod?.status?.phase !== 'Running');
  await ended;
  assert.equal(seen, 'one\ntwo\n');
  await remove('talker');
});

test('probes: readiness comes and goes, liveness restarts', async () => {
  // A busy machine takes more than the usual second to start a program.
  const probe = { periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 30 };
  await create('moody', {
    containers: [
      {
        command: shell('touch /tmp/ready /tmp/alive; exec sleep 1000'),
        readinessProbe: { ...probe, exec: { command: shell('test -f /tmp/ready') } },
        livenessProbe: { ...probe, exec: { command: shell('test -f /tmp/alive') } },
      },
    ],
  });
  await bed.until('moody', 'Ready', isReady);
  await runScript('moody', 'rm /tmp/ready');
  await bed.until('moody', 'not ready', (pod) => !isReady(pod));
  await runScript('moody', 'touch /tmp/ready');
  await bed.until('moody', 'Ready again', isReady);
  await runScript('moody', 'rm /tmp/alive');
  await bed.until('moody', 'restarted', (pod) => main(pod)?.restartCount === 1 && isReady(pod));
  await remove('moody');
  assert.ok((await eventsOf('moody')).includes('Unhealthy'));
});

test('termination: preStop, then the stop signal, then the rest; ready until it stopped', async () => {
  await create('slow', {
    terminationGracePeriodSeconds: 60,
    containers: [
      {
        command: shell(
          'trap "cat /tmp/note; echo terminated; sleep 1; exit 0" TERM; echo up; while true; do sleep 0.1; done',
        ),
        lifecycle: { preStop: { exec: { command: shell('echo stopping > /tmp/note') } } },
      },
    ],
  });
  await bed.until('slow', 'Ready', isReady);
  const stream = await bed.client.podLog({ name: 'slow', namespace }, { follow: true });
  const whole = text(stream);
  const began = Date.now();
  await bed.client.delete(pods, 'slow', { namespace });
  await bed.until('slow', 'being deleted', (pod) => pod?.metadata.deletionTimestamp !== undefined);
  assert.ok(isReady(await bed.client.get(pods, 'slow', namespace)));
  await bed.until('slow', 'gone', (pod) => pod === undefined);
  assert.ok(Date.now() - began > 900, 'it had a second to end by itself');
  assert.equal(await whole, 'up\nstopping\nterminated\n');
});

test('a container over its memory limit is OOMKilled', async () => {
  await create('greedy', {
    restartPolicy: 'Never',
    containers: [{ command: ['tail', '-c', '200m', '/dev/zero'], resources: { limits: { memory: '16Mi' } } }],
  });
  const pod = await bed.until('greedy', 'ended', (now) => main(now)?.state?.terminated !== undefined);
  assert.equal(pod.status?.phase, 'Failed');
  assert.equal(main(pod)?.state?.terminated?.reason, 'OOMKilled');
  await remove('greedy');
});

test('a command that is not there: the pod says so', async () => {
  await create('wrong', { restartPolicy: 'Never', containers: [{ command: ['/no/such/program'] }] });
  const pod = await bed.until('wrong', 'Failed', (now) => now?.status?.phase === 'Failed');
  assert.equal(main(pod)?.state?.terminated?.reason, 'StartError');
  assert.match(main(pod)?.state?.terminated?.message ?? '', /no such file/i);
  await remove('wrong');
});

test('the pods that a reboot took come back by themselves, those that had ended do not', async () => {
  await create('back', { containers: [{ command: ['sleep', '1000'] }] });
  await create('done', { restartPolicy: 'Never', containers: [{ command: ['true'] }] });
  const before = await bed.until('back', 'Ready', isReady);
  await bed.until('done', 'Succeeded', (pod) => pod?.status?.phase === 'Succeeded');
  await bed.reboot();
  const again = await bed.until('back', 'Ready again', (pod) => isReady(pod) && main(pod)?.restartCount === 1);
  assert.notEqual(idOf(again), idOf(before));
  const done = await bed.until('done', 'still Succeeded', (pod) => pod !== undefined);
  assert.equal(done.status?.phase, 'Succeeded');
  assert.deepEqual(
    bed.engine.sandboxes().map(({ name }) => name.split('/')[1]),
    ['back'],
  );
  await Promise.all([remove('back'), remove('done')]);
});

test('a restarted node adopts what runs, and removes what was deleted while it was away', async () => {
  // A busy machine takes more than the usual second to start a program.
  const probe = { readinessProbe: { exec: { command: ['true'] }, periodSeconds: 30, timeoutSeconds: 30 } };
  await create('stays', { containers: [{ command: ['sleep', '1000'], ...probe }] });
  await create('leaves', { containers: [{ command: ['sleep', '1000'] }] });
  await create('fell', { restartPolicy: 'Never', containers: [{ command: ['sleep', '1000'] }] });
  const [stays, , fell] = await Promise.all(
    ['stays', 'leaves', 'fell'].map((name) => bed.until(name, 'Ready', isReady)),
  );
  assert.ok(stays && fell);
  const fellPid = bed.engine.container(idOf(fell))?.pid ?? 0;
  await bed.stopNode();
  await bed.client.delete(pods, 'leaves', { namespace, gracePeriodSeconds: 0 });
  process.kill(fellPid, 'SIGKILL');
  const unready = bed
    .until('stays', 'never unready', (pod) => !isReady(pod), 3)
    .then(
      () => true,
      () => false,
    );
  await bed.startNode();
  await bed.until('leaves', 'gone', (pod) => pod === undefined);
  const failed = await bed.until('fell', 'Failed', (pod) => pod?.status?.phase === 'Failed');
  assert.equal(main(failed)?.state?.terminated?.exitCode, 137);
  assert.equal(await unready, false, 'it was ready all the time');
  const now = await bed.until('stays', 'Ready', isReady);
  assert.equal(idOf(now), idOf(stays));
  assert.equal(main(now)?.restartCount, 0);
  assert.equal(bed.engine.container(idOf(stays))?.state, 'running');
  assert.equal(await runScript('stays', 'echo alive'), 'alive\n');
  await Promise.all([remove('stays'), remove('fell')]);
  assert.deepEqual(bed.engine.sandboxes(), []);
});

test('a job runs through the agent: each index in a pod of its own, until one fails it by its exit code', async () => {
  const stop = new AbortController();
  const warnings: string[] = [];
  const controllers = await startControllers([createJobController({ backoff: { first: 1, longest: 1 } })], {
    client: bed.client,
    signal: stop.signal,
    now: Date.now,
    log: (level, message) => void (level !== 'info' && warnings.push(message)),
  });
  const script = 'echo part $JOB_COMPLETION_INDEX on $(hostname); [ $JOB_COMPLETION_INDEX = 0 ] || exit 7';
  const rules = [{ action: 'FailJob', onExitCodes: { operator: 'In', values: [7] } }];
  await bed.client.create(jobs, {
    metadata: { name: 'parts', namespace },
    spec: {
      completions: 2,
      parallelism: 1,
      completionMode: 'Indexed',
      podFailurePolicy: { rules },
      template: {
        spec: {
          restartPolicy: 'Never',
          nodeName: bed.nodeName,
          terminationGracePeriodSeconds: 0,
          containers: [{ name: 'main', image: bed.image, imagePullPolicy: 'IfNotPresent', command: shell(script) }],
        },
      },
    },
  });
  const [job] = await until(
    bed.client,
    jobs,
    namespace,
    ([one]) => one?.status?.conditions?.some(({ type }) => type === 'Failed') === true,
  );
  stop.abort();
  await controllers.close();
  assert.deepEqual(
    [job?.status?.completedIndexes, job?.status?.failed, job?.status?.conditions?.at(-1)?.reason],
    ['0', 1, 'PodFailurePolicy'],
  );
  const { items } = await bed.client.list(pods, { namespace });
  const first = items.find(({ metadata }) => metadata.name.startsWith('parts-0-'));
  assert.equal(await log(first?.metadata.name ?? ''), 'part 0 on parts-0\n');
  assert.deepEqual(warnings, []);
  await bed.client.delete(jobs, 'parts', { namespace });
});
