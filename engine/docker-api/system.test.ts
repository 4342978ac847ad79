/** What is asked of the engine as a whole: disk use, logins, registries, WebSocket attach; and what is not there. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';

let docker: DockerHost;
let image = '';
let registry: { address: string; close(): Promise<void> };

const refusal = async (...words: string[]): Promise<string> => {
  const said = await docker.docker(words);
  assert.notEqual(said.code, 0, words.join(' '));
  return said.stderr.trim();
};

describe('the engine as a whole', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    const made = await openRegistry();
    registry = made;
    docker = await openDockerHost({ registries: { [made.address]: { ca: made.ca } } });
    image = docker.host.image;
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
    await registry.close();
  });

  test('system df counts images, containers and volumes, also of what does not run', async () => {
    const write = 'head -c 2000000 /dev/urandom > /v/data; head -c 1000000 /dev/urandom > /own';
    await docker.ok('run', '--name', 'writer', '-v', 'measured:/v', image, 'sh', '-c', write);
    await docker.ok('tag', image, 'second:name');
    const rows = (await docker.ok('system', 'df', '--format', '{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}'))
      .trim()
      .split('\n');
    assert.match(rows[0] ?? '', /^Images\|1\|1\|[\d.]+MB$/);
    assert.match(rows[1] ?? '', /^Containers\|1\|0\|1(\.\d+)?MB$/);
    assert.match(rows[2] ?? '', /^Local Volumes\|1\|1\|2(\.\d+)?MB$/);
    assert.match(await docker.ok('system', 'df', '-v'), /measured +1 +2(\.\d+)?MB/);
    assert.match(await docker.ok('ps', '-a', '--size', '--format', '{{.Size}}'), /^1(\.\d+)?MB \(virtual/);
    await docker.ok('rm', 'writer');
    await docker.ok('rmi', 'second:name');
    await docker.ok('volume', 'rm', 'measured');
  });

  test('docker login asks the registry', async () => {
    const login = async (password: string) =>
      await docker.docker(['login', '-u', 'ann', '--password-stdin', registry.address], password);
    const good = await login('right');
    assert.match(good.stdout, /Login Succeeded/, good.stderr);
    const bad = await login('wrong');
    assert.notEqual(bad.code, 0);
    assert.match(bad.stderr, /unauthorized|401 Unauthorized/i);
  });

  test('what a registry has under a name, without a pull', async () => {
    const { images } = docker.host.engine;
    const view = await get(`/distribution/${image}/json`);
    assert.equal(view.status, 200);
    const { Descriptor, Platforms } = JSON.parse(view.body) as {
      Descriptor: { digest: string; size: number };
      Platforms: { os: string }[];
    };
    assert.equal(Descriptor.digest, images.get(image)?.digest);
    assert.ok(Descriptor.size > 100);
    assert.equal(Platforms[0]?.os, 'linux');
    assert.equal((await get('/distribution/fixtures.invalid/none:x/json')).status, 404);
  });

  test('attach over a WebSocket: what was said, what comes, and input', async () => {
    await docker.ok('run', '-d', '-i', '--name', 'talk', image, 'sh', '-c', 'echo before; read line; echo "got $line"');
    const url = `ws+unix://${docker.socketPath}:/v1.45/containers/talk/attach/ws?logs=1&stream=1&stdin=1&stdout=1&stderr=1`;
    const socket = new WebSocket(url);
    let said = '';
    socket.on('message', (data: Buffer) => {
      said += data.toString();
      if (said === 'before\n') socket.send('hello\n');
    });
    await once(socket, 'close');
    assert.equal(said, 'before\ngot hello\n');
    assert.equal((await get('/containers/talk/attach/ws')).status, 400);
    await docker.ok('rm', '-f', 'talk');
  });

  test('terminals of containers and of commands take a size', async () => {
    const script = 'read line; stty size';
    await docker.ok('run', '-dit', '--name', 'screen', image, 'sh', '-c', script);
    const body = JSON.stringify({ Tty: true, AttachStdin: true, AttachStdout: true, Cmd: ['sh', '-c', script] });
    const { Id } = JSON.parse((await post('/containers/screen/exec', body)).body) as { Id: string };
    const outgoing = request({ socketPath: docker.socketPath, path: `/v1.45/exec/${Id}/start`, method: 'POST' });
    outgoing.setHeader('connection', 'Upgrade').setHeader('upgrade', 'tcp').end('{"Tty":true}');
    const [, exec] = await once(outgoing, 'upgrade');
    assert.match((await get('/containers/screen/json')).body, new RegExp(`"ExecIDs":\\["${Id}"\\]`));
    assert.equal((await post(`/exec/${Id}/resize?h=31&w=101`)).status, 200);
    exec.write('go\n');
    assert.match(await text(exec), /31 101/);
    const inspected = JSON.parse((await get(`/exec/${Id}/json`)).body) as { Running: boolean; ExitCode: number };
    assert.deepEqual([inspected.Running, inspected.ExitCode], [false, 0]);
    assert.equal((await post('/containers/screen/resize?h=17&w=91')).status, 200);
    const socket = new WebSocket(
      `ws+unix://${docker.socketPath}:/containers/screen/attach/ws?stream=1&stdin=1&stdout=1`,
    );
    socket.once('open', () => socket.send('go\n'));
    await once(socket, 'close');
    assert.match(await docker.ok('logs', 'screen'), /17 91/);
    await docker.ok('rm', '-f', 'screen');
  });

  test('detach keys take a client away from a command, which goes on', async () => {
    await docker.ok('run', '-d', '--name', 'left', image, 'sleep', '1000');
    const command = ['sh', '-c', 'echo here; read line; echo "$line" > /tmp/late'];
    const asked = { Tty: true, AttachStdin: true, AttachStdout: true, DetachKeys: 'ctrl-a,x', Cmd: command };
    const { Id } = JSON.parse((await post('/containers/left/exec', JSON.stringify(asked))).body) as { Id: string };
    const outgoing = request({ socketPath: docker.socketPath, path: `/v1.45/exec/${Id}/start`, method: 'POST' });
    outgoing.setHeader('connection', 'Upgrade').setHeader('upgrade', 'tcp').end('{"Tty":true}');
    const [, stream, head] = await once(outgoing, 'upgrade');
    stream.unshift(head);
    for await (const chunk of stream) {
      if (!String(chunk).includes('here')) continue;
      stream.write('kept\x01');
      stream.write('x');
    }
    assert.match((await get(`/exec/${Id}/json`)).body, /"Running":true/);
    assert.match(
      (await post('/containers/left/exec', '{"Cmd":["x"],"DetachKeys":"ctrl-"}')).body,
      /invalid detach keys/,
    );
    await docker.ok('rm', '-f', 'left');
  });

  test('swarm and plugins answer as dockerd does outside of a swarm', async () => {
    const manager =
      /This node is not a swarm manager\. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again\./;
    for (const words of [
      ['service', 'ls'],
      ['node', 'ls'],
      ['stack', 'ls'],
      ['secret', 'ls'],
      ['config', 'ls'],
      ['swarm', 'unlock-key'],
      ['service', 'ps', 'x'],
    ])
      assert.match(await refusal(...words), manager, words.join(' '));
    assert.match(await refusal('swarm', 'leave'), /This node is not part of a swarm/);
    assert.match(await refusal('swarm', 'init'), /swarm mode is not there/);
    assert.equal(await docker.ok('plugin', 'ls', '-q'), '');
    assert.match(await refusal('plugin', 'inspect', 'x'), /plugin "x" not found|No such plugin/i);
    assert.match(
      await refusal('plugin', 'install', '--grant-all-permissions', 'x'),
      /plugins are not supported by this engine/,
    );
    assert.match(await refusal('search', 'busybox'), /search is a service of Docker Hub/);
    assert.equal((await get('/services')).status, 503);
  });

  test('exec: user, directory, variables, status, and what is refused', async () => {
    await docker.ok('run', '-d', '--name', 'host', '-e', 'OWN=1', image, 'sleep', '1000');
    const flags = ['--user', 'app:extra', '-w', '/tmp', '-e', 'ADDED=2'];
    const said = await docker.ok('exec', ...flags, 'host', 'sh', '-c', 'echo $(id -u):$(id -g) $(pwd) $OWN$ADDED');
    assert.equal(said, '1000:2000 /tmp 12\n');
    assert.equal((await docker.docker(['exec', 'host', 'sh', '-c', 'exit 5'])).code, 5);
    assert.match(await refusal('exec', '--privileged', 'host', 'true'), /privileged commands are not run/);
    assert.match(await refusal('exec', '--user', 'nobody-here', 'host', 'true'), /has no "nobody-here"/);
    assert.equal((await docker.docker(['exec', 'host', '/none'])).code, 127);
    await docker.ok('exec', '-d', 'host', 'sh', '-c', 'echo made > /tmp/made');
    for (const deadline = Date.now() + 10_000; ; ) {
      if ((await docker.docker(['exec', 'host', 'cat', '/tmp/made'])).stdout === 'made\n') break;
      assert.ok(Date.now() < deadline);
    }
    await docker.ok('rm', '-f', 'host');
  });
});

async function get(path: string): Promise<{ status: number; body: string }> {
  return await ask('GET', path);
}

async function post(path: string, body?: string): Promise<{ status: number; body: string }> {
  return await ask('POST', path, body);
}

async function ask(method: string, path: string, body?: string): Promise<{ status: number; body: string }> {
  const outgoing = request({ socketPath: docker.socketPath, method, path: `/v1.45${path}` }).end(body);
  const [response] = await once(outgoing, 'response');
  return { status: response.statusCode, body: await text(response) };
}

/** A registry that asks for a token, and gives one for the right password. */
async function openRegistry(): Promise<{ address: string; ca: string; close(): Promise<void> }> {
  const authority = await createAuthority({ commonName: 'test registry', days: 1 });
  const { certificate, key } = await issueCertificate(authority, {
    commonName: 'localhost',
    ips: ['127.0.0.1'],
    usages: ['server'],
    days: 1,
  });
  const server = createServer({ cert: certificate, key }, (request, response) => {
    const { port } = server.address() as AddressInfo;
    const isRight = request.headers.authorization === `Basic ${Buffer.from('ann:right').toString('base64')}`;
    if (request.url?.startsWith('/token') === true) {
      response.writeHead(isRight ? 200 : 401).end(isRight ? '{"token":"abc"}' : '{}');
    } else if (request.headers.authorization === 'Bearer abc') response.writeHead(200).end();
    else
      response
        .writeHead(401, { 'www-authenticate': `Bearer realm="https://127.0.0.1:${port}/token",service="test"` })
        .end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    ca: authority.certificate,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
