/** The everyday commands of the stock `cf` client, against a whole platform. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { catalogOf, PLAN, TestBroker } from '#platform/services/broker.fixture.ts';
import { Cf, findCf } from '#testing/cf.ts';
import { cloudNative, textsOf } from '#testing/custom-buildpacks-suite.ts';
import { TestPlatform, until } from '#testing/platform.ts';
import { ECHO, ROUTE_SERVICE, talkativeApp, writeApp } from '#testing/sample-apps.ts';

const program = findCf();
const skip = program === undefined && 'cf is not on the PATH';

describe('the stock cf client', { concurrency: 1, skip }, () => {
  let platform: TestPlatform;
  let admin: Cf;
  let source: string;

  before(async () => {
    platform = new TestPlatform('cf');
    await platform.must('up', '--allow-outbound', '127.0.0.1/32');
    admin = new Cf(platform, program ?? '', 'admin');
    await admin.login('admin', readFileSync(join(platform.dataDirectory, 'admin-password'), 'utf8').trim());
    await admin.must('target', '-o', 'default', '-s', 'dev');
    source = writeApp(join(platform.directory, 'app'), talkativeApp('one'));
  });
  after(() => platform.purge());

  const answers = () => platform.ask(platform.host('shop'));

  /** Everything that comes at a TCP port after something was said to it. */
  async function said(port: number, text: string): Promise<string> {
    const socket = connect(port, '127.0.0.1').on('error', () => socket.destroy());
    socket.end(text);
    let heard = '';
    socket.on('data', (chunk: Buffer) => (heard += String(chunk)));
    await new Promise((resolve) => socket.once('close', resolve));
    return heard;
  }

  /** The guid of the only one that there is. */
  async function routeBy(query: string): Promise<string> {
    const list = JSON.parse(await admin.must('curl', `/v3/routes?${query}`)) as { resources: { guid: string }[] };
    assert.equal(list.resources.length, 1);
    return list.resources[0]?.guid ?? '';
  }

  const setDestinations = async (route: string, destinations: unknown[]) =>
    admin.must('curl', '-X', 'PATCH', `/v3/routes/${route}/destinations`, '-d', JSON.stringify({ destinations }));

  const guidOf = async (app: string) => (await admin.must('app', app, '--guid')).trim();

  test('push, app, logs, scale', async () => {
    await admin.must('push', 'shop', '-p', source, '-m', '128M', '-l', '16K');
    assert.equal((await answers()).status, 200);
    assert.match(await admin.must('apps'), /shop +started +web:1\/1 +shop\./);
    assert.match(await admin.must('app', 'shop'), /#0 +running/);
    assert.match(await admin.must('logs', 'shop', '--recent'), /\[APP\/PROC\/WEB\/0\] OUT starting version one/);
    assert.match(await admin.must('app', 'shop'), /#0 +running .* of 128M .* of 16K\/s/);
    await platform.ask(platform.host('shop'), { path: '/log?count=3000&tag=flood' });
    await until('the word that it was too much', async () =>
      /\[APP\/PROC\/WEB\/0\] OUT app instance exceeded log rate limit \(16384 bytes\/sec\)/.test(
        await admin.must('logs', 'shop', '--recent'),
      ),
    );
    await admin.must('scale', 'shop', '-i', '2');
    await until('two instances', async () => /#1 +running/.test(await admin.must('app', 'shop')));
  });

  test('isolation segments: an app of the space runs on their nodes from its next start on', async () => {
    const label = 'node-restriction.kubernetes.io/isolation-segment';
    const node = platform.instance.nodeName;
    for (const words of [
      ['create-isolation-segment', 'gold'],
      ['enable-org-isolation', 'default', 'gold'],
      ['set-space-isolation-segment', 'dev', 'gold'],
    ])
      await admin.must(...words);
    assert.match(await admin.must('isolation-segments'), /gold +default/);
    assert.match(await admin.must('space', 'dev'), /isolation segment: +gold/);
    await platform.mustKubectl('label', 'node', node, `${label}=gold`);
    await platform.mustKubectl('taint', 'node', node, `${label}=gold:NoSchedule`);
    await admin.must('restart', 'shop');
    assert.match(await admin.must('app', 'shop'), /isolation segment: +gold/);
    await platform.mustKubectl('taint', 'node', node, `${label}-`);
    await admin.must('reset-space-isolation-segment', 'dev');
    await admin.must('restart', 'shop');
    assert.doesNotMatch(await admin.must('app', 'shop'), /isolation segment: +gold/);
    await admin.must('disable-org-isolation', 'default', 'gold');
    await admin.must('delete-isolation-segment', 'gold', '-f');
    await platform.mustKubectl('label', 'node', node, `${label}-`);
  });

  test('a new version, rolling; revisions and the way back; the environment', async () => {
    writeApp(source, talkativeApp('two'));
    await admin.must('push', 'shop', '-p', source, '-m', '128M', '--strategy', 'rolling');
    const version = async () => (JSON.parse((await answers()).body) as { version: string }).version;
    assert.equal(await version(), 'two');
    assert.match(await admin.must('revisions', 'shop'), /2\(deployed\)/);
    await admin.must('rollback', 'shop', '--version', '1', '-f');
    assert.equal(await version(), 'one');
    await admin.must('set-env', 'shop', 'COLOR', 'red');
    assert.match(await admin.must('env', 'shop'), /COLOR: +red/);
    await admin.must('push', 'shop', '-p', source, '-m', '128M', '--strategy', 'canary', '--no-wait');
    await until('the canary beside what serves', async () => {
      const shown = await admin.must('app', 'shop');
      return /PAUSED/.test(shown) && shown.match(/^type: +web$/gm)?.length === 2 && /^instances: +1\/1$/m.test(shown);
    });
    await admin.must('continue-deployment', 'shop');
    await until('the new version alone', async () => !/deployment/i.test(await admin.must('app', 'shop')), 60);
    assert.equal(await version(), 'two');
    assert.match(await admin.must('events', 'shop'), /audit\.app\.revision|audit\.app\.deployment/);
  });

  test('a droplet is downloaded, pushed as another app without a build, and set; sources are copied', async () => {
    const file = join(platform.directory, 'droplet.tgz');
    await admin.must('download-droplet', 'shop', '--path', file);
    await admin.must('push', 'outlet', '--droplet', file, '-m', '128M');
    const there = await platform.ask(platform.host('outlet'));
    assert.equal((JSON.parse(there.body) as { version: string }).version, 'two');
    await admin.must('copy-source', 'shop', 'outlet', '--no-restart');
    const guid = /(\S+) +ready/.exec(await admin.must('packages', 'outlet'))?.[1] ?? '';
    await admin.must('stage-package', 'outlet', '--package-guid', guid);
    const staged = /^(\S{36}) +staged/m.exec(await admin.must('droplets', 'outlet'))?.[1] ?? '';
    await admin.must('set-droplet', 'outlet', staged);
    assert.match(await admin.must('droplets', 'outlet'), new RegExp(`${staged} \\(current\\)`));
    await admin.must('delete', 'outlet', '-f', '-r');
  });

  test('run-task: its lines are in the logs, what it came to in the list', async () => {
    await admin.must('run-task', 'shop', '--command', 'echo from a task in $HOME; exit 3', '--name', 'migrate');
    await until('the task to end', async () => /migrate +FAILED/.test(await admin.must('tasks', 'shop')));
    await until('its line', async () =>
      /\[APP\/TASK\/migrate\/0\] OUT from a task in \//.test(await admin.must('logs', 'shop', '--recent')),
    );
  });

  test('a buildpack is brought, found by detection, turned off, renamed and deleted', async () => {
    const buildpack = writeApp(join(platform.directory, 'own-buildpack'), textsOf(cloudNative()));
    const echo = writeApp(join(platform.directory, 'echo'), { 'echo.txt': 'an echo' });
    await admin.must('create-buildpack', 'own', buildpack, '1');
    assert.match(await admin.must('buildpacks'), /^1 +own .*\.zip/m);
    await admin.must('push', 'echo', '-p', echo, '-m', '64M');
    assert.equal((await platform.ask(platform.host('echo'))).body, 'an echo\n');
    assert.match(await admin.must('app', 'echo'), /1\.2\.3 +test\/echo/);
    await admin.must('update-buildpack', 'own', '--position', '3', '--disable', '--rename', 'mine');
    assert.match(await admin.must('buildpacks'), /^3 +mine .*false/m);
    assert.match(await admin.refused('push', 'echo', '-p', echo, '-b', 'mine'), /must be an existing admin buildpack/);
    assert.match(await admin.refused('delete-buildpack', 'nodejs_buildpack', '-f'), /cannot be deleted: disable it/);
    await admin.must('delete-buildpack', 'mine', '-f');
    assert.doesNotMatch(await admin.must('buildpacks'), /mine/);
    await admin.must('delete', 'echo', '-f', '-r');
  });

  test('a service that runs elsewhere is bound, and told to the app', async () => {
    await admin.must('create-user-provided-service', 'db', '-p', '{"uri":"postgres://db.example.com"}');
    await admin.must('bind-service', 'shop', 'db');
    assert.match(await admin.must('services'), /db +user-provided +shop/);
    await admin.must('restart', 'shop', '--strategy', 'rolling');
    const said = await platform.ask(platform.host('shop'), { path: '/identity' });
    const { env } = JSON.parse(said.body) as { env: Record<string, string> };
    assert.match(env['VCAP_SERVICES'] ?? '', /"instance_name":"db".*"uri":"postgres:\/\/db\.example\.com"/);
    const feature = `/v3/apps/${await guidOf('shop')}/features/service-binding-k8s`;
    await admin.must('curl', '--fail', '-X', 'PATCH', feature, '-d', '{"enabled": true}');
    const reads = 'test "$(cat $SERVICE_BINDING_ROOT/db/uri)" = postgres://db.example.com && test -z "$VCAP_SERVICES"';
    await admin.must('run-task', 'shop', '--command', reads, '--name', 'files', '--wait');
    await admin.must('curl', '--fail', '-X', 'PATCH', feature, '-d', '{"enabled": false}');
    await admin.must('unbind-service', 'shop', 'db');
    await admin.must('delete-service', 'db', '-f');
    assert.match(await admin.must('services'), /No service instances found/);
  });

  test('a route service is asked before the app, until it is unbound', async () => {
    const { domain, ports } = platform.instance;
    const guard = writeApp(join(platform.directory, 'guard'), ROUTE_SERVICE);
    await admin.must('push', 'guard', '-p', guard, '-m', '64M');
    const url = `https://${platform.host('guard')}:${ports.https}/asked`;
    assert.match(await admin.refused('create-user-provided-service', 'door', '-r', 'http://x.test'), /must be https/);
    await admin.must('create-user-provided-service', 'door', '-r', url);
    const through = async () => (await platform.ask(platform.host('shop'), { path: '/identity' })).headers['x-through'];
    assert.equal(await through(), undefined);
    await admin.must('bind-route-service', domain, 'door', '--hostname', 'shop');
    await until('requests go through it', async () => (await through()) === 'guard /asked');
    assert.match(await admin.must('routes'), /shop .* shop +door/);
    assert.match(await admin.must('bind-route-service', domain, 'door', '--hostname', 'shop'), /already bound/);
    await admin.must('stop', 'guard');
    await until('nothing gets past it', async () => (await answers()).status === 503);
    await admin.must('unbind-route-service', domain, 'door', '--hostname', 'shop', '-f');
    await until('the app answers by itself', async () => (await answers()).status === 200 && !(await through()));
    assert.doesNotMatch(await admin.must('routes'), /door/);
    await admin.must('delete-service', 'door', '-f');

    await using broker = await new TestBroker().listen();
    broker.catalog = catalogOf({ name: 'walls', requires: ['route_forwarding'] });
    broker.bound = { route_service_url: url };
    await admin.must('start', 'guard');
    await admin.must('create-service-broker', 'walls', broker.username, broker.password, broker.url);
    await admin.must('enable-service-access', 'walls');
    await admin.must('create-service', 'walls', 'small', 'wall', '--wait');
    const route = [domain, 'wall', '--hostname', 'shop'];
    await admin.must('bind-route-service', ...route, '-c', '{"level":3}', '--wait');
    const { bind_resource: resource, parameters } = broker.of('PUT', '/service_bindings/')[0]?.body ?? {};
    assert.deepEqual([resource, parameters], [{ route: platform.host('shop') }, { level: 3 }]);
    await until('requests go through it', async () => (await through()) === 'guard /asked');
    await admin.must('unbind-route-service', ...route, '-f', '--wait');
    await until('the app answers by itself', async () => (await answers()).status === 200 && !(await through()));
    await admin.must('delete-service', 'wall', '-f', '--wait');
    await admin.must('delete-service-broker', 'walls', '-f');
    await admin.must('delete', 'guard', '-f', '-r');
  });

  test('services of a broker: registered, opened, made, bound, keyed, updated, upgraded and taken away', async () => {
    await using broker = await new TestBroker().listen();
    const version = (number: string) => catalogOf({}, [{ ...PLAN, maintenance_info: { version: number } }]);
    broker.catalog = version('1.0.0');
    const login = [broker.username, broker.password];
    // An app is reached through the router: this one is no broker, and says so.
    const { domain, ports } = platform.instance;
    const nobody = `https://${platform.host('shop')}:${ports.https}`;
    assert.ok(nobody.includes(domain));
    assert.match(
      await admin.refused('create-service-broker', 'nobody', ...login, nobody),
      /catalog|invalid|Status Code/,
    );
    await admin.must('delete-service-broker', 'nobody', '-f');
    assert.match(
      await admin.refused('create-service-broker', 'far', ...login, `https://127.0.0.2:${ports.https}`),
      /may not be reached from here/,
    );
    await admin.must('delete-service-broker', 'far', '-f');
    await admin.must('create-service-broker', 'main', ...login, broker.url);
    assert.match(await admin.must('service-brokers'), /main +http:/);
    assert.match(await admin.must('service-access'), /db +small +none/);
    await admin.must('enable-service-access', 'db', '-p', 'small', '-o', 'default');
    assert.match(await admin.must('service-access'), /db +small +limited +default/);
    await admin.must('disable-service-access', 'db');
    await admin.must('enable-service-access', 'db');
    assert.match(await admin.must('marketplace'), /db +small +Databases +main/);
    assert.match(await admin.must('marketplace', '-e', 'db'), /small +A small one +free/);
    await admin.must('create-service', 'db', 'small', 'store', '-c', '{"size":3}', '-t', 'mine');
    assert.match(await admin.must('services'), /store +db +small +create succeeded +main +no/);
    assert.match(await admin.must('service', 'store', '--params'), /"size": 3/);
    await admin.must('bind-service', 'shop', 'store', '--binding-name', 'main');
    assert.match(await admin.must('services'), /store +db +small +shop +create succeeded/);
    await admin.must('create-service-key', 'store', 'laptop');
    assert.match(await admin.must('service-key', 'store', 'laptop'), /bound-secret/);
    assert.match(await admin.must('env', 'shop'), /"binding_name": "main"[\s\S]*bound-secret/);
    await admin.must('update-service', 'store', '-c', '{"size":4}');
    broker.catalog = version('2.0.0');
    await admin.must('update-service-broker', 'main', ...login, broker.url);
    assert.match(await admin.must('service', 'store'), /There is an upgrade available/);
    await admin.must('upgrade-service', 'store', '-f');
    broker.isAsynchronous = true;
    assert.match(await admin.must('create-service', 'db', 'small', 'slow'), /in progress/);
    assert.match(await admin.must('service', 'slow'), /create in progress|status: +create in progress/);
    broker.finish();
    await until('it to be made', async () => /create succeeded/.test(await admin.must('service', 'slow')));
    broker.isAsynchronous = false;
    await admin.must('unbind-service', 'shop', 'store');
    await admin.must('delete-service-key', 'store', 'laptop', '-f');
    await admin.must('delete-service', 'store', '-f', '--wait');
    assert.equal(broker.bindings.size, 0);
    await admin.must('purge-service-instance', 'slow', '-f');
    assert.match(await admin.must('services'), /No service instances found/);
    await admin.must('purge-service-offering', 'db', '-f');
    await admin.must('delete-service-broker', 'main', '-f');
    assert.doesNotMatch(await admin.must('service-brokers'), /^main /m);
  });

  test('users, roles and organizations: everybody has what they were given', async () => {
    await admin.must('create-user', 'bob', 'bobs password');
    await admin.must('create-org', 'other');
    const bob = new Cf(platform, program ?? '', 'bob');
    await bob.login('bob', 'bobs password');
    assert.match(await bob.must('orgs'), /No orgs found/);
    await admin.must('set-space-role', 'bob', 'default', 'dev', 'SpaceAuditor');
    assert.match(await bob.must('orgs'), /default/);
    assert.doesNotMatch(await bob.must('orgs'), /other/);
    await bob.must('target', '-o', 'default', '-s', 'dev');
    assert.match(await bob.must('apps'), /shop/);
    assert.match(await bob.refused('scale', 'shop', '-i', '3'), /You are not authorized/);
    assert.match(await bob.refused('create-user', 'eve', 'pw'), /not authorized|insufficient/i);
    await admin.must('delete-user', 'bob', '-f');
    assert.match(await bob.refused('auth', 'bob', 'bobs password'), /Credentials were rejected/);
  });

  test('quotas hold, and say which', async () => {
    await admin.must('create-space-quota', 'small', '-m', '512M');
    await admin.must('set-space-quota', 'dev', 'small');
    assert.match(await admin.refused('scale', 'shop', '-i', '9'), /quota "small" of space "dev" allows 512 MB/);
    await admin.must('unset-space-quota', 'dev', 'small');
    await admin.must('delete-space-quota', 'small', '-f');
  });

  test('routes: made, mapped, listed, unmapped and deleted', async () => {
    const { domain } = platform.instance;
    await admin.must('map-route', 'shop', domain, '--hostname', 'store', '--path', '/x');
    await until('the route', async () => (await platform.ask(`store.${domain}`, { path: '/x' })).status === 200);
    assert.match(await admin.must('routes'), /store +\S+ +\/x/);
    await admin.must('unmap-route', 'shop', domain, '--hostname', 'store', '--path', '/x');
    await admin.must('delete-orphaned-routes', '-f');
    assert.doesNotMatch(await admin.must('routes'), /store/);
  });

  test('TCP routes: a domain of the router group, ports asked for and any, the same app at several of its own', async () => {
    const { domain } = platform.instance;
    const tcp = `tcp.${domain}`;
    assert.match(await admin.must('router-groups'), /default-tcp +tcp/);
    const [group] = JSON.parse(await admin.must('curl', '/routing/v1/router_groups')) as { reservable_ports: string }[];
    const [first = 0, last = 0] = (group?.reservable_ports ?? '').split(/[-,]/).map(Number);
    assert.ok(first >= 1024 && last > first, String(group?.reservable_ports));
    await admin.must('create-shared-domain', tcp, '--router-group', 'default-tcp');
    assert.match(await admin.must('domains'), new RegExp(`${tcp} +shared +tcp`));
    await admin.must('map-route', 'shop', tcp, '--port', String(first));
    const [, any = '0'] = /:(\d+)/.exec(await admin.must('create-route', tcp)) ?? [];
    assert.match(await admin.must('routes'), new RegExp(`${tcp} +${first} +tcp +tcp +8080 +shop`));
    assert.match(await admin.refused('create-route', tcp, '--port', '80'), /Port '80' is not available/);
    await until('the port', async () => (await said(first, 'GET / HTTP/1.0\r\n\r\n')).startsWith('HTTP/1.1 200'));
    // The other port of the app is its own echo.
    await setDestinations(await routeBy(`ports=${any}`), [{ app: { guid: await guidOf('shop') }, port: ECHO }]);
    await until('the echo', async () => (await said(Number(any), 'hello')) === 'hello');
    await admin.must('create-space-quota', 'ports', '--reserved-route-ports', '2', '-r', '100');
    await admin.must('set-space-quota', 'dev', 'ports');
    assert.match(await admin.refused('create-route', tcp), /Reserved route ports quota exceeded for space 'dev'/);
    await admin.must('unset-space-quota', 'dev', 'ports');
    await admin.must('delete-shared-domain', tcp, '-f');
    await until('nobody', async () => (await said(first, 'GET / HTTP/1.0\r\n\r\n')) === '');
  });

  test('routes: HTTP/2 apps, options, and shares of two versions', async () => {
    const { domain } = platform.instance;
    await admin.must(
      'push',
      'canary',
      '-p',
      writeApp(join(platform.directory, 'canary'), talkativeApp('new')),
      '-m',
      '128M',
      '--no-route',
    );
    await admin.must('create-route', domain, '--hostname', 'mixed', '--option', 'loadbalancing=least-connection');
    assert.match(await admin.must('route', domain, '--hostname', 'mixed'), /loadbalancing=least-connection/);
    await admin.must('update-route', domain, '--hostname', 'mixed', '--remove-option', 'loadbalancing');
    await setDestinations(await routeBy('hosts=mixed'), [
      { app: { guid: await guidOf('shop') }, weight: 75 },
      { app: { guid: await guidOf('canary') }, weight: 25 },
    ]);
    const versions = async (count: number): Promise<Record<string, number>> => {
      const counts: Record<string, number> = {};
      for (let round = 0; round < count; round++) {
        const { body } = await platform.ask(`mixed.${domain}`);
        const { version } = JSON.parse(body) as { version: string };
        counts[version] = (counts[version] ?? 0) + 1;
      }
      return counts;
    };
    await until('both versions', async () => Object.keys(await versions(8).catch(() => ({}))).length === 2);
    const counts = await versions(40);
    assert.ok((counts['new'] ?? 0) >= 8 && (counts['new'] ?? 0) <= 12, JSON.stringify(counts));
    await admin.must('map-route', 'canary', domain, '--hostname', 'two', '--app-protocol', 'http2');
    assert.match(await admin.must('routes'), /two +\S+ +http +http2 +8080 +canary/);
    await admin.must('delete-route', domain, '--hostname', 'mixed', '-f');
    await admin.must('delete', 'canary', '-f', '-r');
  });

  test('create-app-manifest gives what push takes; delete leaves nothing', async () => {
    const manifest = join(platform.directory, 'manifest.yml');
    await admin.must('create-app-manifest', 'shop', '-p', manifest);
    assert.match(readFileSync(manifest, 'utf8'), /name: shop[\s\S]*COLOR: red/);
    await admin.must('delete', 'shop', '-f', '-r');
    assert.match(await admin.must('apps'), /No apps found/);
    assert.match(await admin.must('routes'), /No routes found/);
  });
});
