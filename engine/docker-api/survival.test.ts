/** `kill -9` of the engine in the middle of `docker run`: nothing stays that the next engine does not know. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { linkPrefix } from '../network/names.ts';

const chaos = fileURLToPath(new URL('../../testing/docker-chaos.ts', import.meta.url));
const ROUNDS = Number(process.env['SAMPAN_KILL_ROUNDS'] ?? 8);

test('docker run, and the engine killed in the middle of it', {
  ...withDocker,
  timeout: 60_000 + ROUNDS * 5000,
}, async () => {
  const docker = await openDockerHost();
  try {
    const { log: _log, ...plain } = docker.host.options;
    const { image } = docker.host;
    const socketPath = `${docker.socketPath}.chaos`;
    const environment = { ...docker.environment, DOCKER_HOST: `unix://${socketPath}` };
    for (let round = 0; round < ROUNDS; round += 1) {
      await docker.pause();
      const child = spawn(process.execPath, ['--experimental-ffi', chaos, JSON.stringify(plain), socketPath], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      await once(child.stdout, 'data');
      const clients = [
        ['run', '-d', '-v', '/own', image, 'sleep', '1000'],
        ['run', '--rm', '-p', '0:80', image, 'sh', '-c', 'exit 3'],
        ['run', '-d', '--restart', 'always', '-v', 'shared:/data', image, 'sleep', '1000'],
      ].map(async (words) => await clientEnd(words, environment));
      // Where within their work is the random part of the test; nothing is waited for.
      await delay(randomInt(500));
      child.kill('SIGKILL');
      await once(child, 'close');
      const acknowledged = (await Promise.all(clients)).flatMap((id) => (id === undefined ? [] : [id]));
      await docker.resume();
      await agree(docker, acknowledged);
      for (const id of (await docker.ok('ps', '-aq')).split('\n').filter(Boolean)) await docker.ok('rm', '-fv', id);
      assert.deepEqual(docker.host.engine.sandboxes(), []);
      assert.deepEqual(docker.host.engine.containers(), []);
      assert.equal((await docker.ok('volume', 'ls', '-q')).trim().replace('shared', ''), '');
    }
  } finally {
    // Fails where anything is left of the instance.
    await docker[Symbol.asyncDispose]();
  }
});

/** What was acknowledged is there; what is there is whole. */
async function agree({ host, ok }: DockerHost, acknowledged: string[]): Promise<void> {
  const { engine, options } = host;
  for (const id of acknowledged) assert.equal(engine.container(id)?.state, 'running', id);
  const sandboxes = new Set(engine.sandboxes().map(({ id }) => id));
  for (const container of engine.containers()) assert.ok(sandboxes.has(container.sandbox), 'a sandbox for each');
  assert.equal(new Set(engine.containers().map(({ sandbox }) => sandbox)).size, sandboxes.size, 'a container for each');
  const links = readdirSync('/sys/class/net').filter((name) => name.startsWith(linkPrefix(options.instance)));
  assert.ok(links.length >= sandboxes.size);
  for (const container of engine.containers().filter(({ state }) => state === 'running'))
    assert.ok(readFileSync(join('/proc', String(container.pid), 'cgroup'), 'utf8').includes(container.id));
  await ok('ps', '-a');
}

/** The id that `run -d` was told, where it was. */
async function clientEnd(words: string[], env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  execFile('docker', words, { env, timeout: 60_000 }, (error, stdout) => {
    const id = stdout.trim();
    resolve(error === null && /^[0-9a-f]{64}$/.test(id) ? id : undefined);
  });
  return await promise;
}
