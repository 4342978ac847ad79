/** Another OCI runtime by flag: any program with runc's command line. Here a script that tells of itself and is runc. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDockerHost, withDocker } from '#testing/docker-host.ts';
import { engineOptionsForTest, removeAll } from '#testing/engine-host.ts';
import { openEngine } from './open.ts';

const script = (path: string, text: string): string => {
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
};

test('containers run and execute by the runtime that was named', {
  ...withDocker,
  timeout: 60_000,
}, async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'runtime-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const calls = join(directory, 'calls');
  const runtime = script(join(directory, 'other-runtime'), `echo "$@" >> ${calls}; exec runc "$@"`);
  await using docker = await openDockerHost({ runtime });
  const { image } = docker.host;
  await docker.ok('run', '-d', '--name', 'one', image, 'sleep', '1000');
  assert.equal(await docker.ok('exec', 'one', 'echo', 'said'), 'said\n');
  const seen = readFileSync(calls, 'utf8');
  assert.match(seen, / create /);
  assert.match(seen, / exec /);
  assert.equal((await docker.ok('info', '-f', '{{.DefaultRuntime}}')).trim(), 'other-runtime');
  assert.equal((await docker.ok('inspect', '-f', '{{.HostConfig.Runtime}}', 'one')).trim(), 'other-runtime');
  assert.equal(await docker.ok('run', '--rm', '--runtime', 'other-runtime', image, 'echo', 'named'), 'named\n');
  const unknown = await docker.docker(['run', '--rm', '--runtime', 'gvisor', image, 'true']);
  assert.equal(unknown.code, 125);
  assert.match(unknown.stderr, /unknown or invalid runtime name: gvisor/);
});

test('one that is not runc starts its containers itself', { ...withDocker, timeout: 60_000 }, async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'runtime-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const calls = join(directory, 'calls');
  const runtime = script(
    join(directory, 'other-runtime'),
    `[ "$1" = --version ] && echo other-runtime version 1.2 && exit
case " $* " in *" start "*) [ -e ${directory}/broken ] && echo 'level=error msg="it will not"' >&2 && exit 1 ;; esac
echo "$@" >> ${calls}; exec runc "$@"`,
  );
  await using docker = await openDockerHost({ runtime });
  const { image } = docker.host;
  assert.equal(await docker.ok('run', '--rm', image, 'echo', 'started'), 'started\n');
  assert.match(readFileSync(calls, 'utf8'), / start [0-9a-f]{64}\n/);
  writeFileSync(join(directory, 'broken'), '');
  const refused = await docker.docker(['run', '--rm', image, 'true']);
  assert.equal(refused.code, 125);
  assert.match(refused.stderr, /it will not/);
});

test('what is no runtime is refused at the start', { timeout: 60_000 }, async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'runtime-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const options = engineOptionsForTest();
  const runtime = script(join(directory, 'broken'), 'exit 3');
  await assert.rejects(openEngine({ ...options, runtime }), { code: 'unavailable', message: /is no OCI runtime/ });
  await assert.rejects(openEngine({ ...options, runtime: 'no-such-runtime' }), /"no-such-runtime" is not on the PATH/);
  await removeAll(options);
});
