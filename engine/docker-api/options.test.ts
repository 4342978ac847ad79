/** The options of `docker run` that `run.test.ts` does not show. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';

let docker: DockerHost;
let image = '';

const lines = async (...words: string[]): Promise<string[]> => (await docker.ok(...words)).trim().split('\n');
const inspect = async (name: string, format: string): Promise<string> =>
  (await docker.ok('inspect', '-f', format, name)).trim();

describe('options of docker run', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    image = docker.host.image;
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
  });

  test('--init is process 1, passes signals on and hands the status on', async () => {
    const script = 'trap "exit 9" TERM; cat /proc/1/comm; while :; do sleep 0.05; done';
    await docker.ok('run', '-d', '--init', '--name', 'init', image, 'sh', '-c', script);
    for (; (await docker.ok('logs', 'init')) === ''; );
    assert.equal((await docker.ok('logs', 'init')).trim(), 'docker-init');
    assert.equal(await inspect('init', '{{.HostConfig.Init}} {{.Path}}'), 'true sh');
    await docker.ok('stop', 'init');
    assert.equal(await inspect('init', '{{.State.ExitCode}}'), '9');
    await docker.ok('rm', 'init');
  });

  test('sysctls, groups by name, domain name, oom score, limits and annotations reach the container', async () => {
    const script = [
      'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax',
      'id -G',
      'cat /proc/sys/kernel/domainname /proc/self/oom_score_adj',
      'ulimit -u',
      'grep Cpus_allowed_list /proc/self/status | tr -s "\\t" " "',
      'df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2',
    ].join('; ');
    const flags = ['--sysctl', 'net.ipv4.ip_unprivileged_port_start=80', '--sysctl', 'kernel.msgmax=9000'];
    flags.push('--group-add', 'extra', '--group-add', '3000', '--domainname', 'example.test');
    flags.push('--oom-score-adj', '500', '--ulimit', 'nproc=50:60', '--cpuset-cpus', '0');
    flags.push('--memory', '64m', '--memory-swap', '128m', '--memory-reservation', '32m', '--shm-size', '3m');
    flags.push('--annotation', 'team=blue', '--name', 'set');
    assert.deepEqual(await lines('run', ...flags, image, 'sh', '-c', script), [
      '80',
      '9000',
      '0 2000 3000',
      'example.test',
      '500',
      '50',
      'Cpus_allowed_list: 0',
      '3072',
    ]);
    const format =
      '{{json .HostConfig.Sysctls}} {{json .HostConfig.GroupAdd}} {{.Config.Domainname}} {{.HostConfig.OomScoreAdj}} {{.HostConfig.CpusetCpus}} {{.HostConfig.MemoryReservation}} {{json .HostConfig.Annotations}}';
    assert.equal(
      await inspect('set', format),
      '{"kernel.msgmax":"9000","net.ipv4.ip_unprivileged_port_start":"80"} ["3000","extra"] example.test 500 0 33554432 {"team":"blue"}',
    );
    await docker.ok('rm', 'set');
  });

  test('--tmpfs with every option', async () => {
    const options = '/t:size=1m,mode=0700,uid=1000,gid=2000,nr_inodes=100';
    const script =
      'stat -c "%u %g %a" /t; df -k /t | tail -1 | tr -s " " | cut -d" " -f2; grep -o " /t [^ ]* [^ ]*" /proc/mounts';
    const [owner, size, mounted = ''] = await lines('run', '--rm', '--tmpfs', options, image, 'sh', '-c', script);
    assert.deepEqual([owner, size], ['1000 2000 700', '1024']);
    for (const word of ['noexec', 'nosuid', 'nodev', 'nr_inodes=100']) assert.ok(mounted.includes(word), mounted);
    const run = ['sh', '-c', 'cp /bin/busybox /t && /t/busybox true && echo ran'];
    assert.deepEqual(await lines('run', '--rm', '--tmpfs', '/t:exec', image, ...run), ['ran']);
    assert.notEqual((await docker.docker(['run', '--rm', '--tmpfs', '/t', image, ...run])).code, 0);
  });

  test('--volumes-from takes another’s volumes', async () => {
    await docker.ok(
      'run',
      '--name',
      'owner',
      '-v',
      'shared-data:/a',
      '-v',
      '/anonymous',
      image,
      'sh',
      '-c',
      'echo 1 > /a/f; echo 2 > /anonymous/f',
    );
    assert.deepEqual(await lines('run', '--rm', '--volumes-from', 'owner', image, 'cat', '/a/f', '/anonymous/f'), [
      '1',
      '2',
    ]);
    const said = await docker.docker(['run', '--rm', '--volumes-from', 'owner:ro', image, 'touch', '/a/x']);
    assert.match(said.stderr, /Read-only file system/);
    await docker.ok('run', '-d', '--name', 'taker', '--volumes-from', 'owner', image, 'sleep', '1000');
    await docker.ok('rm', '-v', 'owner');
    assert.equal((await docker.ok('exec', 'taker', 'cat', '/anonymous/f')).trim(), '2');
    await docker.ok('rm', '-f', '-v', 'taker');
    await docker.ok('volume', 'rm', 'shared-data');
  });

  test('log drivers: json-file and local with sizes, none keeps nothing', async () => {
    const noise = [
      'sh',
      '-c',
      'i=0; while [ $i -lt 3000 ]; do echo "line $i of many that fill a log"; i=$((i+1)); done',
    ];
    await docker.ok('run', '--name', 'small', '--log-opt', 'max-size=8k', '--log-opt', 'max-file=2', image, ...noise);
    assert.equal(
      await inspect('small', '{{.HostConfig.LogConfig.Type}} {{index .HostConfig.LogConfig.Config "max-size"}}'),
      'json-file 8k',
    );
    assert.equal((await lines('logs', '--tail', '1', 'small'))[0], 'line 2999 of many that fill a log');
    const said = await docker.docker(['run', '--name', 'silent', '--log-driver', 'none', image, 'echo', 'heard']);
    assert.deepEqual([said.stdout, said.code], ['heard\n', 0]);
    assert.match(
      (await docker.docker(['logs', 'silent'])).stderr,
      /configured logging driver does not support reading/,
    );
    assert.equal(await inspect('silent', '{{.LogPath}}'), '');
    const id = await inspect('silent', '{{.Id}}');
    assert.ok(!existsSync(`${docker.host.options.dataDirectory}/engine/containers/${id}/log/container.log`));
    await docker.ok('run', '--rm', '--log-driver', 'local', image, 'true');
    await docker.ok('rm', 'small', 'silent');
  });

  test('what is wrong is refused in Docker’s words', async () => {
    const refusals: [string[], RegExp][] = [
      [['--log-driver', 'syslog'], /logger: no log driver named 'syslog' is registered/],
      [['--log-opt', 'colour=red'], /unknown log opt 'colour' for json-file log driver/],
      [
        ['--sysctl', 'net.ipv4.tcp_syncookies=1', '--sysctl', 'kernel.msgmax=x', '--oom-score-adj', '2000'],
        /range for oom score adj is \[-1000, 1000\]/,
      ],
      [['--oom-score-adj', '-900'], /would spare the container before the host/],
      [['--memory', '64m', '--memory-swap', '32m'], /Minimum memoryswap limit should be larger than memory limit/],
      [['--memory-swap', '32m'], /You should always set the Memory limit when using Memoryswap limit/],
      [
        ['--memory', '16m', '--memory-reservation', '32m'],
        /Minimum memory limit can not be less than memory reservation limit/,
      ],
      [['--cpuset-cpus', '700'], /Requested CPUs are not available - requested 700/],
      [['--cpus', '1000'], /as there are only \d+ CPUs available/],
      [['--group-add', 'nobody-here'], /group has no "nobody-here"/],
      [['--volumes-from', 'none'], /No such container: none/],
      [['--tmpfs', '/t:luck=1'], /Invalid tmpfs option "luck=1"/],
      [['--tmpfs', '/t:dev'], /devices are not given/],
      [['--ulimit', 'nofile=99999999:99999999'], /more than the engine's own/],
      [['--device', '/dev/null'], /devices: \/dev\/null is refused/],
    ];
    for (const [flags, message] of refusals) {
      const said = await docker.docker(['create', ...flags, image, 'true']);
      assert.notEqual(said.code, 0, flags.join(' '));
      assert.match(said.stderr, message);
    }
    assert.equal(await docker.ok('ps', '-aq'), '');
    assert.deepEqual(docker.host.engine.sandboxes(), []);
    const warned = await docker.docker(['create', '--blkio-weight', '300', '--name', 'heavy', image]);
    const { blockWeight } = docker.host.engine.limitSupport();
    assert.equal(/Weight discarded/.test(warned.stderr), !blockWeight);
    await docker.ok('rm', 'heavy');
  });
});
