/** Attach and exec, with and without a terminal: the real client, under a terminal of util-linux's `script` where it wants one. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { until } from '#testing/until.ts';

const hasScript = spawnSync('script', ['--version']).status === 0;

let docker: DockerHost;
let image = '';

describe('the docker client attaches', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    image = docker.host.image;
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
  });

  test('run -i hands its input over, and the end of it', async () => {
    const said = await docker.docker(['run', '--rm', '-i', image, 'sh', '-c', 'cat; echo end >&2'], 'one\ntwo');
    assert.deepEqual(said, { stdout: 'one\ntwo', stderr: 'end\n', code: 0 });
  });

  test('a megabyte passes both ways as it is', async () => {
    const text = randomBytes(512 * 1024).toString('hex');
    const said = await docker.docker(['run', '--rm', '-i', image, 'cat'], text);
    assert.equal(said.stdout === text, true);
  });

  test('exec: output, exit status, input, user, directory, environment', async () => {
    await docker.ok('run', '-d', '--name', 'busy', image, 'sleep', '1000');
    assert.deepEqual(await docker.docker(['exec', 'busy', 'sh', '-c', 'echo out; echo err >&2; exit 9']), {
      stdout: 'out\n',
      stderr: 'err\n',
      code: 9,
    });
    assert.equal((await docker.docker(['exec', '-i', 'busy', 'wc', '-c'], 'x'.repeat(100_000))).stdout, '100000\n');
    const flags = ['-u', '1000', '-w', '/home', '-e', 'A=b'];
    assert.equal(await docker.ok('exec', ...flags, 'busy', 'sh', '-c', 'echo $(id -u) $(pwd) $A'), '1000 /home b\n');
    await docker.ok('exec', '-d', 'busy', 'touch', '/tmp/detached');
    await until(async () => (await docker.docker(['exec', 'busy', 'ls', '/tmp/detached'])).code === 0);
    assert.equal((await docker.docker(['exec', 'busy', '/none'])).code, 127);
    await docker.ok('rm', '-f', 'busy');
    assert.match((await docker.docker(['exec', 'busy', 'true'])).stderr, /No such container: busy/);
  });

  test('attach takes up what comes, also after a restart of the engine', async () => {
    await docker.ok(
      'run',
      '-d',
      '-i',
      '--name',
      'echo',
      image,
      'sh',
      '-c',
      'while read line; do echo "got $line"; done',
    );
    await docker.reopen();
    const client = docker.spawn(['attach', 'echo']);
    const seen = output(client);
    client.stdin?.write('one\n');
    await seen('got one');
    client.kill('SIGKILL');
    await closed(client);
    assert.equal(await docker.ok('logs', 'echo'), 'got one\n');
    assert.equal((await docker.ok('inspect', '-f', '{{.State.Running}}', 'echo')).trim(), 'true');
    await docker.ok('rm', '-f', 'echo');
  });

  test('start -ai runs an ended container again, and shows only the new run', async () => {
    await docker.ok('create', '-i', '--name', 'twice', image, 'sh', '-c', 'read line; echo "said $line"');
    assert.equal((await docker.docker(['start', '-ai', 'twice'], 'one\n')).stdout, 'said one\n');
    assert.equal((await docker.docker(['start', '-ai', 'twice'], 'two\n')).stdout, 'said two\n');
    await docker.ok('rm', 'twice');
  });

  test('run -it has a terminal of the right size, and detach keys leave it running', { skip: !hasScript }, async () => {
    const client = terminal(['run', '-it', '--name', 'tty', image, 'sh']);
    const seen = output(client);
    await seen('#');
    client.stdin?.write('stty size; tty\r');
    await seen('33 99');
    await seen('/dev/pts/0');
    client.stdin?.write('\u0010\u0011');
    await closed(client);
    assert.equal((await docker.ok('inspect', '-f', '{{.State.Running}} {{.Config.Tty}}', 'tty')).trim(), 'true true');
    const inside = terminal(['exec', '-it', 'tty', 'sh', '-c', 'stty size; read line; echo "read $line"']);
    const heard = output(inside);
    await heard('33 99');
    inside.stdin?.write('this\r');
    await heard('read this');
    await closed(inside);
    await docker.ok('rm', '-f', 'tty');
  });

  function terminal(words: string[]): ChildProcess {
    const quoted = words.map((word) => `'${word}'`).join(' ');
    return spawn('script', ['-qfc', `stty rows 33 cols 99; exec docker ${quoted}`, '/dev/null'], {
      env: docker.environment,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  }
});

/** Resolves when the text has been said. */
function output(child: ChildProcess): (text: string) => Promise<void> {
  let said = '';
  let wake: (() => void) | undefined;
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      wake?.();
    });
  let ended = false;
  child.on('close', () => {
    ended = true;
    wake?.();
  });
  return async (text) => {
    while (!said.includes(text)) {
      assert.equal(ended, false, `ended without ${JSON.stringify(text)}: ${said}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
}

async function closed(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
}
