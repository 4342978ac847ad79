/** Sidecars, ephemeral containers, shared processes and readiness gates, with a real engine and a stock kubectl. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import { pods } from '#cluster/kinds/resources.ts';
import type { Container, ContainerStatus, Pod, PodSpec } from '#cluster/kinds/types/core.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { runKubectl } from './agent-kubectl-run.ts';
import { claimOctet } from './claim-octet.ts';
import { kubectlPrograms } from './kubectl-versions.ts';
import { kubectlMissing } from './kubectl.ts';
import { until } from './until.ts';

let bed: AgentFixture;
const namespace = 'default';
const scriptMissing = spawnSync('script', ['--version']).status === 0 ? false : 'script is not installed';

before(async () => {
  bed = await agentFixture(await claimOctet());
});
after(() => bed.close());

type Definition = Partial<Container>;
const shell = (script: string): string[] => ['sh', '-c', script];
/** Ends well when it is asked to. */
const server = shell('trap "exit 0" TERM; while true; do sleep 0.05; done');

async function create(
  name: string,
  spec: Omit<Partial<PodSpec>, 'containers'>,
  containers: Definition[],
): Promise<void> {
  const whole = (container: Definition): Container => ({
    name: 'main',
    image: bed.image,
    imagePullPolicy: 'IfNotPresent',
    ...container,
  });
  await bed.client.create(pods, {
    metadata: { name, namespace },
    spec: {
      terminationGracePeriodSeconds: 5,
      nodeName: bed.nodeName,
      ...spec,
      ...(spec.initContainers && { initContainers: spec.initContainers.map(whole) }),
      containers: containers.map(whole),
    },
  });
}

const conditionOf = (pod: Stored<Pod> | undefined, type: string) =>
  pod?.status?.conditions?.find((condition) => condition.type === type);
const isReady = (pod: Stored<Pod> | undefined): boolean => conditionOf(pod, 'Ready')?.status === 'True';
const initOf = (pod: Stored<Pod> | undefined, name: string): ContainerStatus | undefined =>
  pod?.status?.initContainerStatuses?.find((status) => status.name === name);
const engineId = (status: ContainerStatus | undefined): string => status?.containerID?.replace('sampan://', '') ?? '';
const kubectl = (args: string[], input?: string) =>
  runKubectl(bed.kubeconfig, args, input === undefined ? {} : { input });

async function remove(name: string): Promise<void> {
  await bed.client.delete(pods, name, { namespace, gracePeriodSeconds: 0 });
  await bed.until(name, 'gone', (pod) => pod === undefined);
}

test('sidecars: the next waits for their start, they are restarted, and end in reverse after the rest', async () => {
  const sidecar = (name: string, more: Definition = {}): Container => ({
    name,
    restartPolicy: 'Always',
    command: server,
    ...more,
  });
  const gate = { exec: { command: ['test', '-f', '/work/go'] }, periodSeconds: 1, failureThreshold: 60 };
  const volumeMounts = [{ name: 'work', mountPath: '/work' }];
  await create(
    'convoy',
    {
      restartPolicy: 'Never',
      volumes: [{ name: 'work', emptyDir: {} }],
      initContainers: [
        sidecar('outer', {
          startupProbe: gate,
          volumeMounts,
          command: shell(`${server[2]?.replace('trap', 'touch /work/seen; trap')}`),
        }),
        sidecar('inner'),
        { name: 'prepare', command: ['true'] },
      ],
    },
    [{ command: shell('until test -f /work/done; do sleep 0.05; done'), volumeMounts }],
  );
  const gated = await bed.until('convoy', 'outer runs', (pod) => initOf(pod, 'outer')?.state?.running !== undefined);
  assert.equal(initOf(gated, 'outer')?.started, false);
  assert.equal(initOf(gated, 'inner')?.state?.running, undefined);
  assert.equal(conditionOf(gated, 'Initialized')?.reason, 'ContainersNotInitialized');
  const run = (script: string) =>
    bed.client
      .exec({ name: 'convoy', namespace }, { container: 'outer', command: shell(script) })
      .then((it) => it.exited);
  await run('touch /work/go');
  const running = await bed.until('convoy', 'Ready', isReady);
  assert.equal(initOf(running, 'prepare')?.state?.terminated?.exitCode, 0);
  process.kill(bed.engine.container(engineId(initOf(running, 'inner')))?.pid ?? 0, 'SIGKILL');
  const again = await bed.until(
    'convoy',
    'inner again',
    (pod) => isReady(pod) && initOf(pod, 'inner')?.restartCount === 1 && initOf(pod, 'inner')?.ready === true,
  );
  assert.equal(again.status?.containerStatuses?.[0]?.restartCount, 0);
  await run('touch /work/done');
  const done = await bed.until('convoy', 'over', (pod) => /^(Succeeded|Failed)$/.test(pod?.status?.phase ?? ''));
  assert.equal(done.status?.phase, 'Succeeded');
  const ends = [done.status?.containerStatuses?.[0], initOf(done, 'inner'), initOf(done, 'outer')].map((status) => {
    assert.ok(status?.state?.terminated, `${status?.name} still ran when the pod was over`);
    return bed.engine.container(engineId(status))?.exit?.at ?? Number.NaN;
  });
  assert.deepEqual(
    ends,
    [...ends].sort((a, b) => a - b),
    'main, then the inner, then the outer',
  );
  await remove('convoy');
});

/** The oldest and the newest that speak of ephemeral containers as the API does since 1.22. */
const debuggers = kubectlPrograms()
  .filter(({ version }) => Number(version.split('.')[1]) >= 24)
  .filter((_program, index, all) => index === 0 || index === all.length - 1);
const skipDebug = debuggers.length > 0 ? false : 'no kubectl is 1.24 or later';

let patientCreated: Promise<unknown> | undefined;
function patient(): Promise<unknown> {
  patientCreated ??= create('patient', { terminationGracePeriodSeconds: 0 }, [{ command: ['sleep', '4711'] }]).then(
    () => bed.until('patient', 'Ready', isReady),
  );
  return patientCreated;
}

test('kubectl debug adds a container that sees the processes of its target', { skip: skipDebug }, async () => {
  await patient();
  // The newest asks for the capability to trace what it looks at.
  for (const [index, program] of debuggers.entries()) {
    const name = `look-${index}`;
    const flags = ['--image', bed.image, '--image-pull-policy', 'IfNotPresent', '-c', name, '-i', '--quiet'];
    const command = ['--', 'sh', '-c', 'read go; echo $go; ps -o pid,args; exit 3'];
    const args = ['debug', 'patient', '--target=main', ...flags, ...command];
    const said = await runKubectl(bed.kubeconfig, args, { input: 'go\n', program: program.path });
    assert.match(said.stdout, /^go$[\s\S]* 1 sleep 4711$/m, said.stderr);
    const stateOf = (pod: Stored<Pod> | undefined) =>
      pod?.status?.ephemeralContainerStatuses?.find((status) => status.name === name)?.state?.terminated;
    const pod = await bed.until('patient', 'looked at', (now) => stateOf(now) !== undefined);
    assert.equal(stateOf(pod)?.exitCode, 3);
    assert.equal(pod.status?.phase, 'Running');
    assert.equal(pod.spec?.ephemeralContainers?.at(-1)?.name, name);
    assert.ok(isReady(pod));
    assert.match((await kubectl(['logs', 'patient', '-c', name])).stdout, /^go$/m);
  }
  const nowhere = ['debug', 'patient', '--target=none', '--image', bed.image, '-c', 'lost'];
  const lost = await runKubectl(bed.kubeconfig, nowhere, { program: debuggers[0]?.path ?? '' });
  assert.match(lost.stderr, /targetContainerName: .*Not found: "none"/);
});

test('kubectl debug -it is a terminal of its size in the pod', { skip: skipDebug || scriptMissing }, async () => {
  await patient();
  for (const [index, program] of debuggers.entries()) {
    const name = `terminal-${index}`;
    const flags = `--image ${bed.image} --image-pull-policy IfNotPresent --target=main -c ${name}`;
    const line = `stty rows 33 cols 99; exec ${program.path} debug -it patient ${flags} -- sh`;
    const child = spawn('script', ['-qfc', line, '/dev/null'], {
      env: { ...process.env, KUBECONFIG: bed.kubeconfig },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const said = text(child.stdout);
    // What it echoes is not what is looked for. Who makes a terminal raw may throw away what was typed ahead: it is typed again.
    const typed =
      'until [ "$(stty size)" = "33 99" ]; do sleep 0.05; done; echo size-$(stty size | tr " " -); ps -o args; tty; exit 6\n';
    child.stdin.write(typed);
    const again = setInterval(() => child.stdin.write(typed), 3000);
    const stateOf = (pod: Stored<Pod> | undefined) =>
      pod?.status?.ephemeralContainerStatuses?.find((status) => status.name === name)?.state?.terminated;
    const pod = await bed
      .until('patient', 'left', (now) => stateOf(now) !== undefined)
      .finally(() => {
        clearInterval(again);
        child.stdin.end();
      });
    assert.equal(stateOf(pod)?.exitCode, 6);
    const screen = await said;
    assert.match(screen, /size-33-99/, screen);
    assert.match(screen, /^sleep 4711\r?$/m);
    assert.match(screen, /\/dev\/(pts\/\d+|console)/);
  }
});

test('kubectl debug copies a pod, whose containers then share their processes', { skip: kubectlMissing }, async () => {
  await patient();
  const flags = ['--image', bed.image, '--image-pull-policy', 'IfNotPresent', '-c', 'look', '-i', '--quiet'];
  const command = [
    '--',
    'sh',
    '-c',
    'read go; until ps -o args | grep -q "^sleep 4711"; do sleep 0.05; done; ps -o pid,args',
  ];
  const said = await kubectl(
    ['debug', 'patient', '--copy-to=twin', '--same-node', '--share-processes', ...flags, ...command],
    'go\n',
  );
  assert.match(said.stdout, / 1 \/\.pause\/pause$/m, said.stderr);
  assert.match(said.stdout, / sleep 4711$/m);
  const twin = await bed.until('twin', 'there', (pod) => pod?.status?.phase === 'Running');
  assert.equal(twin.spec?.shareProcessNamespace, true);
  const pid = bed.engine.container(engineId(twin.status?.containerStatuses?.[0]))?.pid ?? 0;
  process.kill(pid, 'SIGKILL');
  const again = await bed.until('twin', 'restarted', (pod) => pod?.status?.containerStatuses?.[0]?.restartCount === 1);
  assert.equal(again.status?.containerStatuses?.[1]?.state?.terminated?.exitCode ?? 0, 0, 'nobody else was killed');
  await Promise.all([remove('twin'), remove('patient')]);
});

test('readiness gates hold a pod back until somebody opens them', { skip: kubectlMissing }, async () => {
  await create('gated', { readinessGates: [{ conditionType: 'example.com/open' }] }, [{ command: server }]);
  const closed = await bed.until(
    'gated',
    'its containers ready',
    (pod) => conditionOf(pod, 'ContainersReady')?.status === 'True',
  );
  assert.deepEqual(
    [conditionOf(closed, 'Ready')?.status, conditionOf(closed, 'Ready')?.reason, conditionOf(closed, 'Ready')?.message],
    [
      'False',
      'ReadinessGatesNotReady',
      'corresponding condition of pod readiness gate "example.com/open" does not exist.',
    ],
  );
  const waiting = kubectl(['wait', 'pod/gated', '--for=condition=Ready', '--timeout=20s']);
  const body = { status: { conditions: [{ type: 'example.com/open', status: 'True' }] } };
  await bed.client.patch(pods, 'gated', { type: 'strategic', body }, { namespace, subresource: 'status' });
  assert.deepEqual(await waiting, { code: 0, stdout: 'pod/gated condition met\n', stderr: '' });
  const opened = await bed.until('gated', 'Ready', isReady);
  assert.equal(conditionOf(opened, 'example.com/open')?.status, 'True');
  await remove('gated');
});

test('a hook may ask another pod', async () => {
  const serve = 'mkdir /tmp/w; touch /tmp/w/began /tmp/w/ends; exec httpd -f -vv -p 8080 -h /tmp/w';
  const readinessProbe = { tcpSocket: { port: 8080 } };
  await create('handler', { terminationGracePeriodSeconds: 0 }, [{ command: shell(serve), readinessProbe }]);
  const { status } = await bed.until('handler', 'Ready', isReady);
  const get = (path: string) => ({ httpGet: { ...(status?.podIP && { host: status.podIP }), port: 8080, path } });
  const lifecycle = { postStart: get('/began'), preStop: get('/ends') };
  await create('caller', {}, [{ command: server, lifecycle }]);
  await bed.until('caller', 'Ready', isReady);
  const heard = async () => await text(await bed.client.podLog({ name: 'handler', namespace }, {}));
  await until(async () => (await heard()).includes('url:/began'));
  await bed.client.delete(pods, 'caller', { namespace });
  await bed.until('caller', 'gone', (pod) => pod === undefined);
  await until(async () => (await heard()).includes('url:/ends'));
  await remove('handler');
});
