/** `docker network` and what containers of user-defined networks see of each other: the real client over the real engine. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { serveDns } from '#testing/dns-upstream.ts';
import { echoIn, echoed } from '#testing/udp-echo.ts';
import { parseCidr } from '../network/addresses.ts';

let docker: DockerHost;
let image = '';
const WEB = 'echo $0 > /tmp/index.html; exec httpd -f -p 8080 -h /tmp';
const LISTENS = 'until wget -q -O /dev/null http://127.0.0.1:8080/index.html; do usleep 20000; done';

describe('networks of users', { ...withDocker, timeout: 240_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    image = docker.host.image;
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
  });

  const web = async (name: string, ...flags: string[]): Promise<string> => {
    const id = await docker.ok('run', '-d', '--name', name, ...flags, image, 'sh', '-c', WEB, name);
    await docker.ok('exec', name, 'sh', '-c', LISTENS);
    return id.trim();
  };
  const inside = async (container: string, ...words: string[]): Promise<string> => {
    const said = await docker.docker(['exec', container, ...words]);
    return said.code === 0 ? said.stdout.trim() : `failed: ${(said.stderr + said.stdout).trim()}`;
  };
  const fetched = async (container: string, host: string): Promise<string> =>
    await inside(container, 'timeout', '2', 'wget', '-q', '-O', '-', `http://${host}:8080/index.html`);
  const addressOf = async (container: string, network: string): Promise<string> =>
    (
      await docker.ok('inspect', '-f', `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, container)
    ).trim();
  const rm = async (...names: string[]): Promise<string> => await docker.ok('rm', '-f', ...names);

  test('create, ls with filters, inspect, rm, prune', async () => {
    const id = (await docker.ok('network', 'create', '--label', 'tier=back', 'first')).trim();
    assert.match(id, /^[0-9a-f]{64}$/);
    await docker.ok('network', 'create', '--internal', '--attachable', 'second');
    const names = async (...filters: string[]): Promise<string> =>
      (await docker.ok('network', 'ls', '--format', '{{.Name}}', ...filters.flatMap((one) => ['--filter', one])))
        .trim()
        .split('\n')
        .sort()
        .join(' ');
    assert.equal(await names(), 'bridge first host none second');
    assert.equal(await names('type=custom'), 'first second');
    assert.equal(await names('type=builtin'), 'bridge host none');
    assert.equal(await names('label=tier=back'), 'first');
    assert.equal(await names('name=sec'), 'second');
    assert.equal(await names(`id=${id.slice(0, 12)}`), 'first');
    assert.equal(await names('driver=null'), 'none');
    assert.equal(await names('dangling=true'), 'first second');
    assert.equal(await names('scope=local', 'driver=host'), 'host');
    const [view] = JSON.parse(await docker.ok('network', 'inspect', '--verbose', 'second')) as Record<
      string,
      unknown
    >[];
    assert.deepEqual([view?.['Internal'], view?.['Attachable'], view?.['Driver']], [true, true, 'bridge']);
    const [byPrefix] = JSON.parse(await docker.ok('network', 'inspect', id.slice(0, 8))) as { Name: string }[];
    assert.equal(byPrefix?.Name, 'first');
    assert.equal((await docker.ok('network', 'rm', 'second')).trim(), 'second');
    assert.match(await docker.ok('network', 'prune', '-f'), /Deleted Networks:\nfirst/);
    assert.equal(await names(), 'bridge host none');
  });

  test("what cannot be is refused in Docker's words", async () => {
    const range = ['--subnet', '198.19.4.0/24', '--gateway', '198.19.4.254', '--aux-address', 'printer=198.19.4.1'];
    await docker.ok('network', 'create', ...range, 'ranged');
    assert.equal(
      (await docker.ok('network', 'inspect', '-f', '{{json .IPAM.Config}} {{json .Options}}', 'ranged')).trim(),
      '[{"Subnet":"198.19.4.0/24","Gateway":"198.19.4.254","AuxiliaryAddresses":{"printer":"198.19.4.1"}}] {}',
    );
    await docker.ok('run', '-d', '--name', 'user', '--network', 'ranged', image, 'sleep', '1000');
    const refusals: [string[], RegExp][] = [
      [['network', 'create', 'ranged'], /network with name ranged already exists/],
      [['network', 'create', 'bridge'], /operation is not permitted on predefined bridge network/],
      [['network', 'create', '--subnet', '198.19.0.0/16', 'n'], /Pool overlaps with other one on this address space/],
      [['network', 'create', '--subnet', '198.18.4.1/24', 'n'], /not the first address/],
      [
        ['network', 'create', '--subnet', '198.18.4.0/24', '--gateway', '9.9.9.9', 'n'],
        /no matching subnet for gateway 9\.9\.9\.9/,
      ],
      [['network', 'create', '--driver', 'macvlan', 'n'], /plugin not found/],
      [['network', 'create', '--opt', 'com.docker.network.bridge.name=x', 'n'], /is not supported/],
      [['network', 'rm', 'bridge'], /bridge is a pre-defined network and cannot be removed/],
      [['network', 'rm', 'none'], /none is a pre-defined network and cannot be removed/],
      [['network', 'rm', 'nothing'], /network nothing not found/],
      [
        ['network', 'rm', 'ranged'],
        /error while removing network: network ranged id [0-9a-f]{64} has active endpoints/,
      ],
      [['network', 'connect', 'ranged', 'user'], /endpoint with name user already exists in network ranged/],
      [['network', 'connect', 'ranged', 'nobody'], /No such container: nobody/],
      [['network', 'disconnect', 'bridge', 'user'], /is not connected to network bridge/],
      [['run', '--rm', '--network', 'nothing', image, 'true'], /network nothing not found/],
      [['run', '--rm', '--network', 'host', image, 'true'], /--allow-host-namespaces/],
      [
        ['run', '--rm', '--network', 'ranged', '--ip', '9.9.9.9', image, 'true'],
        /no configured subnet contains IP address 9\.9\.9\.9/,
      ],
      [['run', '--rm', '--network', 'ranged', '--ip', '198.19.4.254', image, 'true'], /Address already in use/],
      [['run', '--rm', '--ip', '10.1.1.1', image, 'true'], /supported on user defined networks only/],
      [['run', '--rm', '--network-alias', 'x', image, 'true'], /network-scoped alias/],
      [
        ['run', '--rm', '--network', 'ranged', '--mac-address', '01:00:00:00:00:01', image, 'true'],
        /no address of one machine/,
      ],
      [['run', '--rm', '-p', '80/sctp', image, 'true'], /SCTP is not supported/],
      [['run', '--rm', '--link', 'nobody:x', image, 'true'], /could not get container for nobody/],
      [['run', '--rm', '--network', 'container:nobody', image, 'true'], /No such container: nobody/],
    ];
    for (const [words, message] of refusals) {
      const said = await docker.docker(words);
      assert.notEqual(said.code, 0, words.join(' '));
      assert.match(said.stderr, message);
    }
    await rm('user');
    await docker.ok('network', 'rm', 'ranged');
    assert.deepEqual(docker.host.engine.sandboxes(), []);
    assert.equal(docker.host.engine.networks.list().length, 0);
  });

  test('names, aliases, short ids and addresses lead to the others of the network, and to nobody else', async () => {
    await docker.ok('network', 'create', 'left');
    await docker.ok('network', 'create', 'right');
    const id = await web('db', '--network', 'left', '--network-alias', 'database', '--hostname', 'host-of-db');
    await web('app', '--network', 'left');
    await web('stranger', '--network', 'right');
    await web('plain');
    for (const name of ['db', 'DB', 'database', 'db.left', id.slice(0, 12), 'host-of-db'])
      assert.equal(await fetched('app', name), 'db', name);
    const ip = await addressOf('db', 'left');
    assert.match(await inside('app', 'nslookup', ip), /name = db\.left/);
    assert.equal(await fetched('app', ip), 'db');
    for (const other of ['stranger', 'plain']) {
      assert.match(await inside(other, 'nslookup', '-type=a', 'db'), /failed/, other);
      assert.match(await fetched(other, ip), /failed/, other);
    }
    assert.match(await fetched('app', await addressOf('plain', 'bridge')), /failed/);
    await docker.ok('rename', 'db', 'store');
    assert.equal(await fetched('app', 'store'), 'db');
    assert.match(await fetched('app', 'db'), /failed/);
    await docker.ok('rename', 'store', 'db');
    // A stopped one has no name, and the same address again.
    await docker.ok('stop', '-t', '0', 'db');
    assert.match(await fetched('app', 'db'), /failed/);
    await docker.ok('start', 'db');
    await docker.ok('exec', 'db', 'sh', '-c', LISTENS);
    assert.equal(await addressOf('db', 'left'), ip);
    assert.equal(await fetched('app', 'db'), 'db');
    const resolver = await inside('app', 'cat', '/etc/resolv.conf');
    assert.match(resolver, /^nameserver 10\.\d+\.\d+\.1\n/);
    assert.match(resolver, /ndots:0/);
    const [view] = JSON.parse(await docker.ok('network', 'inspect', 'left')) as [
      { Containers: Record<string, { Name: string; IPv4Address: string }> },
    ];
    assert.deepEqual(
      Object.values(view.Containers)
        .map(({ Name }) => Name)
        .sort(),
      ['app', 'db'],
    );
    assert.equal(view.Containers[id]?.IPv4Address, `${ip}/24`);
    assert.equal((await docker.ok('ps', '-q', '--no-trunc', '--filter', 'network=left')).trim().split('\n').length, 2);
    assert.match(
      (await docker.ok('inspect', '-f', '{{json .NetworkSettings.Networks.left}}', 'db')).trim(),
      new RegExp(`"Aliases":\\["database"\\].*"DNSNames":\\["db","database","${id.slice(0, 12)}","host-of-db"\\]`),
    );
    await rm('db', 'app', 'stranger', 'plain');
    await docker.ok('network', 'rm', 'left', 'right');
  });

  test('connect and disconnect, of a container that runs', async () => {
    await docker.ok('network', 'create', 'one');
    await docker.ok('network', 'create', '--subnet', '198.19.8.0/24', '--ip-range', '198.19.8.64/26', 'two');
    const since = String(Date.now() / 1000 - 0.001);
    await web('mover');
    await web('in-one', '--network', 'one');
    await web('in-two', '--network', 'two');
    assert.match(await addressOf('in-two', 'two'), /^198\.19\.8\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])$/);
    await docker.ok('network', 'connect', '--alias', 'both', 'one', 'mover');
    await docker.ok('network', 'connect', '--ip', '198.19.8.7', '--link', 'in-two:partner', 'two', 'mover');
    assert.equal(await addressOf('mover', 'two'), '198.19.8.7');
    assert.equal(await fetched('mover', 'in-one'), 'in-one');
    assert.equal(await fetched('mover', 'partner'), 'in-two');
    assert.equal(await fetched('in-one', 'both'), 'mover');
    assert.equal(await fetched('in-two', 'mover'), 'mover');
    assert.match(await fetched('in-two', await addressOf('mover', 'one')), /failed/, 'only by the network of both');
    assert.match(await fetched('in-one', 'in-two'), /failed/);
    await docker.ok('network', 'disconnect', 'one', 'mover');
    assert.match(await fetched('mover', 'in-one'), /failed/);
    assert.equal(await fetched('mover', 'in-two'), 'in-two');
    await docker.ok('network', 'disconnect', 'bridge', 'mover');
    assert.equal(await fetched('mover', 'in-two'), 'in-two');
    assert.deepEqual((await inside('mover', 'ip', '-o', '-4', 'addr', 'show', 'eth0')).match(/inet \S+/g), [
      'inet 198.19.8.7/32',
    ]);
    const until = String(Date.now() / 1000 + 0.2);
    const told = await docker.ok(
      'events',
      '--since',
      since,
      '--until',
      until,
      '--filter',
      'type=network',
      '--format',
      '{{.Action}} {{index .Actor.Attributes "name"}}',
    );
    assert.deepEqual(told.trim().split('\n'), [
      'connect bridge',
      'connect one',
      'connect two',
      'connect one',
      'connect two',
      'disconnect one',
      'disconnect bridge',
    ]);
    await docker.ok(
      'run',
      '-d',
      '--name',
      'both',
      '--network',
      'name=one,alias=pair',
      '--network',
      'two',
      image,
      'sleep',
      '1000',
    );
    assert.equal(await fetched('both', 'in-one'), 'in-one');
    assert.equal(await fetched('both', 'in-two'), 'in-two');
    assert.match(await inside('in-one', 'nslookup', '-type=a', 'pair'), /Name:\s+pair/);
    await rm('mover', 'in-one', 'in-two', 'both');
    await docker.ok('network', 'rm', 'one', 'two');
  });

  test('an internal network leads nowhere, and asks nobody', async () => {
    await docker.ok('network', 'create', '--internal', 'closed');
    await web('inner', '--network', 'closed', '-p', '0:8080');
    await web('other', '--network', 'closed');
    await web('outer');
    assert.equal(await fetched('inner', 'other'), 'other');
    assert.doesNotMatch(await inside('inner', 'ip', 'route'), /default/);
    const gateway = docker.host.engine.networks.list()[0]?.gateway ?? '';
    for (const address of [await addressOf('outer', 'bridge'), '192.0.2.1', gateway])
      assert.match(await fetched('inner', address), /failed/);
    assert.match(await inside('inner', 'nslookup', '-type=a', 'example.invalid.'), /SERVFAIL/);
    assert.equal((await docker.ok('port', 'inner')).trim(), '');
    await rm('inner', 'other', 'outer');
    await docker.ok('network', 'rm', 'closed');
  });

  test('other names go to the servers that it was given', async () => {
    await docker.ok('network', 'create', 'asking');
    await using upstream = await serveDns({ 'far.example': '203.0.113.9' });
    await docker.ok(
      'run',
      '-d',
      '--name',
      'asker',
      '--network',
      'asking',
      '--dns',
      upstream.address,
      '--dns-search',
      'example',
      image,
      'sleep',
      '1000',
    );
    assert.match(await inside('asker', 'nslookup', '-type=a', 'far.example'), /203\.0\.113\.9/);
    assert.match(await inside('asker', 'cat', '/etc/resolv.conf'), /^search example$/m);
    assert.match(await inside('asker', 'nslookup', '-type=a', 'none.example'), /NXDOMAIN/);
    await rm('asker');
    await docker.ok('network', 'rm', 'asking');
  });

  test('published ports, also of UDP, and what is connected to bridge later', async () => {
    await docker.ok('network', 'create', 'serving');
    await web(
      'served',
      '--network',
      'serving',
      '-p',
      '127.0.0.1:0:8080',
      '-p',
      '127.0.0.1:0:8080/udp',
      '--expose',
      '9',
      '-P',
    );
    const port = (await docker.ok('port', 'served', '8080/tcp')).trim();
    assert.equal(await get(port), 'served\n');
    assert.match(await docker.ok('port', 'served'), /9\/tcp -> 0\.0\.0\.0:\d+/);
    assert.match(await docker.ok('port', 'served', '8080/udp'), /^127\.0\.0\.1:\d+/);
    await web('self', '--network', 'serving', '-p', '0:8080');
    const own = (await docker.ok('port', 'self', '8080')).trim().split(/[:\n]/)[1] ?? '';
    const gateway = docker.host.engine.networks.list()[0]?.gateway ?? '';
    for (const one of ['self', 'served'])
      assert.equal(
        await inside(one, 'timeout', '2', 'wget', '-q', '-O', '-', `http://${gateway}:${own}/index.html`),
        'self',
      );
    await rm('self');
    await docker.ok(
      'run',
      '-d',
      '--name',
      'echo',
      '--network',
      'serving',
      '-p',
      '127.0.0.1:0:9000/udp',
      image,
      'sleep',
      '1000',
    );
    const [, udp = ''] = (await docker.ok('port', 'echo', '9000/udp')).trim().split(':');
    const listener = echoIn((await docker.ok('inspect', '-f', '{{.NetworkSettings.SandboxKey}}', 'echo')).trim());
    try {
      assert.equal(await echoed(Number(udp)), 'by UDP');
    } finally {
      listener.kill();
    }
    await rm('echo');
    await docker.reopen();
    assert.equal(await get(port), 'served\n');
    await docker.ok('network', 'connect', 'bridge', 'served');
    await docker.ok('network', 'disconnect', 'serving', 'served');
    assert.equal(await get(port), 'served\n', 'it follows the container to its other address');
    await rm('served');
    assert.equal(await get(port), undefined);
    await docker.ok('network', 'rm', 'serving');
  });

  test('the bridge shows the containers in it, and the sandboxes of pods', async () => {
    const { engine } = docker.host;
    const shown = async (): Promise<Record<string, { Name: string; IPv4Address: string }>> =>
      JSON.parse(await docker.ok('network', 'inspect', '-f', '{{json .Containers}}', 'bridge')) as never;
    const id = (await docker.ok('run', '-d', '--name', 'plain', image, 'sleep', '1000')).trim();
    const sandbox = await engine.createSandbox({ name: 'team/web/u1', hostname: 'web' });
    const pod = await engine.createContainer({ sandbox: sandbox.id, name: 'main', image, command: ['sleep', '1000'] });
    assert.deepEqual(Object.keys(await shown()), [id], 'nothing of the pod runs');
    await engine.startContainer(pod.id);
    const { [sandbox.id]: found, ...others } = await shown();
    const { prefix } = parseCidr(engine.info().bridge.subnet);
    assert.deepEqual([found?.Name, found?.IPv4Address], ['team/web/u1', `${sandbox.ip}/${prefix}`]);
    assert.deepEqual(Object.keys(others), [id]);
    await engine.removeSandbox(sandbox.id);
    await rm('plain');
    assert.deepEqual(await shown(), {});
  });

  test('no network, the network of another container, and links', async () => {
    assert.equal(
      await docker.ok('run', '--rm', '--network', 'none', image, 'sh', '-c', 'ip -o link | cut -d: -f2'),
      ' lo\n',
    );
    await docker.ok('network', 'create', 'shared');
    const id = await web('owner', '--network', 'shared');
    await docker.ok('run', '-d', '--name', 'guest', '--network', 'container:owner', image, 'sleep', '1000');
    assert.equal(await fetched('guest', '127.0.0.1'), 'owner');
    assert.equal((await docker.ok('inspect', '-f', '{{.HostConfig.NetworkMode}}', 'guest')).trim(), `container:${id}`);
    for (const flags of [
      ['-p', '80:80'],
      ['--hostname', 'x'],
      ['--dns', '9.9.9.9'],
    ])
      assert.match(
        (await docker.docker(['create', '--network', 'container:owner', ...flags, image])).stderr,
        /conflicting options/,
      );
    await rm('owner');
    assert.equal((await docker.ok('inspect', '-f', '{{.State.Running}}', 'guest')).trim(), 'true');
    await web('owner', '--network', 'shared');
    await rm('guest');
    await docker.ok(
      'run',
      '-d',
      '--name',
      'linked',
      '--network',
      'shared',
      '--link',
      'owner:friend',
      '--mac-address',
      '02:42:00:00:00:63',
      image,
      'sleep',
      '1000',
    );
    assert.equal(await fetched('linked', 'friend'), 'owner');
    assert.equal(await inside('linked', 'cat', '/sys/class/net/eth0/address'), '02:42:00:00:00:63');
    assert.equal(
      (await docker.ok('inspect', '-f', '{{.NetworkSettings.Networks.shared.MacAddress}}', 'linked')).trim(),
      '02:42:00:00:00:63',
    );
    await web('base');
    await docker.ok('run', '-d', '--name', 'old-link', '--link', 'base:friend', image, 'sleep', '1000');
    assert.equal(await fetched('old-link', 'friend'), 'base');
    await rm('linked', 'owner', 'base', 'old-link');
    await docker.ok('network', 'rm', 'shared');
  });

  test('a network that only stopped containers are in goes, and their start says so', async () => {
    await docker.ok('network', 'create', 'gone');
    await docker.ok('create', '--name', 'left-behind', '--network', 'gone', image, 'true');
    await docker.ok('network', 'rm', 'gone');
    assert.match((await docker.docker(['start', 'left-behind'])).stderr, /network [0-9a-f]{64} not found/);
    await rm('left-behind');
  });
});

async function get(address: string): Promise<string | undefined> {
  for (const end = Date.now() + 3000; Date.now() < end; ) {
    try {
      const response = await fetch(`http://${address}/index.html`, { signal: AbortSignal.timeout(1000) });
      return await response.text();
    } catch (error) {
      // Not yet, or not any more: told apart by the time it takes.
      if (!String((error as Error).cause).includes('ECONNREFUSED')) return undefined;
    }
  }
  return undefined;
}
