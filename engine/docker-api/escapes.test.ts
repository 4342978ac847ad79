/** Tries the known ways out of a container, by default and with each capability that people commonly add. Each must fail. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { TarInput } from '#lib/tar/write.ts';
import { addBusyboxImage } from '#testing/busybox-image.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { type NodeRuntime, nodeRuntime } from '#testing/escape/runtime.ts';
import { WAYS_OUT } from '#testing/escape/ways-out.ts';

let docker: DockerHost;
let image = '';
let scratch = '';
let runtime: NodeRuntime;
let victims: string[] = [];
const servers: Server[] = [];

/** As with Docker, this capability opens the calls that make namespaces; what they make is the container's own. */
const opened: Record<string, string[]> = {
  SYS_ADMIN: ['unshare a user namespace', 'unshare a mount namespace', 'hide clone flags from the filter in clone3'],
};
opened['ALL'] = opened['SYS_ADMIN'] ?? [];

describe('ways out', { ...withDocker, timeout: 200_000 }, () => {
  before(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'escape-'));
    runtime = nodeRuntime(scratch);
    docker = await openDockerHost({ allowedBinds: runtime.directories });
    image = await addBusyboxImage(docker.host.engine.images, { repository: 'hostile', entries: hostileEntries() });
    victims = await setUpVictims();
  });
  after(async () => {
    for (const server of servers) server.close();
    await docker[Symbol.asyncDispose]();
    rmSync(scratch, { recursive: true, force: true });
  });

  for (const added of [
    undefined,
    ...['SYS_ADMIN', 'NET_ADMIN', 'SYS_PTRACE', 'SYS_MODULE', 'SYS_RAWIO', 'SYS_TIME', 'SYS_RESOURCE', 'SYSLOG'],
    ...['DAC_READ_SEARCH', 'BPF', 'PERFMON', 'ALL'],
  ]) {
    test(`every attack fails ${added === undefined ? 'by default' : `with ${added}`}`, async () => {
      const flags = added === undefined ? [] : ['--cap-add', added];
      const said = await docker.docker([
        ...['run', '--rm', ...flags, ...victims, ...runtime.flags, image],
        ...runtime.command('attacker.fixture.ts'),
      ]);
      assert.equal(said.code, 0, said.stderr);
      const results = JSON.parse(said.stdout) as Record<string, string | null>;
      const wanted = WAYS_OUT.filter(({ inside }) => inside === true).map(({ attack }) => attack);
      assert.deepEqual(Object.keys(results).sort(), wanted.sort(), 'every attack of the table was tried');
      const allowed = opened[added ?? ''] ?? [];
      const successes = Object.entries(results).filter(([name, won]) => won !== null && !allowed.includes(name));
      assert.deepEqual(successes, []);
      assert.deepEqual(
        allowed.filter((name) => results[name] === null),
        [],
        'what is said to be open is open: the attack can see a success',
      );
    });
  }

  test('nobody received a packet in the name of another, nor from a loopback', async () => {
    const words = [await addressOf('listener'), await addressOf('neighbour'), 'honest'];
    await docker.ok('exec', 'neighbour', ...runtime.command('listener.fixture.ts'), ...words);
    const deadline = Date.now() + 60_000;
    let heard = '';
    while (!heard.includes('honest') && Date.now() < deadline) heard = await docker.ok('logs', 'listener');
    // What the attacks sent in their own name shows that the forged packets were sent too.
    assert.deepEqual([...new Set(heard.trim().split('\n'))], ['listening', 'true raw', 'honest']);
  });
});

/** Devices that the host has, a set-id program, and links out. */
function hostileEntries(): TarInput[] {
  const plain = { uid: 0, gid: 0, sizeBytes: 0, mtimeSeconds: 0 };
  const device = (
    name: string,
    type: 'character-device' | 'block-device',
    deviceMajor: number,
    deviceMinor: number,
  ) => ({
    ...plain,
    name: `image-devices/${name}`,
    type,
    mode: 0o666,
    deviceMajor,
    deviceMinor,
  });
  return [
    { ...plain, name: 'image-devices', type: 'directory', mode: 0o755 },
    device('mem', 'character-device', 1, 1),
    device('kmsg', 'character-device', 1, 11),
    device('disk', 'block-device', 254, 0),
    device('other-disk', 'block-device', 8, 0),
    device('loops', 'character-device', 10, 237),
  ];
}

async function addressOf(name: string): Promise<string> {
  return (await docker.ok('inspect', '-f', '{{.NetworkSettings.IPAddress}}', name)).trim();
}

/** What the attacks are told to reach: a file, a service and a socket of this host, and two neighbours. */
async function setUpVictims(): Promise<string[]> {
  const secret = join(scratch, 'of-the-host');
  writeFileSync(secret, 'secret');
  const abstract = `sampan-escape-${process.pid}`;
  const listen = async (where: { port: number; host: string } | string): Promise<Server> => {
    const server = createServer((socket) => socket.end('here'));
    if (typeof where === 'string') server.listen(`\0${where}`);
    else server.listen(where.port, where.host);
    await once(server, 'listening');
    servers.push(server);
    return server;
  };
  await listen(abstract);
  const address = (await listen({ port: 0, host: '127.0.0.1' })).address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const run = ['run', '-d', ...runtime.flags];
  await docker.ok(...run, '--name', 'listener', docker.host.image, ...runtime.command('listener.fixture.ts'));
  await docker.ok(...run, '--name', 'neighbour', docker.host.image, 'sleep', '1000');
  const gateway = docker.host.options.network.podCidr.replace(/\d+\/\d+$/, '1');
  const facts: Record<string, string> = {
    FILE: secret,
    PORT: String(port),
    GATEWAY: gateway,
    SOCKET: docker.socketPath,
    ABSTRACT: abstract,
    LISTENER: await addressOf('listener'),
    NEIGHBOUR: await addressOf('neighbour'),
  };
  return Object.entries(facts).flatMap(([name, value]) => ['-e', `VICTIM_${name}=${value}`]);
}
