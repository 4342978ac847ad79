/** Networks with IPv6 beside IPv4: the real client over the real engine, and a machine beyond this host. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { simulateBoot } from '#testing/boot.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { type OutsideWorld, openOutsideWorld } from '#testing/outside-world.ts';
import { echoIn, echoed } from '#testing/udp-echo.ts';
import { until } from '#testing/until.ts';
import { hostHasIpv6 } from '../network/ipv6-host.ts';

const skip = hostHasIpv6() ? withDocker.skip : 'IPv6 is turned off on this machine';
const WEB = 'echo $0 > /tmp/index.html; exec httpd -f -p 8080 -h /tmp';
const LISTENS = 'until wget -q -O /dev/null http://127.0.0.1:8080/index.html; do usleep 20000; done';

let docker: DockerHost;
let outside: OutsideWorld;
let image = '';
/** Of this test's alone. */
let prefix = '';

interface View {
  EnableIPv6: boolean;
  IPAM: { Config: { Subnet: string; Gateway: string }[] };
  Containers: Record<string, { Name: string; IPv6Address: string }>;
}

describe('networks with IPv6', { skip, timeout: 240_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    outside = await openOutsideWorld();
    image = docker.host.image;
    prefix = outside.host.replace('fd77', 'fd78').replace(/::1$/, '');
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
    await outside[Symbol.asyncDispose]();
    assert.doesNotMatch(execFileSync('ip', ['-6', 'route'], { encoding: 'utf8' }), new RegExp(prefix));
  });

  const web = async (name: string, ...flags: string[]): Promise<void> => {
    await docker.ok('run', '-d', '--name', name, ...flags, image, 'sh', '-c', WEB, name);
    await docker.ok('exec', name, 'sh', '-c', LISTENS);
  };
  const inside = async (container: string, ...words: string[]): Promise<string> => {
    const said = await docker.docker(['exec', container, ...words]);
    return said.code === 0 ? said.stdout.trim() : `failed: ${(said.stderr + said.stdout).trim()}`;
  };
  const fetched = async (container: string, address: string, port = 8080): Promise<string> =>
    await inside(container, 'timeout', '2', 'wget', '-q', '-O', '-', `http://[${address}]:${port}/index.html`);
  const inspect = async (format: string, name: string): Promise<string> =>
    (await docker.ok('inspect', '-f', format, name)).trim();
  const addressOf = async (container: string, network: string): Promise<string> =>
    await inspect(`{{(index .NetworkSettings.Networks "${network}").GlobalIPv6Address}}`, container);
  const view = async (network: string): Promise<View> => {
    const [found] = JSON.parse(await docker.ok('network', 'inspect', network)) as [View];
    return found;
  };
  const rm = async (...names: string[]): Promise<string> => await docker.ok('rm', '-f', ...names);

  test('a range that is asked for, or one of the instance; what each container has of it', async () => {
    const range = ['--ipv6', '--subnet', `${prefix}:1::/64`, '--gateway', `${prefix}:1::fe`];
    await docker.ok('network', 'create', ...range, '--ip-range', `${prefix}:1::a00/120`, 'asked');
    await docker.ok('network', 'create', '--ipv6', 'drawn');
    await docker.ok('network', 'create', '--subnet', `${prefix}:2::/64`, 'off');
    const asked = await view('asked');
    assert.deepEqual([asked.EnableIPv6, asked.IPAM.Config.length], [true, 2]);
    assert.deepEqual(asked.IPAM.Config[1], {
      Subnet: `${prefix}:1::/64`,
      IPRange: `${prefix}:1::a00/120`,
      Gateway: `${prefix}:1::fe`,
    });
    assert.match((await view('drawn')).IPAM.Config[1]?.Subnet ?? '', /^fd[0-9a-f:]+::\/64$/);
    assert.deepEqual([(await view('off')).EnableIPv6, (await view('off')).IPAM.Config.length], [false, 1]);
    await docker.ok('run', '-d', '--name', 'first', '--network', 'asked', image, 'sleep', '1000');
    const wish = ['--network', 'asked', '--ip6', `${prefix}:1:0:0:0:77`];
    await docker.ok('run', '-d', '--name', 'wished', ...wish, image, 'sleep', '1000');
    assert.equal(await addressOf('first', 'asked'), `${prefix}:1::a00`);
    assert.deepEqual(
      JSON.parse(await inspect('{{json .NetworkSettings.Networks.asked.IPAMConfig}}', 'wished')) as unknown,
      { IPv6Address: `${prefix}:1::77` },
    );
    assert.equal(
      await inspect(
        '{{with .NetworkSettings.Networks.asked}}{{.GlobalIPv6Address}}/{{.GlobalIPv6PrefixLen}} {{.IPv6Gateway}}{{end}}',
        'wished',
      ),
      `${prefix}:1::77/64 ${prefix}:1::fe`,
    );
    assert.deepEqual(
      Object.values((await view('asked')).Containers)
        .map(({ Name, IPv6Address }) => `${Name} ${IPv6Address}`)
        .sort(),
      [`first ${prefix}:1::a00/64`, `wished ${prefix}:1::77/64`],
    );
    assert.match(await inside('wished', 'ip', '-6', 'route'), new RegExp(`default via ${prefix}:1::fe dev eth0`));
    assert.match(await inside('wished', 'cat', '/etc/hosts'), new RegExp(`^${prefix}:1::77\\t[0-9a-f]{12}$`, 'm'));
    const refusals: [string[], RegExp][] = [
      [['network', 'create', '--ipv6', '--subnet', `${prefix}:1::/80`, 'n'], /Pool overlaps with other one/],
      [['network', 'create', '--ipv6', '--subnet', 'fe80::/64', 'n'], /nobody can be addressed there/],
      [['network', 'create', '--ipv6', '--subnet', `${prefix}:3::/127`, 'n'], /use a \/16 to a \/126/],
      [['run', '--rm', '--network', 'asked', '--ip6', `${prefix}:1::77`, image], /Address already in use/],
      [['run', '--rm', '--network', 'asked', '--ip6', 'fd00::7', image], /no configured subnet contains IP address/],
      [['run', '--rm', '--network', 'drawn', '--ip6', 'fd00::7', image], /user configured subnets/],
      [['run', '--rm', '--network', 'off', '--ip6', `${prefix}:2::7`, image], /user configured subnets/],
      [['run', '--rm', '--ip6', 'fd00::7', image], /supported on user defined networks only/],
    ];
    for (const [words, message] of refusals) {
      const said = await docker.docker(words);
      assert.notEqual(said.code, 0, words.join(' '));
      assert.match(said.stderr, message);
    }
    await rm('first', 'wished');
    await docker.ok('network', 'rm', 'asked', 'drawn', 'off');
    assert.deepEqual(docker.host.engine.networks.list(), []);
  });

  test('names, and who reaches whom', async () => {
    for (const name of ['left', 'right']) await docker.ok('network', 'create', '--ipv6', name);
    await docker.ok('network', 'create', '--ipv6', '--internal', 'closed');
    await docker.ok('network', 'create', '--ipv6', '--opt', 'com.docker.network.bridge.enable_icc=false', 'apart');
    await web('db', '--network', 'left', '--network-alias', 'database');
    await web('app', '--network', 'left');
    await web('stranger', '--network', 'right');
    for (const name of ['inner', 'other']) await web(name, '--network', 'closed');
    for (const name of ['here', 'there']) await web(name, '--network', 'apart');
    const db = await addressOf('db', 'left');
    assert.equal(await fetched('app', db), 'db');
    assert.match(await inside('app', 'nslookup', '-type=aaaa', 'database'), new RegExp(`Address: ${db}`));
    assert.doesNotMatch(await inside('app', 'nslookup', '-type=a', 'database'), new RegExp(db));
    assert.match(await inside('app', 'nslookup', db), /name = db\.left/);
    assert.match(await fetched('stranger', db), /failed/);
    assert.match(await fetched('there', await addressOf('here', 'apart')), /failed/);
    assert.equal(await fetched('inner', await addressOf('other', 'closed')), 'other');
    // The gateway answers, where it may: the host's own address on the way.
    const gateway = async (network: string): Promise<string> => (await view(network)).IPAM.Config[1]?.Gateway ?? '';
    assert.match(await inside('app', 'ping', '-6', '-c', '1', '-W', '2', await gateway('left')), /1 packets received/);
    const closed = await gateway('closed');
    assert.match(await inside('inner', 'ping', '-6', '-c', '1', '-W', '1', closed), /100% packet loss/);
    assert.doesNotMatch(await inside('inner', 'ip', '-6', 'route'), /default/);
    assert.match(await fetched('inner', outside.address), /failed/);
    assert.match(await fetched('inner', db), /failed/);
    // Who leaves a network has nothing of it any more; who comes has everything at once.
    await docker.ok('network', 'connect', 'right', 'app');
    await docker.ok('network', 'disconnect', 'left', 'app');
    assert.match(await fetched('app', db), /failed/);
    assert.equal(await fetched('app', await addressOf('stranger', 'right')), 'stranger');
    assert.doesNotMatch(
      await inside('app', 'ip', '-6', 'route'),
      new RegExp((await gateway('left')).replace(/1$/, '')),
    );
    await rm('db', 'app', 'stranger', 'inner', 'other', 'here', 'there');
    await docker.ok('network', 'rm', 'left', 'right', 'closed', 'apart');
  });

  test('outwards with the address of this host, and from nobody who forges one', async () => {
    await docker.ok('network', 'create', '--ipv6', '--subnet', `${prefix}:4::/64`, 'open');
    const forge = ['--cap-add', 'NET_ADMIN'];
    await docker.ok('run', '-d', '--name', 'sender', ...forge, '--network', 'open', image, 'sleep', '1000');
    const ask = async (...from: string[]): Promise<string> =>
      await inside('sender', 'timeout', '2', 'wget', ...from, '-q', '-O', '-', `http://[${outside.address}]:8080/`);
    assert.equal(await ask(), outside.host);
    // Without a translation answers would come back as well: the machine has a route.
    outside.routeTo(`${prefix}::/48`);
    assert.equal(await ask(), outside.host);
    await inside('sender', 'ip', '-6', 'route', 'del', 'default');
    await inside('sender', 'ip', '-6', 'addr', 'add', `${prefix}:4::bad/128`, 'dev', 'eth0');
    await inside(
      'sender',
      'ip',
      '-6',
      'route',
      'add',
      'default',
      'via',
      `${prefix}:4::1`,
      'dev',
      'eth0',
      'src',
      `${prefix}:4::bad`,
    );
    assert.match(await inside('sender', 'ip', '-6', 'route'), /::bad/);
    assert.match(await ask(), /failed/);
    // Nor does anybody listen to what it says of neighbours and routers.
    const table = execFileSync('nft', ['list', 'table', 'inet', `sampan-${docker.host.options.instance}`], {
      encoding: 'utf8',
    });
    assert.match(table, /icmpv6 type \{ [^}]*nd-router-advert[^}]*\} drop/);
    await rm('sender');
    await docker.ok('network', 'rm', 'open');
  });

  test('published ports, on every address of this host, of containers with IPv6 and without', async () => {
    await docker.ok('network', 'create', '--ipv6', 'serving');
    await web('six', '--network', 'serving', '-p', '8080');
    await web('four', '-p', '8080');
    await web('only-four', '--network', 'serving', '-p', '0.0.0.0::8080');
    await web('only-six', '--network', 'serving', '-p', '[::1]::8080');
    const [port, portOfFour] = await Promise.all(['six', 'four'].map(portOf));
    assert.equal(await docker.ok('port', 'six', '8080'), `0.0.0.0:${port}\n[::]:${port}\n`);
    assert.equal(
      (await docker.ok('ps', '--filter', 'name=^six$', '--format', '{{.Ports}}')).trim(),
      `0.0.0.0:${port}->8080/tcp, [::]:${port}->8080/tcp`,
    );
    for (const [name, number] of [
      ['six', port],
      ['four', portOfFour],
    ] as const) {
      for (const host of ['127.0.0.1', '[::1]', `[${outside.host}]`])
        assert.equal(await get(`${host}:${number}`), name);
      const url = `http://[${outside.host}]:${number}/index.html`;
      const ask = `fetch('${url}').then((answer) => answer.text()).then((text) => process.stdout.write(text))`;
      assert.equal((await outside.run(process.execPath, '-e', ask)).trim(), name);
    }
    const four = await portOf('only-four');
    assert.equal(await docker.ok('port', 'only-four'), `8080/tcp -> 0.0.0.0:${four}\n`);
    assert.deepEqual([await get(`127.0.0.1:${four}`), await get(`[::1]:${four}`)], ['only-four', undefined]);
    const six = await portOf('only-six');
    assert.equal(await docker.ok('port', 'only-six'), `8080/tcp -> [::1]:${six}\n`);
    assert.deepEqual([await get(`[::1]:${six}`), await get(`127.0.0.1:${six}`)], ['only-six', undefined]);
    const taken = await docker.docker(['run', '--rm', '-p', `[::]:${port}:80`, image, 'true']);
    assert.match(taken.stderr, /Bind for \[::\]:\d+ failed: port is already allocated/);
    // Itself, by the port that it publishes.
    const gateway = (await view('serving')).IPAM.Config[1]?.Gateway ?? '';
    for (const one of ['six', 'only-four']) assert.equal(await fetched(one, gateway, Number(port)), 'six');
    await docker.reopen();
    for (const host of ['127.0.0.1', '[::1]', `[${outside.host}]`]) assert.equal(await get(`${host}:${port}`), 'six');
    assert.equal(await get(`[::1]:${portOfFour}`), 'four');
    await docker.ok('network', 'connect', 'bridge', 'six');
    await docker.ok('network', 'disconnect', 'serving', 'six');
    assert.equal(await get(`[::1]:${port}`), 'six', 'it follows the container to a network without IPv6');
    await rm('six', 'four', 'only-four', 'only-six');
    assert.equal(await get(`[::1]:${port}`), undefined);
    await docker.ok('network', 'rm', 'serving');
  });

  test('published ports of UDP', async () => {
    await docker.ok('network', 'create', '--ipv6', 'datagrams');
    for (const flags of [['--network', 'datagrams'], []]) {
      const id = await docker.ok('run', '-d', ...flags, '-p', '9000/udp', image, 'sleep', '1000');
      const listener = echoIn(await inspect('{{.NetworkSettings.SandboxKey}}', id.trim()));
      try {
        const port = Number(await portOf(id.trim()));
        for (const host of ['127.0.0.1', '::1', outside.host]) assert.equal(await echoed(port, host), 'by UDP', host);
      } finally {
        listener.kill();
      }
      await rm(id.trim());
    }
    await docker.ok('network', 'rm', 'datagrams');
  });

  test('a boot of the machine leaves addresses, and what is published', async () => {
    await docker.ok('network', 'create', '--ipv6', 'kept');
    await web('stays', '--network', 'kept', '--restart', 'always', '-p', '8080');
    await docker.ok('run', '-d', '--name', 'asks', '--network', 'kept', '--restart', 'always', image, 'sleep', '1000');
    const before = [await addressOf('stays', 'kept'), await portOf('stays')];
    await docker.pause();
    await simulateBoot(docker.host.options);
    await docker.resume();
    for (const name of ['stays', 'asks'])
      await until(async () => (await inspect('{{.State.Status}}', name)) === 'running');
    await docker.ok('exec', 'stays', 'sh', '-c', LISTENS);
    assert.equal(await addressOf('stays', 'kept'), before[0]);
    assert.equal(await fetched('asks', before[0] ?? ''), 'stays');
    assert.equal(await get(`[::1]:${await portOf('stays')}`), 'stays');
    await rm('stays', 'asks');
    await docker.ok('network', 'rm', 'kept');
  });
});

async function portOf(name: string): Promise<string> {
  return /:(\d+)$/m.exec(await docker.ok('port', name))?.[1] ?? '';
}

/** Undefined where nobody listens. */
async function get(address: string): Promise<string | undefined> {
  try {
    const response = await fetch(`http://${address}/index.html`, { signal: AbortSignal.timeout(3000) });
    return (await response.text()).trim();
  } catch (error) {
    assert.match(String((error as Error).cause), /ECONNREFUSED/, address);
    return undefined;
  }
}
