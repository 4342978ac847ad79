/** Builds that end early: the client goes away, the time is up, the engine is killed. Nothing is left of them but whole steps. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { makeContext } from '#testing/build-context.ts';
import { until } from '#testing/until.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { startDockerApi } from './server.ts';

const chaos = fileURLToPath(new URL('../../testing/docker-chaos.ts', import.meta.url));
const ROUNDS = Number(process.env['SAMPAN_KILL_ROUNDS'] ?? 3);

let docker: DockerHost;
let context = '';

/** Nothing of a build under way is on the disk, and nothing runs. */
function nothingIsLeft(): void {
  const { engine, options } = docker.host;
  const directory = join(options.dataDirectory, 'engine');
  assert.deepEqual(engine.containers(), []);
  assert.deepEqual(engine.sandboxes(), []);
  assert.deepEqual(readdirSync(join(directory, 'build/steps')), []);
  const contexts = join(directory, 'build/contexts');
  assert.deepEqual(existsSync(contexts) ? readdirSync(contexts) : [], []);
  assert.deepEqual(
    readdirSync(join(directory, 'content/layers')).filter((name) => name.startsWith('.')),
    [],
  );
}

describe('builds that end early', { ...withDocker, timeout: 120_000 + ROUNDS * 20_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    context = makeContext({
      Dockerfile: `FROM ${docker.host.image}\nARG salt\nCOPY . /in/\nRUN dd if=/dev/zero of=/big bs=1M count=8 2>/dev/null; echo $salt > /salt\nRUN for i in 1 2 3 4 5 6 7 8 9; do echo $i; done; ls -l /big\nWORKDIR /deep/er\nRUN sleep 1; echo end\n`,
      file: 'x'.repeat(100_000),
      Sleeping: `FROM ${docker.host.image}\nRUN echo begun; trap '' TERM; sleep 1000\n`,
    });
  });
  after(async () => {
    rmSync(context, { recursive: true, force: true });
    await docker[Symbol.asyncDispose]();
  });

  test('the client goes away', async () => {
    const client = docker.spawn(['build', '-f', join(context, 'Sleeping'), context]);
    await until(async () => docker.host.engine.containers().some(({ state }) => state === 'running'));
    client.kill('SIGKILL');
    await once(client, 'close');
    await until(async () => docker.host.engine.sandboxes().length === 0);
    nothingIsLeft();
  });

  test('the time is up', async () => {
    const socketPath = `${docker.socketPath}.short`;
    const api = await startDockerApi({
      engine: docker.host.engine,
      socketPath,
      version: '0',
      buildTimeoutMilliseconds: 2500,
    });
    const said = await docker.docker(['-H', `unix://${socketPath}`, 'build', '-f', join(context, 'Sleeping'), context]);
    assert.match(said.stderr, /the build took longer than 3 seconds and was stopped/);
    assert.match(said.stdout, /begun/);
    await api.close();
    nothingIsLeft();
  });

  test('the engine is killed at any moment, and the next one finds whole steps only', async () => {
    const { log: _log, ...plain } = docker.host.options;
    const socketPath = `${docker.socketPath}.chaos`;
    for (let round = 0; round < ROUNDS; round += 1) {
      await docker.pause();
      const child = spawn(process.execPath, ['--experimental-ffi', chaos, JSON.stringify(plain), socketPath], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      await once(child.stdout, 'data');
      const client = docker.spawn(['-H', `unix://${socketPath}`, 'build', '--build-arg', `salt=${round}`, context]);
      const ended = once(client, 'close');
      // Where within the build is the random part of the test; nothing is waited for.
      await delay(randomInt(3500));
      child.kill('SIGKILL');
      await Promise.all([once(child, 'close'), ended]);
      await docker.resume();
      nothingIsLeft();
    }
    const { stdout } = await docker.docker(['build', '-t', 'after:1', '--build-arg', 'salt=0', context]);
    assert.match(stdout, /Successfully built/);
    assert.equal(
      await docker.ok('run', '--rm', 'after:1', 'sh', '-c', 'cat /salt; pwd; wc -c < /big'),
      '0\n/deep/er\n8388608\n',
    );
  });
});
