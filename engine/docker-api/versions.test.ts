/** Clients of every age: the real client, told to speak an older version. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { ask } from '#testing/kill/api-client.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';

const run = promisify(execFile);
let docker: DockerHost;
let image = '';

describe('versions of the API', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    ({ image } = docker.host);
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
  });

  for (const version of ['1.24', '1.30', '1.41', '1.45']) {
    test(`a client of ${version} runs, lists, looks and reads`, async () => {
      const env = { ...docker.environment, DOCKER_API_VERSION: version };
      const ok = async (...words: string[]): Promise<string> => (await run('docker', words, { env })).stdout.trim();
      assert.equal(await ok('version', '-f', '{{.Client.APIVersion}} {{.Server.MinAPIVersion}}'), `${version} 1.24`);
      assert.equal(await ok('run', '--rm', '-v', 'aged:/v', image, 'echo', 'attached'), 'attached');
      const id = await ok('run', '-d', '--name', 'aged', image, 'sh', '-c', 'echo out; echo err >&2; exec sleep 1000');
      assert.equal(await ok('ps', '-q', '--no-trunc'), id);
      const format = '{{.State.Status}} {{.Config.Image}} {{.HostConfig.NetworkMode}}';
      assert.equal(await ok('inspect', '-f', format, 'aged'), `running ${image} bridge`);
      const { stdout, stderr } = await run('docker', ['logs', 'aged'], { env });
      assert.deepEqual([stdout, stderr], ['out\n', 'err\n']);
      assert.equal(await ok('exec', 'aged', 'echo', 'inside'), 'inside');
      assert.match(await ok('images', '--format', '{{.ID}} {{.Size}}'), /^[0-9a-f]{12} [\d.]+MB/);
      assert.equal(await ok('volume', 'ls', '-q'), 'aged');
      await ok('stop', '-t', '0', 'aged');
      assert.equal(await ok('wait', 'aged'), '137');
      await ok('rm', 'aged');
      const minor = Number(version.slice(2));
      // What is not used and has a name is taken by clients that do not know of anonymous ones.
      if (minor >= 25) await ok('volume', 'prune', '-f');
      const left = await ok('volume', 'ls', '-q');
      assert.equal(left, minor >= 25 && minor < 42 ? '' : 'aged');
      if (left !== '') await ok('volume', 'rm', 'aged');
    });
  }

  test('versions that there are not', async () => {
    const old = await docker.docker(['-H', `unix://${docker.socketPath}`, 'version']);
    assert.match(old.stdout, /API version:\s+1\.45 \(minimum version 1\.24\)/);
    const answer = async (path: string): Promise<string> => (await ask(docker.socketPath, 'GET', path))?.text ?? '';
    assert.match(await answer('/../v1.23/info'), /page not found/);
    const env = { ...docker.environment, DOCKER_API_VERSION: '1.46' };
    await assert.rejects(
      run('docker', ['ps'], { env }),
      /client version 1\.46 is too new. Maximum supported API version is 1\.45/,
    );
  });
});
