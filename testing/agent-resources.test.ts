/** What a pod may use and be, in the kernel's own words: cgroups, oom scores, users, sysctls, profiles; and its last words. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import { events, nodes, pods, runtimeClasses } from '#cluster/kinds/resources.ts';
import type { Container, ContainerStatus, Pod, PodSpec } from '#cluster/kinds/types/core.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { until } from './control-plane.ts';

const namespace = 'default';
let bed: AgentFixture;
let profiles: string;

before(async () => {
  profiles = await mkdtemp(join(tmpdir(), 'sampan-profiles-'));
  // As little as a container needs to start, and no new directories.
  await writeFile(
    join(profiles, 'no-mkdir.json'),
    JSON.stringify({
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }],
    }),
  );
  const policy = {
    hostPaths: [profiles],
    risks: ['privileged'],
    unsafeSysctls: ['net.core.*'],
    seccompDirectory: profiles,
  } as const;
  bed = await agentFixture(await claimOctet(), { engine: { allowedRisks: ['privileged'] }, policy });
});
after(async () => {
  await bed.close();
  await rm(profiles, { recursive: true });
});

const shell = (script: string): string[] => ['sh', '-c', script];
const statusOf = (pod: Stored<Pod> | undefined, name = 'main'): ContainerStatus | undefined =>
  pod?.status?.containerStatuses?.find((status) => status.name === name);
const isOver = (pod: Stored<Pod> | undefined): boolean => /^(Succeeded|Failed)$/.test(pod?.status?.phase ?? '');
const runs = (pod: Stored<Pod> | undefined): boolean =>
  pod?.status?.containerStatuses?.every(({ state }) => state?.running !== undefined) ?? false;

async function create(
  name: string,
  spec: Omit<Partial<PodSpec>, 'containers'>,
  containers: Partial<Container>[],
): Promise<void> {
  await bed.client.create(pods, {
    metadata: { name, namespace },
    spec: {
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 0,
      nodeName: bed.nodeName,
      ...spec,
      containers: containers.map((container) => ({
        name: 'main',
        image: bed.image,
        imagePullPolicy: 'IfNotPresent',
        ...container,
      })),
    },
  });
}

/** Runs it to its end, and gives what it said. */
async function run(name: string, container: Partial<Container>, spec: Omit<Partial<PodSpec>, 'containers'> = {}) {
  await create(name, spec, [container]);
  const pod = await bed.until(name, 'over', isOver);
  return { pod, said: await text(await bed.client.podLog({ name, namespace }, {})) };
}

/** One of a cgroup's files, whichever layout this host has. */
async function cgroup(pod: Stored<Pod>, container: string | undefined, names: { v1: [string, string]; v2: string }) {
  const sandbox = bed.engine.sandboxes().find(({ name }) => name.includes(`/${pod.metadata.name}/`))?.id ?? '';
  const id = container === undefined ? '' : statusOf(pod, container)?.containerID?.replace('sampan://', '');
  const path = join(`sampan-${bed.engine.info().instance}`, sandbox, id ?? '');
  const [controller, file] = names.v1;
  const v1 = join('/sys/fs/cgroup', controller, path, file);
  return (await readFile(existsSync(v1) ? v1 : join('/sys/fs/cgroup', path, names.v2), 'utf8')).trim();
}

const shares = { v1: ['cpu', 'cpu.shares'], v2: 'cpu.weight' } as { v1: [string, string]; v2: string };
const memory = { v1: ['memory', 'memory.limit_in_bytes'], v2: 'memory.max' } as { v1: [string, string]; v2: string };
const weight = (value: number): string =>
  bed.engine.info().cgroups === 'v1' ? String(value) : String(1 + Math.floor(((value - 2) * 9999) / 262_142));

test('requests become shares and limits hard ones, of each container and of the pod as a whole', async () => {
  const limits = { memory: '32Mi', cpu: '200m' };
  await create('paid', {}, [
    { name: 'main', command: ['sleep', '1000'], resources: { limits } },
    { name: 'more', command: ['sleep', '1000'], resources: { limits } },
  ]);
  await create('free', {}, [{ command: ['sleep', '1000'] }]);
  const [paid, free] = [await bed.until('paid', 'running', runs), await bed.until('free', 'running', runs)];
  assert.equal(paid.status?.qosClass, 'Guaranteed');
  assert.equal(await cgroup(paid, 'main', shares), weight(204));
  assert.equal(await cgroup(paid, undefined, shares), weight(409));
  assert.equal(await cgroup(paid, 'main', memory), String(32 * 2 ** 20));
  assert.equal(await cgroup(paid, undefined, memory), String(64 * 2 ** 20));
  assert.equal(await cgroup(free, undefined, shares), weight(2));
  const scoreOf = async (pod: Stored<Pod>) => {
    const pid = bed.engine.container(statusOf(pod)?.containerID?.replace('sampan://', '') ?? '')?.pid;
    return Number(await readFile(`/proc/${pid}/oom_score_adj`, 'utf8'));
  };
  const own = Number(await readFile('/proc/self/oom_score_adj', 'utf8'));
  assert.equal(await scoreOf(paid), Math.max(-997, Math.min(0, own)));
  assert.equal(await scoreOf(free), 1000);
});

test('a RuntimeClass adds its overhead to the pod, and no pod runs under another runtime than it asks for', async () => {
  const { name: runtime } = bed.engine.info().runtime;
  const podFixed = { memory: '16Mi', cpu: '100m' };
  await bed.client.create(runtimeClasses, { metadata: { name: 'own' }, handler: runtime, overhead: { podFixed } });
  await bed.client.create(runtimeClasses, { metadata: { name: 'other' }, handler: 'gvisor' });
  const resources = { limits: { memory: '32Mi', cpu: '200m' } };
  await create('heavy', { runtimeClassName: 'own' }, [{ command: ['sleep', '1000'], resources }]);
  await create('walled', { runtimeClassName: 'other' }, [{ command: ['sleep', '1000'] }]);
  const heavy = await bed.until('heavy', 'running', runs);
  assert.equal(await cgroup(heavy, 'main', memory), String(32 * 2 ** 20));
  assert.equal(await cgroup(heavy, undefined, memory), String(48 * 2 ** 20));
  assert.equal(await cgroup(heavy, undefined, shares), weight(307));
  await until(bed.client, events, namespace, (all) =>
    all.some(
      ({ involvedObject, reason, message = '' }) =>
        involvedObject.name === 'walled' &&
        reason === 'FailedCreatePodSandBox' &&
        message.endsWith(`no runtime for "gvisor" is configured: this node has "${runtime}"`),
    ),
  );
  await bed.client.delete(pods, 'walled', { namespace });
  await bed.until('walled', 'gone', (pod) => pod === undefined);
});

test('of several containers the one that used too much is OOMKilled, and no other', async () => {
  await create('crowd', {}, [
    {
      name: 'main',
      command: shell('sleep 0.2; exec tail -c 200m /dev/zero'),
      resources: { limits: { memory: '16Mi' } },
    },
    { name: 'calm', command: ['sleep', '1000'], resources: { limits: { memory: '16Mi' } } },
  ]);
  const pod = await bed.until('crowd', 'one killed', (now) => statusOf(now)?.state?.terminated !== undefined);
  assert.equal(statusOf(pod)?.state?.terminated?.reason, 'OOMKilled');
  assert.ok(statusOf(pod, 'calm')?.state?.running);
});

test('last words: the file, bounded; else the end of the log where the policy says so', async () => {
  const words = await run('words', {
    workingDir: '/usr/',
    resources: { limits: { memory: '32Mi' } },
    env: [
      {
        name: 'LIMIT',
        valueFrom: { resourceFieldRef: { containerName: 'main', resource: 'limits.memory', divisor: '1Mi' } },
      },
    ],
    command: shell('echo logged; printf "gave up: %s" "$0 $PWD $LIMIT" > /dev/termination-log; exit 3'),
  });
  const { state, imageID } = statusOf(words.pod) ?? {};
  assert.equal(state?.terminated?.message, 'gave up: sh /usr 32');
  assert.ok(state.terminated.startedAt && state.terminated.finishedAt && imageID);
  const many = await run('many', {
    terminationMessagePath: '/tmp/last',
    securityContext: { runAsUser: 1000 },
    command: shell('head -c 1000000 /dev/zero | tr "\\0" x > /tmp/last; wc -c < /tmp/last'),
  });
  assert.equal(statusOf(many.pod)?.state?.terminated?.message, 'x'.repeat(4096));
  assert.match(many.said, /No space left on device/);
  assert.match(many.said, /^65536$/m);
  const logged = await run('logged', {
    terminationMessagePolicy: 'FallbackToLogsOnError',
    command: shell('echo the reason; exit 1'),
  });
  assert.equal(
    statusOf(await bed.until('logged', 'its reason', (pod) => statusOf(pod)?.state?.terminated?.message !== undefined))
      ?.state?.terminated?.message,
    'the reason',
  );
  assert.equal(logged.pod.status?.phase, 'Failed');
});

test('sysctls: safe ones and those that the node allows, and no others', async () => {
  const read = { command: shell('cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/core/somaxconn') };
  const sysctls = [
    { name: 'net.ipv4.ip_unprivileged_port_start', value: '81' },
    { name: 'net.core.somaxconn', value: '77' },
  ];
  assert.equal((await run('tuned', read, { securityContext: { sysctls } })).said, '81\n77\n');
  await create('forbidden', { securityContext: { sysctls: [{ name: 'kernel.msgmax', value: '65536' }] } }, [read]);
  const { status } = await bed.until('forbidden', 'rejected', isOver);
  assert.deepEqual(
    [status?.phase, status?.reason, status?.message],
    ['Failed', 'SysctlForbidden', 'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted'],
  );
});

test('users and groups, a read-only root, capabilities, and profiles of system calls', async () => {
  const who = await run(
    'who',
    {
      command: shell('id -u; id -G; touch /file 2>&1; grep CapBnd /proc/self/status'),
      securityContext: { readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'], add: ['CHOWN'] } },
    },
    { securityContext: { runAsUser: 1234, runAsGroup: 55, supplementalGroups: [77], fsGroup: 88 } },
  );
  assert.equal(who.said, '1234\n55 77 88\ntouch: /file: Read-only file system\nCapBnd:\t0000000000000001\n');
  const seccomp = (type: string, localhostProfile?: string) => ({
    securityContext: { seccompProfile: { type, ...(localhostProfile && { localhostProfile }) } },
  });
  const attempt = { command: shell('mkdir /tmp/new && echo made; grep ^Seccomp: /proc/self/status') };
  assert.match((await run('usual', attempt, seccomp('RuntimeDefault'))).said, /^made\nSeccomp:\t2\n$/);
  assert.match((await run('filtered', attempt, seccomp('Localhost', 'no-mkdir.json'))).said, /Operation not permitted/);
  assert.match((await run('open', attempt, seccomp('Unconfined'))).said, /^made\nSeccomp:\t0\n$/);
  await create('lost', seccomp('Localhost', 'none.json'), [attempt]);
  const lost = await bed.until(
    'lost',
    'waits',
    (pod) => statusOf(pod)?.state?.waiting?.reason === 'CreateContainerError',
  );
  assert.match(statusOf(lost)?.state?.waiting?.message ?? '', /^failed to load seccomp profile "none.json"/);
  await create('rootless', { securityContext: { runAsNonRoot: true } }, [attempt]);
  const refused = await bed.until(
    'rootless',
    'waits',
    (pod) => statusOf(pod)?.state?.waiting?.reason === 'CreateContainerConfigError',
  );
  assert.equal(
    statusOf(refused)?.state?.waiting?.message,
    `container has runAsNonRoot and image will run as root (pod: "rootless_default(${refused.metadata.uid})", container: main)`,
  );
});

test('names: the host name, its domain, other hosts, and name servers', async () => {
  const read = { command: shell('hostname; cat /etc/hosts; cat /etc/resolv.conf') };
  const plain = await run('plain', read, {
    hostname: 'short',
    subdomain: 'group',
    hostAliases: [{ ip: '192.0.2.7', hostnames: ['one.test', 'two.test'] }],
    dnsPolicy: 'None',
    dnsConfig: { nameservers: ['192.0.2.53'], searches: ['a.test'], options: [{ name: 'ndots', value: '2' }] },
  });
  const ip = plain.pod.status?.podIP;
  assert.match(plain.said, /^short\n# Kubernetes-managed hosts file\.\n/);
  assert.ok(plain.said.includes(`${ip}\tshort.group.default.svc.cluster.local\tshort\n`), plain.said);
  assert.ok(plain.said.includes('192.0.2.7\tone.test\ttwo.test\n'), plain.said);
  assert.match(plain.said, /nameserver 192\.0\.2\.53\n/);
  assert.doesNotMatch(plain.said, /nameserver (?!192\.0\.2\.53)/);
  assert.match(plain.said, /search a\.test\n[\s\S]*options ndots:2/);
  const whole = await run('whole', read, {
    hostname: 'w',
    subdomain: 'group',
    setHostnameAsFQDN: true,
    dnsPolicy: 'Default',
  });
  assert.match(whole.said, /^w\.group\.default\.svc\.cluster\.local\n/);
});

test('a deadline ends a pod, and the reason says so', async () => {
  await create('late', { activeDeadlineSeconds: 1, restartPolicy: 'Always' }, [{ command: ['sleep', '1000'] }]);
  const { status } = await bed.until('late', 'over', isOver);
  assert.deepEqual(
    [status?.phase, status?.reason, status?.message],
    ['Failed', 'DeadlineExceeded', 'Pod was active on the node longer than the specified deadline'],
  );
  assert.equal(statusOf({ status } as Stored<Pod>)?.state?.running, undefined);
});

test('containers of a pod share /dev/shm and System V IPC, and other pods neither', async () => {
  // The log is a ring in a segment of shared memory.
  const tell = 'syslogd -C16; until logger said; do sleep 0.05; done; echo shared > /dev/shm/note; exec sleep 1000';
  const hear = 'until logread 2>/dev/null | grep -q said; do sleep 0.05; done; echo heard';
  await create('pair', {}, [
    { name: 'main', command: shell(tell) },
    { name: 'more', command: shell(`until cat /dev/shm/note; do sleep 0.05; done 2>/dev/null; ${hear}`) },
  ]);
  await bed.until('pair', 'read', (pod) => statusOf(pod, 'more')?.state?.terminated?.exitCode === 0);
  const said = await text(await bed.client.podLog({ name: 'pair', namespace }, { container: 'more' }));
  assert.equal(said, 'shared\nheard\n');
  const alone = await run('alone', { command: shell('ls /dev/shm; logread 2>&1; true') });
  assert.match(alone.said, /^logread: can't find syslogd buffer/);
});

test('host namespaces and privileged containers, where the node allows them', async () => {
  const host = await run(
    'host',
    {
      command: shell('ls /proc | grep -c "^[0-9]"; cat /proc/self/uid_map; readlink /proc/self/ns/ipc'),
    },
    { hostNetwork: true, hostPID: true, hostIPC: true },
  );
  const { podIP, podIPs, hostIP, hostIPs } = host.pod.status ?? {};
  assert.deepEqual([podIP, podIPs?.[0]?.ip, hostIPs?.[0]?.ip], [hostIP, hostIP, hostIP]);
  const [processes, ids, ipc] = host.said.split('\n');
  assert.equal(ipc, await readlink('/proc/self/ns/ipc'));
  assert.ok(Number(processes) > 5, `it sees ${processes} processes`);
  assert.match(ids ?? '', /^\s*0\s+0\s+4294967295$/);
  const privileged = await run('might', {
    command: shell('grep ^CapEff /proc/self/status; grep ^Seccomp: /proc/self/status'),
    securityContext: { privileged: true },
  });
  assert.match(privileged.said, /Seccomp:\t0/);
  assert.ok(Number(`0x${/CapEff:\t(\w+)/.exec(privileged.said)?.[1]}`) > 2 ** 30, privileged.said);
});

test('what a privileged container mounts below a Bidirectional volume the host has too, and keeps when it ends', async () => {
  const path = join(profiles, 'shared');
  await mkdir(path);
  const volumes = [{ name: 'host', hostPath: { path } }];
  const container = (script: string): Partial<Container> => ({
    command: shell(script),
    volumeMounts: [{ name: 'host', mountPath: '/host', mountPropagation: 'Bidirectional' }],
    securityContext: { privileged: true },
  });
  await create('unshared', { volumes }, [container('true')]);
  const refused = await bed.until('unshared', 'told', (pod) => statusOf(pod)?.state?.waiting?.message !== undefined);
  assert.match(statusOf(refused)?.state?.waiting?.message ?? '', /but it is not a shared mount: mount --make-rshared/);
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', path]);
  execFileSync('mount', ['--make-shared', path]);
  try {
    const mounting = 'mkdir /host/a /host/b; mount -t tmpfs made /host/a && echo here > /host/a/file';
    await run('mounts', container(mounting), { volumes });
    assert.equal(await readFile(join(path, 'a/file'), 'utf8'), 'here\n');
    await run('unmounts', container('umount /host/a'), { volumes });
    await assert.rejects(readFile(join(path, 'a/file')), { code: 'ENOENT' });
  } finally {
    execFileSync('umount', ['--recursive', path]);
  }
});

test('what somebody says that the node has besides, pods may ask for, until it is taken back', async () => {
  const say = (capacity: Record<string, string | null>) =>
    bed.client.patch(nodes, bed.nodeName, { type: 'merge', body: { status: { capacity } } }, { subresource: 'status' });
  const name = 'example.com/dongle';
  await say({ [name]: '4' });
  await until(bed.client, nodes, undefined, ([node]) => node?.status?.allocatable?.[name] === '4');
  await say({ [name]: null });
  await until(bed.client, nodes, undefined, ([node]) => node?.status?.allocatable?.[name] === undefined);
  const [node] = (await bed.client.list(nodes, {})).items;
  assert.deepEqual(Object.keys(node?.status?.allocatable ?? {}).sort(), ['cpu', 'ephemeral-storage', 'memory', 'pods']);
});
