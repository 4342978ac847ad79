/** pause, unpause, rename, update, top and stats: the real client over the real engine. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { json } from 'node:stream/consumers';
import { once } from 'node:events';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { until } from '#testing/until.ts';
import { readColumns } from './top.ts';

let docker: DockerHost;
let image = '';

const inspect = async (name: string, format: string): Promise<string> =>
  (await docker.ok('inspect', '-f', format, name)).trim();
const refusal = async (...words: string[]): Promise<string> => {
  const said = await docker.docker(words);
  assert.notEqual(said.code, 0, words.join(' '));
  return said.stderr.trim();
};

describe('the docker client changes and watches what runs', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    image = docker.host.image;
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
  });

  test('pause stops every process, survives the engine, and unpause lets it go on', async () => {
    const since = String(Date.now() / 1000 - 0.001);
    const script = 'while :; do echo tick; sleep 0.05; done';
    const id = (await docker.ok('run', '-d', '--name', 'cold', image, 'sh', '-c', script)).trim();
    await docker.ok('pause', 'cold');
    assert.equal(await inspect('cold', '{{.State.Status}} {{.State.Paused}} {{.State.Running}}'), 'paused true true');
    assert.match(
      await docker.ok('ps', '--filter', 'status=paused', '--format', '{{.Names}} {{.Status}}'),
      /^cold Up .* \(Paused\)/,
    );
    const said = await docker.ok('logs', 'cold');
    await docker.reopen();
    assert.equal(await inspect('cold', '{{.State.Status}}'), 'paused');
    assert.equal(await docker.ok('logs', 'cold'), said);
    assert.match(await refusal('pause', 'cold'), /Container [0-9a-f]{64} is already paused/);
    assert.match(await refusal('exec', 'cold', 'true'), /is paused, unpause the container before exec/);
    assert.match(await refusal('rm', 'cold'), /container is paused and must be unpaused first/);
    assert.match(await refusal('start', 'cold'), /cannot start a paused container, try unpause instead/);
    assert.match(await docker.ok('info', '--format', '{{.ContainersPaused}} {{.ContainersRunning}}'), /^1 0/);
    await docker.ok('unpause', 'cold');
    await until(async () => (await docker.ok('logs', 'cold')).length > said.length);
    assert.match(await refusal('unpause', 'cold'), /Container [0-9a-f]{64} is not paused/);
    await docker.ok('pause', 'cold');
    await docker.ok('stop', '-t', '1', 'cold');
    assert.match(await refusal('pause', 'cold'), /Container [0-9a-f]{64} is not running/);
    const until_ = String(Date.now() / 1000 + 0.2);
    const events = await docker.ok(
      'events',
      '--since',
      since,
      '--until',
      until_,
      '--filter',
      `container=${id}`,
      '--format',
      '{{.Action}}',
    );
    const told = events.split('\n').filter((line) => /pause/.test(line));
    // Those of before the engine was opened again are forgotten with it.
    assert.deepEqual(told, ['unpause', 'pause', 'unpause']);
    await docker.ok('rm', 'cold');
  });

  test('a paused container ends by kill, stop and rm -f', async () => {
    for (const words of [['kill'], ['stop', '-t', '10'], ['rm', '-f']]) {
      const script = 'trap "exit 3" TERM; while :; do sleep 0.1; done';
      await docker.ok('run', '-d', '--name', 'ending', image, 'sh', '-c', script);
      await docker.ok('pause', 'ending');
      await docker.ok(...words, 'ending');
      if (words[0] === 'rm') continue;
      await docker.ok('wait', 'ending');
      assert.equal(
        await inspect('ending', '{{.State.Status}} {{.State.ExitCode}}'),
        words[0] === 'kill' ? 'exited 137' : 'exited 3',
      );
      await docker.ok('rm', 'ending');
    }
    assert.equal(await docker.ok('ps', '-aq'), '');
  });

  test('rename frees the old name and takes no one else’s', async () => {
    const id = (await docker.ok('run', '-d', '--name', 'first', image, 'sleep', '1000')).trim();
    await docker.ok('rename', 'first', 'second');
    assert.equal(await inspect(id, '{{.Name}}'), '/second');
    await docker.ok('run', '-d', '--name', 'first', image, 'sleep', '1000');
    assert.match(
      await refusal('rename', 'first', 'second'),
      new RegExp(
        `Error when allocating new name: Conflict\\. The container name "/second" is already in use by container "${id}"`,
      ),
    );
    assert.match(await refusal('rename', 'first', 'first'), /same name as its current name/);
    assert.match(await refusal('rename', 'first', 'a/b'), /Invalid container name \(a\/b\)/);
    assert.match(await refusal('rename', 'none', 'x'), /No such container: none/);
    await docker.reopen();
    assert.equal(await inspect('second', '{{.Id}}'), id);
    await docker.ok('rm', '-f', 'first', 'second');
  });

  test('update changes the running cgroup, what is kept, and the next start', async () => {
    await docker.ok('run', '-d', '--name', 'grown', '--memory', '32m', image, 'sleep', '1000');
    const words = [
      '--memory',
      '64m',
      '--memory-swap',
      '64m',
      '--cpus',
      '0.5',
      '--cpu-shares',
      '256',
      '--pids-limit',
      '40',
    ];
    await docker.ok('update', ...words, '--restart', 'on-failure:3', 'grown');
    const format =
      '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}';
    const wanted = '67108864 500000000 256 40 on-failure:3';
    assert.equal(await inspect('grown', format), wanted);
    const { engine } = docker.host;
    const id = await inspect('grown', '{{.Id}}');
    const held = async (): Promise<(number | undefined)[]> => {
      const { memory, processes } = await docker.host.engine.usage(id);
      return [memory.limitBytes, processes.limit];
    };
    assert.deepEqual(await held(), [67_108_864, 40]);
    assert.match(engine.container(id)?.labels['docker.sampan.dev/settings'] ?? '', /on-failure/);
    await docker.ok('restart', '-t', '0', 'grown');
    assert.deepEqual(await held(), [67_108_864, 40]);
    await docker.reopen();
    assert.equal(await inspect('grown', format), wanted);
    assert.match(await refusal('update', '--memory', '1m', 'grown'), /Minimum memory limit allowed is 6MB/);
    assert.match(
      await refusal('update', '--cpuset-cpus', '900', 'grown'),
      /Requested CPUs are not available - requested 900/,
    );
    assert.match(await refusal('update', '--blkio-weight', '5', 'grown'), /Range of blkio weight is from 10 to 1000/);
    await docker.ok('rm', '-f', 'grown');
    await docker.ok('run', '-d', '--rm', '--name', 'passing', image, 'sleep', '1000');
    assert.match(
      await refusal('update', '--restart', 'always', 'passing'),
      /Restart policy cannot be updated because AutoRemove is enabled/,
    );
    await docker.ok('rm', '-f', 'passing');
  });

  test('top tells the processes as ps does', async () => {
    await docker.ok('run', '-d', '--name', 'busy', '--user', '1000', image, 'sh', '-c', 'sleep 4321 & sleep 1234');
    await until(async () => (await docker.ok('top', 'busy')).includes('sleep 4321'));
    const [title = '', ...rows] = (await docker.ok('top', 'busy')).trim().split('\n');
    assert.deepEqual(title.split(/\s+/), ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD']);
    assert.equal(rows.length, 2);
    const first = rows.find((row) => row.endsWith('sleep 1234'))?.split(/\s+/) ?? [];
    assert.equal(first[0], '1000');
    assert.match(readFileSync(`/proc/${first[1]}/cmdline`, 'latin1'), /^sleep\0/);
    const chosen = await docker.ok('top', 'busy', '-o', 'pid,args');
    assert.match(chosen, /^PID +COMMAND\n/);
    assert.match(chosen, /sleep 4321/);
    assert.match(
      await docker.ok('top', 'busy', 'aux'),
      /^USER +PID +%CPU +%MEM +VSZ +RSS +TTY +STAT +START +TIME +COMMAND\n/,
    );
    assert.match(await refusal('top', 'busy', '-o', 'args'), /Couldn't find PID field in ps output/);
    assert.match(await refusal('top', 'busy', '-o', 'pid,mood'), /unknown column "mood"/);
    await docker.ok('kill', 'busy');
    await docker.ok('wait', 'busy');
    assert.match(await refusal('top', 'busy'), /container [0-9a-f]{64} is not running/);
    await docker.ok('rm', 'busy');
  });

  test('stats tell cpu, memory, traffic and processes', async () => {
    await docker.ok('run', '-d', '--name', 'used', '--memory', '64m', image, 'sh', '-c', 'while :; do :; done');
    const [cpu = '', memory = '', traffic = '', pids = ''] = (
      await docker.ok('stats', '--no-stream', '--format', '{{.CPUPerc}}|{{.MemUsage}}|{{.NetIO}}|{{.PIDs}}', 'used')
    )
      .trim()
      .split('|');
    assert.ok(Number(cpu.replace('%', '')) > 5, cpu);
    assert.match(memory, /^[\d.]+[KM]iB \/ 64MiB$/);
    assert.match(traffic, /^[\d.]+[kM]?B \/ [\d.]+[kM]?B$/);
    assert.equal(pids, '1');
    interface View {
      cpu_stats: { cpu_usage: { total_usage: number }; system_cpu_usage: number; online_cpus: number };
      precpu_stats: { cpu_usage: { total_usage: number } };
      networks: Record<string, { rx_bytes: number }>;
      name: string;
    }
    const outgoing = request({
      socketPath: docker.socketPath,
      path: '/v1.45/containers/used/stats?stream=0&one-shot=1',
    }).end();
    const [response] = await once(outgoing, 'response');
    const view = (await json(response)) as View;
    assert.equal(view.name, '/used');
    assert.ok(view.cpu_stats.cpu_usage.total_usage > 0);
    assert.ok(view.cpu_stats.system_cpu_usage > view.cpu_stats.cpu_usage.total_usage);
    assert.equal(view.precpu_stats.cpu_usage.total_usage, 0);
    assert.ok(Object.hasOwn(view.networks, 'eth0'));
    const follower = docker.spawn(['stats', '--format', '{{.Name}} {{.CPUPerc}}', 'used']);
    let seen = '';
    for await (const chunk of follower.stdout ?? []) {
      seen += String(chunk);
      if ((seen.match(/used [1-9][\d.]*%/g) ?? []).length >= 2) break;
    }
    follower.kill();
    await docker.ok('stop', '-t', '0', 'used');
    assert.match(await docker.ok('stats', '--no-stream', '--format', '{{.Name}} {{.PIDs}}', 'used'), /^used 0$/m);
    await docker.ok('rm', 'used');
  });

  test('a container of a pod is looked at, and not changed', async () => {
    const { engine } = docker.host;
    const sandbox = await engine.createSandbox({ name: 'team/web/u1', hostname: 'web' });
    const pod = await engine.createContainer({ sandbox: sandbox.id, name: 'main', image, command: ['sleep', '1000'] });
    await engine.startContainer(pod.id);
    for (const words of [
      ['pause', pod.id],
      ['rename', pod.id, 'mine'],
      ['update', '--cpus', '1', pod.id],
    ])
      assert.match(await refusal(...words), /it belongs to a pod/);
    assert.match(await docker.ok('top', pod.id), /sleep 1000/);
    assert.match(await docker.ok('stats', '--no-stream', '--format', '{{.PIDs}}', pod.id), /^1$/m);
    await engine.removeSandbox(sandbox.id);
  });
});

test('columns are ps’s own', () => {
  const titles = (text: string): string[] => readColumns(text).map(({ title }) => title);
  assert.deepEqual(titles('-eo pid,comm'), ['PID', 'COMMAND']);
  assert.deepEqual(titles('-o pid=NUMBER -o pid'), ['NUMBER', 'PID']);
  assert.deepEqual(titles('-e'), ['PID', 'TTY', 'TIME', 'CMD']);
  assert.throws(() => readColumns('--forest'), /not supported; use -ef/);
  assert.throws(() => readColumns('-o constructor'), /unknown column/);
});
