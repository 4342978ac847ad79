/**
 * Looking into apps and between them, on a whole platform: sidecars, ssh, security groups, network policies. With the stock `cf` where
 * it is on the PATH; the rest by HTTP, kubectl and a real ssh client.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import ssh2, { type ClientChannel } from 'ssh2';
import { catalogOf, PLAN, TestBroker } from '#platform/services/broker.fixture.ts';
import { Cf, findCf } from '#testing/cf.ts';
import { scp, sftp } from '#testing/openssh.ts';
import { TestPlatform, until } from '#testing/platform.ts';
import { talkativeApp, writeApp } from '#testing/sample-apps.ts';

const program = findCf();
const skip = program === undefined && 'cf is not on the PATH';
const SIDECAR = `node -e "require('http').createServer((q, s) => s.end('sidecar ' + process.env.COLOR)).listen(9999, '127.0.0.1')"`;
const MANIFEST = `---
applications:
- name: front
  memory: 192M
  env:
    COLOR: blue
  sidecars:
  - name: relay
    process_types: [web]
    memory: 64M
    command: ${JSON.stringify(SIDECAR)}
`;

describe('into apps and between them', { concurrency: 1 }, () => {
  const platform = new TestPlatform('change');
  let cf: Cf;
  let token: string;
  let listener: Server;
  let password: string;

  before(async () => {
    await platform.must('up', '--allow-outbound', '127.0.0.1/32');
    password = readFileSync(join(platform.dataDirectory, 'admin-password'), 'utf8').trim();
    const source = writeApp(join(platform.directory, 'app'), { ...talkativeApp('one'), 'manifest.yml': MANIFEST });
    await platform.must('push', '-f', join(source, 'manifest.yml'), '-p', source);
    token = await login();
    if (program !== undefined) {
      cf = new Cf(platform, program, 'admin');
      await cf.login('admin', password);
      await cf.must('target', '-o', 'default', '-s', 'dev');
    }
    // What is not the app's to reach: a program of this host.
    listener = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end('the host\n');
    });
    await new Promise<void>((done) => listener.listen(0, '0.0.0.0', done));
  });
  after(async () => {
    listener?.close();
    await platform.purge();
  });

  interface Answer {
    status: number;
    headers: Record<string, unknown>;
    body: string;
  }

  function ask(
    host: string,
    path: string,
    options: { method?: string; body?: string; headers?: Record<string, string> } = {},
  ) {
    const { domain, ports } = platform.instance;
    return new Promise<Answer>((done, fail) => {
      const call = request(
        {
          host: '127.0.0.1',
          port: ports.https,
          path,
          method: options.method ?? 'GET',
          servername: `${host}.${domain}`,
          rejectUnauthorized: false,
          agent: false,
          headers: { host: `${host}.${domain}`, authorization: `bearer ${token}`, ...options.headers },
        },
        (response) => {
          text(response).then(
            (body) => done({ status: response.statusCode ?? 0, headers: response.headers, body }),
            fail,
          );
        },
      );
      call.once('error', fail);
      call.end(options.body);
    });
  }

  async function login(): Promise<string> {
    const body = new URLSearchParams({ grant_type: 'password', username: 'admin', password }).toString();
    const authorization = `Basic ${Buffer.from('cf:').toString('base64')}`;
    const headers = { 'content-type': 'application/x-www-form-urlencoded', authorization };
    const answer = await ask('uaa', '/oauth/token', { method: 'POST', body, headers });
    return (JSON.parse(answer.body) as { access_token: string }).access_token;
  }

  async function api<T = Record<string, unknown>>(path: string, method = 'GET', body?: unknown): Promise<T> {
    const answer = await ask('api', path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.body}`);
    return (answer.body === '' ? {} : JSON.parse(answer.body)) as T;
  }

  async function guidOf(name: string): Promise<string> {
    const { resources } = await api<{ resources: { guid: string }[] }>(`/v3/apps?names=${name}`);
    return resources[0]?.guid ?? '';
  }

  async function sshCode(): Promise<string> {
    const answer = await ask('uaa', '/oauth/authorize?client_id=ssh-proxy&response_type=code');
    assert.equal(answer.status, 302, answer.body);
    return new URL(String(answer.headers['location'])).searchParams.get('code') ?? '';
  }

  async function ssh(guid: string): Promise<ssh2.Client> {
    const code = await sshCode();
    const client = new ssh2.Client();
    await new Promise<void>((done, fail) => {
      client.once('ready', done).once('error', fail);
      client.connect({
        host: '127.0.0.1',
        port: platform.instance.ports.ssh,
        username: `cf:${guid}/0`,
        password: code,
      });
    });
    return client;
  }

  function command(client: ssh2.Client, line: string, pty = false): Promise<{ out: string; code: number }> {
    return new Promise((done, fail) => {
      client.exec(line, pty ? { pty: { cols: 91, rows: 17 } } : {}, (error, channel: ClientChannel) => {
        if (error) return fail(error);
        const out = text(channel);
        channel.stderr.resume();
        channel.once('exit', (code: number) => out.then((read) => done({ out: read, code }), fail));
      });
    });
  }

  /** What a program in the app gets from there; empty where it cannot connect. */
  async function reaches(client: ssh2.Client, host: string, port: number): Promise<boolean> {
    const { code } = await command(client, `timeout 2 bash -c 'exec 3<>/dev/tcp/${host}/${port}'`);
    return code === 0;
  }

  test('a sidecar shares network, variables and droplet, and its lines are its own', async () => {
    const client = await ssh(await guidOf('front'));
    const fetch = `node -e "fetch('http://127.0.0.1:9999').then(r => r.text()).then(console.log)"`;
    await until('the sidecar to answer', async () => (await command(client, fetch)).out === 'sidecar blue\n');
    client.end();
    const pods = await platform.mustKubectl(
      'get',
      'pods',
      '-A',
      '-l',
      'platform.sampan.dev/app-name=front',
      '-o',
      'json',
    );
    const [pod] = (JSON.parse(pods) as { items: { spec: { containers: { name: string }[] } }[] }).items;
    assert.deepEqual(
      pod?.spec.containers.map(({ name }) => name),
      ['app', 'relay'],
    );
  });

  test("ssh: the app's own surroundings, exit statuses, terminals, and connections from inside", async () => {
    const guid = await guidOf('front');
    const path = '/oauth/authorize?client_id=ssh-proxy&response_type=code';
    const nobody = await ask('uaa', path, { headers: { authorization: 'bearer none' } });
    assert.deepEqual([nobody.status, JSON.parse(nobody.body).error], [401, 'invalid_token']);
    const client = await ssh(guid);
    const { out, code } = await command(client, 'echo $COLOR $(node --version) in $PWD; exit 3');
    assert.match(out, /^blue v\d+\.\S+ in \/workspace\n$/);
    assert.equal(code, 3);
    assert.match((await command(client, 'tty; stty size; echo $TERM', true)).out, /^\/dev\/\S+\r\n17 91\r\nvt100/);
    const channel = await new Promise<ClientChannel>((done, fail) =>
      client.forwardOut('127.0.0.1', 1, 'localhost', 9999, (error, opened) => (error ? fail(error) : done(opened))),
    );
    channel.write('GET / HTTP/1.0\r\n\r\n');
    assert.match(await text(channel), /sidecar blue$/);
    client.end();
    const { resources } = await api<{ resources: { type: string }[] }>(
      `/v3/audit_events?target_guids=${guid}&per_page=100`,
    );
    assert.ok(resources.some(({ type }) => type === 'audit.app.ssh-authorized'));
    await api(`/v3/apps/${guid}/features/ssh`, 'PATCH', { enabled: false });
    await assert.rejects(ssh(guid), /authentication methods failed/);
    await api(`/v3/apps/${guid}/features/ssh`, 'PATCH', { enabled: true });
  });

  test('our own client: a command with its status, a port of the app, a task', async () => {
    const ran = await platform.sampan('ssh', 'front', '-c', 'echo $COLOR; echo oops >&2; exit 4');
    assert.deepEqual([ran.code, ran.stdout, ran.stderr], [4, 'blue\n', 'oops\n']);
    assert.match((await platform.sampan('ssh', 'front', '-i', '7')).stderr, /not let into instance 7 of front/);
    assert.match((await platform.sampan('target', '-s', 'nowhere')).stderr, /There is no space "nowhere" in default/);
    assert.match(await platform.must('target', '-s', 'dev'), /^space: dev$/m);

    const forwarding = platform.start('ssh', 'front', '-N', '-L', '127.0.0.1:0:localhost:9999');
    const port = await until('the port', async () => /127\.0\.0\.1:(\d+) leads to/.exec(forwarding.output())?.[1]);
    assert.equal(await (await fetch(`http://127.0.0.1:${port}`)).text(), 'sidecar blue');
    assert.equal(await forwarding.stop(), 0);

    const task = ['run-task', 'front', '--command', 'echo $COLOR; exit 3', '--name', 'paint', '--wait'];
    assert.match((await platform.sampan(...task)).stderr, /The task paint failed: .*3/);
    await platform.must('run-task', 'front', '--command', 'sleep 600', '--name', 'rest');
    await platform.must('terminate-task', 'front', '2');
    await until('both to have failed', async () =>
      /rest +FAILED[^]*paint +FAILED/.test(await platform.must('tasks', 'front')),
    );
  });

  test('sftp and scp: files go into the app and come back, with the rights of its user', async () => {
    const user = `cf:${await guidOf('front')}/0`;
    const { ssh: port } = platform.instance.ports;
    const door = async () => ({ port, user, code: await sshCode(), directory: join(platform.directory, 'ssh-client') });
    const [sent, back] = ['sent', 'back'].map((name) => join(platform.directory, name)) as [string, string];
    writeFileSync(sent, Buffer.alloc(1_000_000, 'some of it'));
    const up = await scp([sent, ':/tmp/sent'], await door());
    assert.equal(up.code, 0, up.stderr);
    const both = await sftp([`get /tmp/sent ${back}`, 'ls -l server.js', `put ${sent} /etc/sent`], await door());
    assert.match(both.stderr, /\/etc\/sent.*Permission denied|Permission denied/);
    assert.match(both.stdout, /^-rw.* server\.js$/m);
    assert.deepEqual(readFileSync(back), readFileSync(sent));
  });

  test('an app reaches the router and names, and nothing else of the platform unless a group says so', async () => {
    const client = await ssh(await guidOf('front'));
    const { domain, ports, network } = platform.instance;
    const gateway = network.podCidr.replace(/\.0\/\d+$/, '.1');
    const { port } = listener.address() as AddressInfo;
    await until('the router to be reached by name', () => reaches(client, `front.${domain}`, ports.http));
    for (const closed of [port, ports.kubernetes]) {
      assert.equal(await reaches(client, gateway, closed), false, `port ${closed} of the host`);
    }
    const group = await api<{ guid: string }>('/v3/security_groups', 'POST', {
      name: 'host',
      rules: [{ protocol: 'tcp', destination: gateway, ports: String(port) }],
      globally_enabled: { running: true },
    });
    await until('the host to be reached', () => reaches(client, gateway, port));
    await api(`/v3/security_groups/${group.guid}`, 'PATCH', { globally_enabled: { running: false } });
    await until('the host to be closed again', async () => !(await reaches(client, gateway, port)));
    client.end();
  });

  test('instances reach each other where a policy says so, by an internal name', async () => {
    const guid = await guidOf('front');
    const { resources } = await api<{ resources: { guid: string }[] }>('/v3/domains?names=apps.internal');
    const { guid: route } = await api<{ guid: string }>('/v3/routes', 'POST', {
      host: 'me',
      relationships: {
        domain: { data: { guid: resources[0]?.guid } },
        space: { data: { guid: (await api<{ resources: { guid: string }[] }>('/v3/spaces')).resources[0]?.guid } },
      },
    });
    await api(`/v3/routes/${route}/destinations`, 'POST', { destinations: [{ app: { guid } }] });
    await platform.must('scale', 'front', '-i', '2');
    const addresses = await until('two instances', async () => {
      const stats = await api<{ resources: { state: string; ip: string }[] }>(`/v3/processes/${guid}/stats`);
      return stats.resources.every(({ state }) => state === 'RUNNING') && stats.resources.map(({ ip }) => ip);
    });
    const [own = '', other = ''] = addresses;
    const client = await ssh(guid);
    await until('the name of both', async () => {
      const { out } = await command(client, "getent ahostsv4 me.apps.internal | awk '/STREAM/ {print $1}' | sort");
      return out === `${[own, other].sort().join('\n')}\n`;
    });
    assert.equal(await reaches(client, other, 8080), false);
    const policies = [
      { source: { id: guid }, destination: { id: guid, protocol: 'tcp', ports: { start: 8080, end: 8080 } } },
    ];
    await api('/networking/v1/external/policies', 'POST', { policies });
    await until('the other instance', () => reaches(client, other, 8080));
    await api('/networking/v1/external/policies/delete', 'POST', { policies });
    await until('nobody', async () => !(await reaches(client, other, 8080)));
    client.end();
    await platform.must('scale', 'front', '-i', '1');
  });

  test('services of a broker by our own client, as cf has them', async () => {
    await using broker = await new TestBroker().listen();
    broker.catalog = catalogOf({}, [PLAN, { ...PLAN, id: 'big', name: 'big' }]);
    const login = [broker.username, broker.password, broker.url];
    await platform.must('create-service-broker', 'main', ...login);
    assert.match(await platform.must('service-brokers'), /main +http:/);
    assert.match((await platform.sampan('create-service', 'db', 'small', 'store')).stderr, /is not enabled in this/);
    await platform.must('enable-service-access', 'db');
    assert.match(await platform.must('marketplace'), /db +small +A small one +free +main/);
    await platform.must('create-service', 'db', 'small', 'store', '-c', '{"size":3}', '-t', 'one,two');
    assert.deepEqual([...broker.instances.values()][0]?.parameters, { size: 3 });
    await platform.must('bind-service', 'front', 'store');
    assert.match(await platform.must('services'), /store +db +small +front +create succeeded/);
    assert.match(await platform.must('env', 'front'), /bound-secret/);
    await platform.must('create-service-key', 'store', 'mine');
    assert.match(await platform.must('service-keys', 'store'), /mine +create succeeded/);
    assert.match(await platform.must('service-key', 'store', 'mine'), /bound-secret/);
    await platform.must('update-service', 'store', '-p', 'big');
    assert.match(await platform.must('services'), /store +db +big/);
    broker.isAsynchronous = true;
    await platform.must('update-service', 'store', '-c', '{"size":4}');
    await until('its words', async () =>
      /status: +update in progress\nmessage: +it is at it/.test(await platform.must('service', 'store')),
    );
    broker.finish();
    await until('it to be changed', async () => /update succeeded/.test(await platform.must('service', 'store')));
    broker.isAsynchronous = false;
    await platform.must('delete-service-key', 'store', 'mine', '-f');
    await platform.must('unbind-service', 'front', 'store');
    assert.equal(broker.bindings.size, 0);
    await platform.must('delete-service', 'store', '-f', '--wait');
    await platform.must('update-service-broker', 'main', ...login);
    await platform.must('disable-service-access', 'db');
    await platform.must('delete-service-broker', 'main', '-f');
    assert.doesNotMatch(await platform.must('service-brokers'), /main/);
  });

  test('why: a crash with its last lines', async () => {
    await platform.ask(platform.host('front'), { path: '/crash' });
    interface Why {
      summary: string;
      findings: { kind: string; message: string; lines?: string[] }[];
    }
    const seen = await until('the crash to be told', async () => {
      const why = await platform.mustJson<Why>('why', 'front');
      return why.findings.some(({ kind, lines }) => kind === 'crash' && lines?.includes('starting version one')) && why;
    });
    assert.equal(seen.findings[0]?.message, 'exited with status 70');
    assert.match(await platform.must('why', 'front'), /crash: exited with status 70\n +\| starting version one/);
    await until('it to run again', async () =>
      (await platform.must('why', 'front')).startsWith('front runs again. Last trouble at '),
    );
  });

  test('the stock cf: sidecars, ssh, groups and policies', { skip }, async () => {
    assert.match(await cf.must('app', 'front'), /sidecars: +relay/);
    assert.match(await cf.must('ssh', 'front', '-c', 'echo "$COLOR from $(hostname)"'), /^blue from /m);
    const failed = await cf.run(['ssh', 'front', '-c', 'echo oops >&2; exit 4']);
    assert.match(`${failed.stdout}${failed.stderr}`, /oops/);
    assert.notEqual(failed.code, 0);
    assert.match(await cf.must('ssh-code'), /^\S{20,}$/m);
    assert.match(await cf.must('ssh-enabled', 'front'), /ssh support is enabled/);
    await cf.must('disable-ssh', 'front');
    assert.match(await cf.must('ssh-enabled', 'front'), /ssh support is disabled/);
    assert.match(await cf.refused('ssh', 'front', '-c', 'true'), /Error opening SSH connection|unable to authenticate/);
    await cf.must('enable-ssh', 'front');
    await cf.must('disallow-space-ssh', 'dev');
    assert.match(await cf.must('space-ssh-allowed', 'dev'), /ssh support is disabled/);
    await cf.must('allow-space-ssh', 'dev');

    const rules = join(platform.directory, 'rules.json');
    writeApp(platform.directory, {
      'rules.json': JSON.stringify([{ protocol: 'tcp', destination: '198.51.100.7', ports: '5432' }]),
    });
    await cf.must('create-security-group', 'database', rules);
    await cf.must('bind-security-group', 'database', 'default', '--space', 'dev');
    assert.match(await cf.must('security-groups'), /database +default +dev +running/);
    assert.match(await cf.must('security-group', 'database'), /"destination": "198\.51\.100\.7"/);
    await cf.must('unbind-security-group', 'database', 'default', 'dev');
    await cf.must('bind-staging-security-group', 'database');
    assert.match(await cf.must('staging-security-groups'), /database/);
    await cf.must('unbind-staging-security-group', 'database');
    await cf.must('delete-security-group', 'database', '-f');
    assert.match(await cf.must('running-security-groups'), /public_networks[\s\S]*dns|dns[\s\S]*public_networks/);

    await cf.must('add-network-policy', 'front', 'front', '--protocol', 'tcp', '--port', '8080-8081');
    assert.match(await cf.must('network-policies'), /front +front +tcp +8080-8081/);
    await cf.must('remove-network-policy', 'front', 'front', '--protocol', 'tcp', '--port', '8080-8081');
    assert.doesNotMatch(await cf.must('network-policies'), /8080/);
  });
});
