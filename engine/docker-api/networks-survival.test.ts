/** `kill -9` of the engine while clients make networks and put containers in: what is there afterwards is whole. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { hostHasIpv6 } from '../network/ipv6-host.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';

const chaos = fileURLToPath(new URL('../../testing/docker-chaos.ts', import.meta.url));
const ROUNDS = Number(process.env['SAMPAN_KILL_ROUNDS'] ?? 5);

test('docker network, and the engine killed in the middle of it', {
  ...withDocker,
  timeout: 60_000 + ROUNDS * 10_000,
}, async () => {
  const docker = await openDockerHost();
  try {
    const { log: _log, ...plain } = docker.host.options;
    const { image } = docker.host;
    const socketPath = `${docker.socketPath}.chaos`;
    const env = { ...docker.environment, DOCKER_HOST: `unix://${socketPath}` };
    for (let round = 0; round < ROUNDS; round += 1) {
      await docker.ok('network', 'create', ...(hostHasIpv6() ? ['--ipv6'] : []), 'base');
      await docker.ok('run', '-d', '--name', 'steady', '--network', 'base', image, 'sleep', '1000');
      await docker.pause();
      const child = spawn(process.execPath, ['--experimental-ffi', chaos, JSON.stringify(plain), socketPath], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      await once(child.stdout, 'data');
      const clients = [
        [
          ['network', 'create', 'one'],
          ['network', 'connect', 'one', 'steady'],
          ['network', 'disconnect', 'base', 'steady'],
        ],
        [
          ['run', '-d', '--network', 'base', '--network-alias', 'x', '-p', '0:80', image, 'sleep', '1000'],
          ['network', 'create', 'two'],
        ],
        [
          ['run', '--rm', '--network', 'base', image, 'true'],
          ['network', 'create', 'three'],
          ['network', 'rm', 'three'],
        ],
      ].map((steps) => inTurn(steps, env));
      // Where within their work is the random part of the test; nothing is waited for.
      await delay(randomInt(800));
      child.kill('SIGKILL');
      await once(child, 'close');
      await Promise.all(clients);
      await docker.resume();
      await agree(docker);
      for (const id of lines(await docker.ok('ps', '-aq'))) await docker.ok('rm', '-fv', id);
      for (const id of lines(await docker.ok('network', 'ls', '-q', '--filter', 'type=custom')))
        await docker.ok('network', 'rm', id);
      assert.deepEqual(docker.host.engine.sandboxes(), []);
      assert.deepEqual(docker.host.engine.networks.list(), []);
    }
  } finally {
    // Fails where anything is left of the instance.
    await docker[Symbol.asyncDispose]();
  }
});

const lines = (text: string): string[] => text.split('\n').filter(Boolean);

/** Every container is in the networks that it was told to be in, with an address in each; nobody else has a file. */
async function agree({ host, ok }: DockerHost): Promise<void> {
  const { engine, options } = host;
  const ids = engine.containers().map(({ id }) => id);
  const files = readdirSync(join(options.dataDirectory, 'engine', 'docker', 'endpoints'));
  assert.deepEqual(files.map((name) => name.replace('.json', '')).sort(), ids.sort());
  assert.equal(engine.sandboxes().length, ids.length, 'a sandbox for each');
  assert.equal((await ok('inspect', '-f', '{{.State.Running}}', 'steady')).trim(), 'true');
  for (const container of engine.containers()) {
    const shown = JSON.parse(await ok('inspect', '-f', '{{json .NetworkSettings.Networks}}', container.id)) as Record<
      string,
      { NetworkID: string; IPAddress: string; GlobalIPv6Address: string }
    >;
    const attached = engine.sandbox(container.sandbox)?.networks ?? [];
    assert.deepEqual(
      Object.values(shown)
        .map(({ NetworkID }) => NetworkID)
        .sort(),
      attached.map(({ network }) => network).sort(),
    );
    if (container.state === 'running')
      for (const { IPAddress, GlobalIPv6Address } of Object.values(shown))
        assert.ok(attached.some(({ ip, ip6 = '' }) => ip === IPAddress && ip6 === GlobalIPv6Address));
  }
}

/** Each after the other, until the engine is gone. */
async function inTurn(steps: string[][], env: NodeJS.ProcessEnv): Promise<void> {
  for (const words of steps) {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    execFile('docker', words, { env, timeout: 60_000 }, (error) => resolve(error === null));
    if (!(await promise)) return;
  }
}
