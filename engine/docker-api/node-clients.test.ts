/** Clients of Docker's API from npm, unmodified: dockerode, and testcontainers with its reaper off. */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import Docker from 'dockerode';
import { type DockerHost, openDockerHost } from '#testing/docker-host.ts';

describe('clients from npm', { timeout: 120_000 }, () => {
  let host: DockerHost;
  let image = '';
  before(async () => {
    host = await openDockerHost();
    ({ image } = host.host);
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
  });

  test('dockerode runs, attaches, executes, and makes networks', async () => {
    const docker = new Docker({ socketPath: host.socketPath });
    const output = new PassThrough();
    const [exit, container] = (await docker.run(image, ['sh', '-c', 'echo out; exit 3'], output, {
      Tty: false,
    })) as [{ StatusCode: number }, Docker.Container];
    assert.equal(exit.StatusCode, 3);
    assert.match(await text(output), /out\n$/);
    await container.remove();

    const network = await docker.createNetwork({ Name: 'node', Labels: { kind: 'test' } });
    const cat = await docker.createContainer({
      Image: image,
      name: 'cat',
      Cmd: ['cat'],
      OpenStdin: true,
      StdinOnce: true,
      NetworkingConfig: { EndpointsConfig: { node: { Aliases: ['feline'] } } },
      HostConfig: { NetworkMode: 'node' },
    });
    const stream = await cat.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
    const said = new PassThrough();
    docker.modem.demuxStream(stream, said, said);
    await cat.start();
    stream.on('end', () => said.end());
    stream.end('through\n');
    assert.equal(((await cat.wait()) as { StatusCode: number }).StatusCode, 0);
    assert.equal(await text(said), 'through\n');
    await cat.remove();

    const sleeper = await docker.createContainer({ Image: image, Cmd: ['sleep', '1000'], name: 'sleeper' });
    await sleeper.start();
    await network.connect({ Container: sleeper.id, EndpointConfig: { Aliases: ['dormouse'] } });
    const exec = await sleeper.exec({ Cmd: ['nslookup', '-type=a', 'dormouse'], AttachStdout: true });
    const result = await exec.start({ hijack: true });
    const heard = new PassThrough();
    docker.modem.demuxStream(result, heard, heard);
    result.on('end', () => heard.end());
    assert.match(await text(heard), /Name:\s+dormouse/);
    assert.equal((await exec.inspect()).ExitCode, 0);
    const view = (await network.inspect()) as { Containers: Record<string, { Name: string }>; Labels: unknown };
    assert.deepEqual(
      Object.values(view.Containers).map(({ Name }) => Name),
      ['sleeper'],
    );
    assert.deepEqual(view.Labels, { kind: 'test' });
    await assert.rejects(network.remove(), /has active endpoints/);
    await network.disconnect({ Container: sleeper.id });
    await network.remove();
    await sleeper.remove({ force: true });
    assert.deepEqual(host.host.engine.sandboxes(), []);
  });

  test('testcontainers waits for a port that it maps', async () => {
    // Read when the module is loaded.
    process.env['DOCKER_HOST'] = `unix://${host.socketPath}`;
    process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';
    const { GenericContainer, Network, Wait } = await import('testcontainers');
    const network = await new Network().start();
    const started = await new GenericContainer(image)
      .withCommand(['sh', '-c', 'echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp'])
      .withExposedPorts(8080)
      .withNetwork(network)
      .withNetworkAliases('served')
      .withWaitStrategy(Wait.forHttp('/index.html', 8080))
      .start();
    const url = `http://${started.getHost()}:${started.getMappedPort(8080)}/index.html`;
    assert.equal(await (await fetch(url)).text(), 'hello\n');
    const { output, exitCode } = await started.exec(['nslookup', '-type=a', 'served']);
    assert.equal(exitCode, 0, output);
    await started.stop();
    await network.stop();
    assert.equal(await host.ok('ps', '-aq'), '');
    assert.deepEqual(host.host.engine.sandboxes(), []);
  });
});
