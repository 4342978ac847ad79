/** `docker run` and its friends: the real client over the real engine. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { until } from '#testing/until.ts';

let docker: DockerHost;
let image = '';
let allowed = '';

describe('the docker client runs containers', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    allowed = mkdtempSync(join(tmpdir(), 'allowed-'));
    chmodSync(allowed, 0o755);
    docker = await openDockerHost({ allowedBinds: [allowed] });
    image = docker.host.image;
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
    rmSync(allowed, { recursive: true, force: true });
  });

  test('create, start, stop, start again, kill, restart, wait, rm', async () => {
    const id = (await docker.ok('create', '--name', 'life', image, 'sh', '-c', 'echo said; exec sleep 1000')).trim();
    assert.match(id, /^[0-9a-f]{64}$/);
    assert.equal((await docker.ok('inspect', '-f', '{{.State.Status}}', 'life')).trim(), 'created');
    await docker.ok('start', 'life');
    assert.equal((await docker.ok('ps', '-q', '--no-trunc')).trim(), id);
    await docker.ok('stop', '-t', '0', 'life');
    assert.equal((await docker.ok('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', id)).trim(), 'exited 137');
    await docker.ok('start', id.slice(0, 12));
    await docker.ok('kill', 'life');
    assert.equal((await docker.ok('wait', 'life')).trim(), '137');
    await docker.ok('restart', '-t', '0', 'life');
    assert.equal((await docker.ok('inspect', '-f', '{{.State.Running}}', 'life')).trim(), 'true');
    assert.equal((await docker.ok('logs', 'life')).trim(), 'said\nsaid\nsaid');
    const refused = await docker.docker(['rm', 'life']);
    assert.match(refused.stderr, /container is running: stop the container before removing or force remove/);
    await docker.ok('rm', '-f', 'life');
    assert.equal((await docker.ok('ps', '-aq')).trim(), '');
    assert.deepEqual(docker.host.engine.sandboxes(), []);
  });

  test('run shows output, hands the exit status on, and --rm leaves nothing', async () => {
    const said = await docker.docker(['run', '--rm', image, 'sh', '-c', 'echo out; echo err >&2; exit 7']);
    assert.deepEqual(said, { stdout: 'out\n', stderr: 'err\n', code: 7 });
    assert.equal(await docker.ok('ps', '-aq'), '');
    const missing = await docker.docker(['run', '--rm', image, '/none']);
    assert.equal(missing.code, 127);
    assert.equal(await docker.ok('ps', '-aq'), '');
  });

  test('a name is given once', async () => {
    await docker.ok('run', '-d', '--name', 'only', image, 'sleep', '1000');
    const again = await docker.docker(['run', '-d', '--name', 'only', image, 'sleep', '1000']);
    assert.equal(again.code, 125);
    assert.match(again.stderr, /Conflict\. The container name "\/only" is already in use by container "[0-9a-f]{64}"/);
    await docker.ok('rm', '-f', 'only');
    assert.match((await docker.docker(['start', 'only'])).stderr, /No such container: only/);
  });

  test('every option reaches the container', async () => {
    const file = join(allowed, 'variables');
    writeFileSync(file, 'FROM_FILE=2\n');
    const script = [
      'echo $FROM_FLAG $FROM_FILE $(pwd) $(id -u):$(id -g) $(hostname)',
      'touch /root-file 2>/dev/null && echo writable || echo read-only',
      'touch /scratch/x && df -k /scratch | tail -1 | tr -s " " | cut -d" " -f2',
      'grep -c "10.9.8.7.*friend" /etc/hosts',
      'cat /etc/resolv.conf',
      'grep -E "CapBnd|NoNewPrivs" /proc/self/status | tr -s "\\t" " "',
      'ulimit -n',
      'df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2',
    ].join('; ');
    const flags = ['-e', 'FROM_FLAG=1', '--env-file', file, '--label', 'tier=front', '--workdir', '/home/app'];
    flags.push('--user', '1000:1000', '--hostname', 'named', '--read-only', '--tmpfs', '/scratch:size=1m,mode=1777');
    flags.push('--memory', '64m', '--cpus', '0.5', '--cpu-shares', '512', '--pids-limit', '50', '--cap-drop', 'ALL');
    flags.push('--cap-add', 'NET_BIND_SERVICE', '--security-opt', 'no-new-privileges', '--add-host', 'friend:10.9.8.7');
    flags.push('--dns', '9.9.9.9', '--stop-signal', 'SIGINT', '--stop-timeout', '3', '--ulimit', 'nofile=100:200');
    flags.push('--shm-size', '2m', '--entrypoint', 'sh', '--name', 'optioned');
    const output = await docker.ok('run', ...flags, image, '-c', script);
    assert.deepEqual(output.trim().split('\n'), [
      '1 2 /home/app 1000:1000 named',
      'read-only',
      '1024',
      '1',
      'nameserver 9.9.9.9',
      'CapBnd: 0000000000000400',
      'NoNewPrivs: 1',
      '100',
      '2048',
    ]);
    const format =
      '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}} {{.HostConfig.PidsLimit}} {{.Config.StopSignal}} {{.Config.StopTimeout}} {{json .Config.Entrypoint}} {{json .Config.Labels}}';
    assert.equal(
      (await docker.ok('inspect', '-f', format, 'optioned')).trim(),
      '67108864 500000000 512 50 SIGINT 3 ["sh"] {"tier":"front"}',
    );
    await docker.ok('rm', 'optioned');
  });

  test('ps finds by every filter', async () => {
    const web = (
      await docker.ok('run', '-d', '--name', 'f-web', '--label', 'tier=front', '--expose', '81', image, 'sleep', '1000')
    ).trim();
    const job = (
      await docker.ok(
        'create',
        '--name',
        'f-job',
        '--label',
        'tier=back',
        '-v',
        'f-data:/data',
        image,
        'sh',
        '-c',
        'exit 4',
      )
    ).trim();
    await docker.ok('start', '-a', 'f-job').catch(() => undefined);
    const find = async (...filters: string[]): Promise<string[]> =>
      (await docker.ok('ps', '-a', '--no-trunc', '-q', ...filters.flatMap((filter) => ['--filter', filter])))
        .split('\n')
        .filter((line) => line !== '');
    for (const filter of [
      'name=f-w',
      'label=tier=front',
      'status=running',
      `id=${web.slice(0, 10)}`,
      'expose=81',
      `before=${job}`,
    ])
      assert.deepEqual(await find(filter), [web], filter);
    for (const filter of ['label=tier=back', 'exited=4', 'status=exited', 'volume=f-data', `since=${web}`])
      assert.deepEqual(await find(filter), [job], filter);
    assert.equal((await find(`ancestor=${image}`)).length, 2);
    assert.match((await docker.docker(['ps', '--filter', 'nothing=1'])).stderr, /invalid filter 'nothing'/);
    assert.equal((await docker.ok('container', 'prune', '-f')).includes(job), true);
    await docker.ok('rm', '-f', 'f-web');
    await docker.ok('volume', 'rm', 'f-data');
  });

  test('events tell a life, by filter', async () => {
    const since = String(Date.now() / 1000 - 0.001);
    await docker.docker(['run', '--rm', '--name', 'eventful', image, 'sh', '-c', 'exit 5']);
    await docker.ok('run', '--rm', '--name', 'other', image, 'true');
    const until = String(Date.now() / 1000 + 0.5);
    const lines = await docker.ok(
      'events',
      '--since',
      since,
      '--until',
      until,
      '--filter',
      'container=eventful',
      '--format',
      '{{.Action}} {{index .Actor.Attributes "exitCode"}}',
    );
    assert.deepEqual(
      lines
        .trim()
        .split('\n')
        .map((line) => line.trim()),
      ['create', 'attach', 'start', 'die 5', 'destroy'],
    );
  });

  test('restart policies, and what was stopped by hand stays so', async () => {
    await docker.ok('run', '-d', '--name', 'again', '--restart', 'on-failure:2', image, 'sh', '-c', 'echo run; exit 1');
    await until(
      async () =>
        (await docker.ok('inspect', '-f', '{{.RestartCount}} {{.State.Status}}', 'again')).trim() === '2 exited',
    );
    assert.equal((await docker.ok('logs', 'again')).trim(), 'run\nrun\nrun');
    await docker.ok('run', '-d', '--name', 'kept', '--restart', 'always', image, 'sleep', '1000');
    await docker.ok('run', '-d', '--name', 'left', '--restart', 'unless-stopped', image, 'sleep', '1000');
    await docker.ok('run', '-d', '--name', 'steady', '--restart', 'unless-stopped', image, 'sleep', '1000');
    const pid = (await docker.ok('inspect', '-f', '{{.State.Pid}}', 'steady')).trim();
    await docker.ok('stop', '-t', '0', 'kept', 'left');
    await docker.reopen();
    assert.equal((await docker.ok('inspect', '-f', '{{.State.Pid}}', 'steady')).trim(), pid);
    await until(async () => (await docker.ok('inspect', '-f', '{{.State.Running}}', 'kept')).trim() === 'true');
    assert.equal((await docker.ok('inspect', '-f', '{{.State.Running}}', 'left')).trim(), 'false');
    process.kill(Number(pid), 'SIGKILL');
    await until(async () => {
      const now = (await docker.ok('inspect', '-f', '{{.State.Pid}} {{.State.Status}}', 'steady')).trim();
      return now !== `${pid} running` && now.endsWith('running');
    });
    await docker.ok('rm', '-f', 'again', 'kept', 'left', 'steady');
  });

  test('what would open the host is refused', async () => {
    const refusals: [string[], RegExp][] = [
      [['--privileged'], /privileged: .* --allow-privileged/],
      [['--network', 'host'], /network: .* --allow-host-namespaces/],
      [['--pid', 'host'], /hostNamespaces: the host's pid/],
      [['-v', '/etc:/etc'], /bind mount of \/etc refused: it is not below/],
      [['--security-opt', 'seccomp=unconfined'], /seccomp: .* --allow-unconfined/],
      [['--device', '/dev/null'], /--allow-device \/dev\/null/],
      [['--label', 'docker.sampan.dev/settings=x'], /the engine's own/],
    ];
    for (const [flags, message] of refusals) {
      const said = await docker.docker(['run', '--rm', ...flags, image, 'true']);
      assert.equal(said.code, 125, flags.join(' '));
      assert.match(said.stderr, message);
    }
    assert.equal(await docker.ok('ps', '-aq'), '');
    assert.deepEqual(docker.host.engine.sandboxes(), []);
  });

  test('what lies below an allowed directory is mounted, and no link leads out of it', async () => {
    writeFileSync(join(allowed, 'file'), 'from the host\n');
    symlinkSync('/etc', join(allowed, 'out'));
    assert.equal(
      await docker.ok('run', '--rm', '-v', `${allowed}:/in:ro`, image, 'cat', '/in/file'),
      'from the host\n',
    );
    await docker.ok(
      'run',
      '--rm',
      '--mount',
      `type=bind,src=${allowed},dst=/in`,
      image,
      'sh',
      '-c',
      'echo back > /in/made',
    );
    assert.equal(readFileSync(join(allowed, 'made'), 'utf8'), 'back\n');
    const out = await docker.docker(['run', '--rm', '-v', `${allowed}/out:/in`, image, 'true']);
    assert.match(out.stderr, /it is not below/);
  });

  test("a pod's container is not removed", async () => {
    const { engine } = docker.host;
    const sandbox = await engine.createSandbox({ name: 'team/web/u1', hostname: 'web' });
    const pod = await engine.createContainer({ sandbox: sandbox.id, name: 'main', image, command: ['sleep', '1000'] });
    for (const words of [
      ['rm', '-f', pod.id],
      ['start', pod.id],
      ['restart', pod.id],
    ])
      assert.match((await docker.docker(words)).stderr, /it belongs to a pod, .* kubectl/);
    assert.equal(engine.container(pod.id)?.state, 'created');
    await engine.removeSandbox(sandbox.id);
  });

  test('published ports lead in, from this host and after a restart of the engine, and end with the container', async () => {
    await docker.ok(
      'run',
      '-d',
      '--name',
      'served',
      '-p',
      '127.0.0.1:0:8080',
      '-p',
      '0:8081/tcp',
      image,
      'sh',
      '-c',
      'echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp',
    );
    const address = (await docker.ok('port', 'served', '8080')).trim();
    assert.match(address, /^127\.0\.0\.1:\d+$/);
    await until(async () => (await get(address)) === 'hello\n');
    await docker.reopen();
    assert.equal(await get(address), 'hello\n');
    const [, port = ''] = address.split(':');
    const taken = await docker.docker(['run', '--rm', '-p', `127.0.0.1:${port}:80`, image, 'true']);
    assert.equal(taken.code, 125);
    assert.match(taken.stderr, /port is already allocated/);
    await docker.ok('stop', '-t', '0', 'served');
    assert.equal(await get(address), undefined);
    await docker.ok('rm', 'served');
  });

  test('volumes keep what was written', async () => {
    await docker.ok('volume', 'create', '--label', 'kind=test', 'kept-data');
    await docker.ok('run', '--rm', '-v', 'kept-data:/data', image, 'sh', '-c', 'echo 42 > /data/answer');
    assert.equal(await docker.ok('run', '--rm', '-v', 'kept-data:/data:ro', image, 'cat', '/data/answer'), '42\n');
    const refused = await docker.docker(['run', '--rm', '-v', 'kept-data:/data:ro', image, 'touch', '/data/x']);
    assert.match(refused.stderr, /Read-only file system/);
    await docker.ok('create', '--name', 'user', '-v', 'kept-data:/data', '-v', '/own', image, 'true');
    assert.equal((await docker.ok('volume', 'ls', '-q')).trim().split('\n').length, 2);
    assert.match((await docker.docker(['volume', 'rm', 'kept-data'])).stderr, /volume is in use/);
    await docker.ok('rm', '-v', 'user');
    assert.equal((await docker.ok('volume', 'ls', '-q', '--filter', 'label=kind=test')).trim(), 'kept-data');
    await docker.ok('volume', 'rm', 'kept-data');
    assert.equal(await docker.ok('volume', 'ls', '-q'), '');
  });
});

async function get(address: string): Promise<string | undefined> {
  try {
    const response = await fetch(`http://${address}/index.html`, { signal: AbortSignal.timeout(1000) });
    return await response.text();
  } catch {
    return undefined;
  }
}
