/** Ways out that take more than one container, or that are made outside of it: races, limits, the runtime itself. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { mostFileBytes } from '#engine/containers/log-bound.ts';
import { run } from '#lib/run.ts';
import type { TarInput } from '#lib/tar/write.ts';
import { addBusyboxImage } from '#testing/busybox-image.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { until } from '#testing/until.ts';

let docker: DockerHost;
let image = '';
let hostile = '';
/** A directory of this host that nothing of a container may come to. */
let outside = '';

describe('hostile containers', { ...withDocker, timeout: 200_000 }, () => {
  before(async () => {
    outside = mkdtempSync(join(tmpdir(), 'outside-'));
    writeFileSync(join(outside, 'secret'), 'of the host');
    docker = await openDockerHost();
    image = docker.host.image;
    hostile = await addBusyboxImage(docker.host.engine.images, { repository: 'links', entries: links() });
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
    rmSync(outside, { recursive: true, force: true });
  });

  test('the runtime is not overwritten while it executes', async () => {
    const path = execFileSync('sh', ['-c', 'command -v runc'], { encoding: 'utf8' }).trim();
    const digest = (): string => createHash('sha256').update(readFileSync(path)).digest('hex');
    const before = digest();
    // Waits for a program that is not its own, then opens that for writing, as itself and through a descriptor.
    const script = [
      'while :; do for p in /proc/[0-9]*; do',
      'case "$(readlink $p/exe)" in *busybox*|"") ;; *)',
      'echo seen; (: >> $p/exe) 2>/dev/null && echo overwritten; exec 9< $p/exe && (: >> /proc/self/fd/9) 2>/dev/null && echo overwritten;;',
      'esac; done; done',
    ].join(' ');
    for (const flags of [[], ['--cap-add', 'ALL']]) {
      await docker.ok('run', '-d', '--name', 'waiting', ...flags, image, 'sh', '-c', script);
      for (let round = 0; round < 5; round += 1) {
        await docker.docker(['exec', 'waiting', 'true']);
        await docker.docker(['exec', 'waiting', '/proc/self/exe', 'true']);
      }
      assert.doesNotMatch(await docker.ok('logs', 'waiting'), /overwritten/);
      await docker.ok('rm', '-f', 'waiting');
    }
    const started = await docker.docker(['run', '--rm', image, '/proc/self/exe', '--version']);
    assert.doesNotMatch(started.stdout, /overwritten/);
    assert.equal(digest(), before);
  });

  test('a working directory leads to no descriptor of the runtime', async () => {
    await docker.ok('run', '-d', '--name', 'base', image, 'sleep', '1000');
    const script = `cat ../../../../../../../..${outside}/secret 2>/dev/null; ls ../../../../../../.. | tr "\\n" " "`;
    const here =
      readdirSync('/').find((name) => !'bin dev etc home proc root sys tmp var'.split(' ').includes(name)) ?? '';
    for (let descriptor = 3; descriptor < 12; descriptor += 1) {
      const directory = `/proc/self/fd/${descriptor}`;
      const outputs = await Promise.all([
        docker.docker(['run', '--rm', '-w', directory, image, 'sh', '-c', script]),
        docker.docker(['exec', '-w', directory, 'base', 'sh', '-c', script]),
      ]);
      for (const { stdout } of outputs) {
        assert.doesNotMatch(stdout, /of the host/, directory);
        assert.ok(!stdout.split(' ').includes(here), `${directory}: ${stdout}`);
      }
    }
    await docker.ok('rm', '-f', 'base');
  });

  test('a link where a mount goes stays inside', async () => {
    for (const target of ['/up/made', '/absolute/made', '/loop/made', '/processes/made']) {
      const script = `ls -d ..${outside} 2>/dev/null; grep " ${target} \\|made " /proc/self/mountinfo | cut -d" " -f5`;
      await docker.docker(['run', '--rm', '-v', `data:${target}`, hostile, 'sh', '-c', script]);
      await docker.docker(['run', '--rm', '--tmpfs', target, hostile, 'true']);
    }
    assert.deepEqual(readdirSync(outside), ['secret']);
    assert.ok(!existsSync('/made') && !existsSync('/etc/made') && !existsSync('/proc/made'));
    await docker.ok('volume', 'rm', 'data');
  });

  test('a link that appears while a mount is made stays inside', async () => {
    const swap = `cd /a; mkdir -p real; while :; do ln -s ../../../../../../..${outside} link 2>/dev/null; mv real away 2>/dev/null; mv link real 2>/dev/null; rm -f real; mv away real 2>/dev/null; done`;
    await docker.ok('run', '-d', '--name', 'swapping', '-v', 'shared:/a', image, 'sh', '-c', swap);
    for (let round = 0; round < 8; round += 1) {
      const said = await docker.docker([
        ...['run', '--rm', '-v', 'shared:/a', '-v', 'inner:/a/real/inner', image],
        ...['sh', '-c', `cat /a/real/secret /a/real/inner/secret ..${outside}/secret 2>/dev/null; true`],
      ]);
      assert.doesNotMatch(said.stdout, /of the host/);
      assert.deepEqual(readdirSync(outside), ['secret']);
    }
    await docker.ok('rm', '-f', 'swapping');
    await docker.ok('volume', 'rm', 'shared', 'inner');
  });

  test('a working directory that is a link is made inside', async () => {
    for (const directory of [`/up${outside}/made`, `/absolute/made`, '/loop/made']) {
      await docker.docker(['run', '--rm', '-w', directory, hostile, 'touch', 'written']);
    }
    assert.deepEqual(readdirSync(outside), ['secret']);
    assert.ok(!existsSync('/etc/made'));
  });

  test('a terminal is the container’s own', async () => {
    const script = 'tty; ls -l /proc/self/fd/0 | tr -s " " | rev | cut -d" " -f1 | rev; test -c "$(tty)" && echo there';
    assert.deepEqual((await docker.ok('run', '--rm', '-t', image, 'sh', '-c', script)).split('\r\n').slice(0, 3), [
      '/dev/pts/0',
      '/dev/pts/0',
      'there',
    ]);
    await docker.ok('run', '-d', '--name', 'typed', image, 'sleep', '1000');
    const said = await docker.ok('exec', '-t', 'typed', 'sh', '-c', script);
    assert.match(said, /^\/dev\/pts\/\d+\r+\n\/dev\/pts\/\d+\r+\nthere/);
    await docker.ok('rm', '-f', 'typed');
  });

  test('bombs end at the limits', async () => {
    await docker.ok('run', '-d', '--name', 'neighbour', '--memory', '32m', image, 'sleep', '1000');
    const bomb = 'bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done';
    await docker.ok('run', '-d', '--name', 'forks', '--pids-limit', '40', image, 'sh', '-c', bomb);
    const memory = await docker.docker(['run', '--name', 'memory', '--memory', '32m', image, 'tail', '/dev/zero']);
    assert.equal(memory.code, 137);
    assert.equal((await docker.ok('inspect', '-f', '{{.State.OOMKilled}}', 'memory')).trim(), 'true');
    const { pids } = await docker.host.engine.stats((await docker.ok('inspect', '-f', '{{.Id}}', 'forks')).trim());
    assert.ok(pids <= 40, String(pids));
    assert.equal((await docker.ok('inspect', '-f', '{{.State.Running}}', 'neighbour')).trim(), 'true');
    await docker.ok('rm', '-f', 'forks', 'memory', 'neighbour');
    // Without a wish there is a limit too.
    const path = '/sys/fs/cgroup/pids/pids.max';
    const most = await docker.ok(
      'run',
      '--rm',
      image,
      'sh',
      '-c',
      `cat ${path} /sys/fs/cgroup/pids.max 2>/dev/null; true`,
    );
    assert.equal(most.trim(), '1024');
  });

  test('a limited disk ends, in bytes and in inodes', async () => {
    const script = [
      'dd if=/dev/zero of=/big bs=64k 2>&1 | grep -c "No space left"',
      'rm /big; mkdir /many; i=0; while echo > /many/$i; do i=$((i+1)); done 2>/dev/null; test $i -gt 100 && echo ended',
    ].join('; ');
    const free = statfsFree(docker.host.options.dataDirectory);
    const output = await docker.ok('run', '--rm', '--storage-opt', 'size=8m', image, 'sh', '-c', script);
    assert.equal(output, '1\nended\n');
    assert.ok(free - statfsFree(docker.host.options.dataDirectory) < 512 * 1024 * 1024);
    const refused = await docker.docker(['run', '--rm', '--storage-opt', 'size=much', image, 'true']);
    assert.match(refused.stderr, /invalid size: 'much'/);
  });

  test('output without end keeps to the log’s size', async () => {
    const { engine } = docker.host;
    const sandbox = await engine.createSandbox({ name: 'flood', hostname: 'flood' });
    const log = { maxBytes: 64 * 1024, maxFiles: 2 };
    const script = 'head -c 150000000 /dev/zero | tr "\\0" "x" | fold -w 100; echo; read last; echo $last';
    const command = ['sh', '-c', script];
    const spec = { sandbox: sandbox.id, name: 'main', image, command, log, stdin: true };
    const container = await engine.createContainer(spec);
    await engine.startContainer(container.id);
    // What it says when the flood was turned over is there, however long that takes on a busy machine.
    const { logPath } = container;
    await until(async () => existsSync(`${logPath}.1`), 120);
    await until(async () => (await engine.processes(container.id)).length === 1, 120);
    const size = (): number => statSync(logPath, { throwIfNoEntry: false })?.size ?? log.maxBytes;
    await until(async () => size() < log.maxBytes, 60);
    (await engine.attachInput(container.id)).end('last\n');
    assert.equal((await engine.waitContainer(container.id)).code, 0);
    const lines = await Array.fromAsync(engine.logs(container.id, { tail: 1 }));
    assert.equal(lines[0]?.line.toString(), 'last');
    const directory = dirname(logPath);
    const bytes = readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
    assert.ok(bytes < 2 * mostFileBytes(log), `${bytes} bytes of 150 million`);
    await engine.removeSandbox(sandbox.id);
  });

  test('huge environments and arguments are refused by name', async () => {
    const create = async (body: Record<string, unknown>): Promise<string> =>
      await post(JSON.stringify({ Image: image, ...body }), '/containers/create?name=huge');
    assert.equal(await create({ Cmd: ['echo', 'x'.repeat(5 * 1024 * 1024)] }), '413');
    assert.equal(await create({ Cmd: ['true'], Env: [`BIG=${'x'.repeat(200_000)}`] }), '201');
    // As with Docker, it is the runtime that learns of it, when it becomes the command.
    await docker.docker(['start', 'huge']);
    assert.notEqual((await docker.ok('wait', 'huge')).trim(), '0');
    const { stderr } = await docker.docker(['logs', 'huge']);
    assert.match(stderr, /argument list too long/);
    await docker.ok('rm', 'huge');
  });
});

async function post(text: string, path: string): Promise<string> {
  const words = ['-s', '--unix-socket', docker.socketPath, '-H', 'content-type: application/json', '-d', '@-'];
  const said = await run('curl', [...words, '-o', '/dev/null', '-w', '%{http_code}', `http://localhost${path}`], {
    input: text,
  });
  return said.stdout;
}

function statfsFree(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

function links(): TarInput[] {
  const link = (name: string, linkName: string): TarInput => ({
    name,
    type: 'symlink',
    mode: 0o777,
    uid: 0,
    gid: 0,
    sizeBytes: 0,
    mtimeSeconds: 0,
    linkName,
  });
  return [link('up', '../../../../../..'), link('absolute', outside), link('loop', 'loop'), link('processes', '/proc')];
}
