/** Restart policies, waiting and exit statuses: what the real client sees. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { ask } from '#testing/kill/api-client.ts';
import { until } from '#testing/until.ts';

let docker: DockerHost;
let image = '';

const inspect = async (format: string, name: string): Promise<string> =>
  (await docker.ok('inspect', '-f', format, name)).trim();
const waited = async (name: string, condition: string): Promise<number> => {
  const answer = await ask(docker.socketPath, 'POST', `/containers/${name}/wait?condition=${condition}`);
  return (JSON.parse(answer?.text ?? '{}') as { StatusCode: number }).StatusCode;
};

describe('lives of containers', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    ({ image } = docker.host);
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
  });

  test('on-failure counts its tries, also when the engine is opened again in between', async () => {
    const since = String(Date.now() / 1000 - 0.001);
    await docker.ok('run', '-d', '--name', 'tries', '--restart', 'on-failure:4', image, 'sh', '-c', 'echo run; exit 9');
    await until(async () => Number(await inspect('{{.RestartCount}}', 'tries')) >= 2);
    await docker.reopen();
    await until(async () => (await inspect('{{.RestartCount}} {{.State.Status}}', 'tries')) === '4 exited');
    assert.equal(await docker.ok('logs', 'tries'), 'run\n'.repeat(5));
    assert.equal(await inspect('{{.State.ExitCode}}', 'tries'), '9');
    await docker.ok('start', 'tries');
    await until(async () => (await docker.ok('logs', 'tries')).split('\n').length > 6);
    await docker.ok('rm', '-f', 'tries');
    await docker.ok('run', '-d', '--name', 'told', '--restart', 'always', image, 'sh', '-c', 'exit 3');
    await until(async () => Number(await inspect('{{.RestartCount}}', 'told')) >= 2);
    await docker.ok('stop', '-t', '0', 'told');
    const until_ = String(Date.now() / 1000);
    const filters = ['--filter', 'container=told', '--format', '{{.Action}}'];
    const events = (await docker.ok('events', '--since', since, '--until', until_, ...filters)).split('\n');
    assert.deepEqual(events.slice(0, 5), ['create', 'start', 'die', 'start', 'die']);
    await docker.ok('rm', '-f', 'told');
  });

  test('a policy waits longer each time, and stop ends the waiting', async () => {
    await docker.ok('run', '-d', '--name', 'backs-off', '--restart', 'always', image, 'sh', '-c', 'exit 1');
    let times: number[] = [];
    await until(async () => {
      // Not `0s`: of a duration the client sends whole seconds.
      const words = ['events', '--since', '1m', '--until', (Date.now() / 1000).toFixed(3)];
      const filters = ['--filter', 'container=backs-off', '--filter', 'event=start', '--format', '{{.TimeNano}}'];
      const lines = (await docker.ok(...words, ...filters)).trim().split('\n');
      times = lines.map((nanoseconds) => Number(nanoseconds) / 1e6);
      return times.length >= 4;
    });
    assert.ok(Number(await inspect('{{.RestartCount}}', 'backs-off')) >= 3);
    const [first = 0, second = 0, third = 0, fourth = 0] = times;
    assert.ok(second - first >= 100 && third - second >= 200 && fourth - third >= 400, times.join(' '));
    await docker.ok('stop', 'backs-off');
    assert.equal(await inspect('{{.State.Status}}', 'backs-off'), 'exited');
    await docker.ok('rm', 'backs-off');
  });

  test('wait: not running, the next exit, removed', async () => {
    await docker.ok('create', '--name', 'waited', image, 'sh', '-c', 'exit 5');
    assert.equal(await waited('waited', 'not-running'), 0);
    const next = waited('waited', 'next-exit');
    await docker.ok('start', 'waited');
    assert.equal(await next, 5);
    assert.equal(await waited('waited', 'not-running'), 5);
    const removed = waited('waited', 'removed');
    await docker.ok('rm', 'waited');
    assert.equal(await removed, 5);
    const wrong = await ask(docker.socketPath, 'POST', '/containers/waited/wait');
    assert.equal(wrong?.status, 404);
  });

  test('exit statuses of run are those of Docker', async () => {
    const code = async (...words: string[]): Promise<number> => (await docker.docker(['run', '--rm', ...words])).code;
    assert.equal(await code(image, 'sh', '-c', 'exit 42'), 42);
    assert.equal(await code(image, 'sh', '-c', "sh -c 'kill -9 $$'; exit $?"), 137);
    assert.equal(await code(image, '/none'), 127);
    assert.equal(await code(image, '/etc/not-executable'), 126);
    assert.equal(await code(image, '/etc'), 126);
    assert.equal(await code('--memory', '1', image, 'true'), 125);
    assert.equal(await code('absent.invalid/absent:1', 'true'), 125);
    assert.equal(await docker.ok('ps', '-aq'), '');
  });

  test('run --rm: what runs goes on without its client, and is removed at its end', async () => {
    const client = docker.spawn(['run', '--rm', '--name', 'left', image, 'sleep', '1000']);
    await until(async () => (await docker.ok('ps', '-q', '--filter', 'name=left')) !== '');
    await until(async () => (await inspect('{{.State.Status}}', 'left')) === 'running');
    const closed = once(client, 'close');
    client.kill('SIGKILL');
    await closed;
    assert.equal(await inspect('{{.State.Status}}', 'left'), 'running');
    await docker.ok('kill', 'left');
    // The container goes first, then what was made around it.
    await until(async () => docker.host.engine.sandboxes().length === 0);
    assert.equal(await docker.ok('ps', '-aq'), '');
  });

  test('many are stopped at once in the time of one', async () => {
    const stubborn = ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'];
    const names = Array.from({ length: 8 }, (_, index) => `stubborn-${index}`);
    await Promise.all(names.map((name) => docker.ok('run', '-d', '--name', name, image, ...stubborn)));
    const begun = performance.now();
    await docker.ok('stop', '-t', '3', ...names);
    const took = performance.now() - begun;
    assert.ok(took >= 3000 && took < 23_000, `${took} ms for eight that take three seconds each`);
    await docker.ok('rm', ...names);
  });
});
