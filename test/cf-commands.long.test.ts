/**
 * Every command that the stock `cf` knows, run against a whole platform: `cf help -a` is the list, and one that nobody runs here fails
 * the test. Of each there is what it does, and how it fails: with a name that is not there, and for somebody who has no right.
 */
import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { TestBroker } from '#platform/services/broker.fixture.ts';
import { Cf, findCf } from '#testing/cf.ts';
import { usersOfADirectory, usersOfAnotherProvider } from '#testing/cf-origins-suite.ts';
import { changes, ofNobody, WRONG_USE } from '#testing/cf-refusals.ts';
import { CfScript } from '#testing/cf-script.ts';
import { servicesElsewhere, servicesOfBrokers } from '#testing/cf-services-suite.ts';
import { cloudNative, textsOf } from '#testing/custom-buildpacks-suite.ts';
import { TestPlatform, until } from '#testing/platform.ts';
import { talkativeApp, writeApp } from '#testing/sample-apps.ts';

const program = findCf();
const skip = program === undefined && 'cf is not on the PATH';

/** A plugin is a program that speaks Go's own protocol, which nothing here does. */
const ONLY_FAIL = ['install-plugin', 'uninstall-plugin'];

const { raw } = String;

describe('every command of the stock cf', { concurrency: 1, skip }, () => {
  const platform = new TestPlatform('cfall');
  const broker = new TestBroker();
  let cf: Cf;
  /** Who may look at the space, and no more. */
  let auditor: Cf;
  let script: CfScript;
  let password: string;
  let source: string;
  let domain: string;

  before(async () => {
    await platform.must('up', '--allow-outbound', '127.0.0.1/32');
    password = readFileSync(join(platform.dataDirectory, 'admin-password'), 'utf8').trim();
    ({ domain } = platform.instance);
    cf = new Cf(platform, program ?? '', 'admin');
    auditor = new Cf(platform, program ?? '', 'auditor');
    script = new CfScript(cf);
    source = writeApp(join(platform.directory, 'app'), talkativeApp('one'));
    await broker.listen();
  });
  after(async () => {
    await broker[Symbol.asyncDispose]();
    await platform.purge();
  });

  const run = (text: string) => script.run(text);
  const file = (name: string) => join(platform.directory, name);
  const runs = () =>
    until('its instance', async () => /#0 +running/.test(await cf.must('app', 'shop')), 120).then(() => undefined);

  test('login and targets', async () => {
    const api = `https://api.${domain}:${platform.instance.ports.https} --skip-ssl-validation`;
    await run(raw`
      ! target                            | No API endpoint set
      ! api https://127.0.0.1:1
      api ${api}
      api                                 | API endpoint: +https://api\.
      ! orgs                              | Not logged in
      ! auth admin wrong                  | Credentials were rejected
      ! login -u admin -p wrong           | Credentials were rejected
      ! oauth-token                       | Not logged in
      ! ssh-code                          | Not logged in
      ! logout now                        | unexpected argument
      auth admin ${password}
      login -u admin -p ${password} -o default -s dev | space: +dev
      target                              | org: +default$
      oauth-token                         | ^bearer \S+$
      ssh-code                            | ^\S+$
      curl /v3/info                       | "links"
      ! target -o nowhere                 | Organization 'nowhere' not found
      ! target -o default -s nowhere      | Space 'nowhere' not found
      ! curl --fail /v3/nothing           | .
      create-user ann long-enough-1
      set-space-role ann default dev SpaceAuditor
    `);
    await auditor.login('ann', 'long-enough-1');
    await auditor.must('target', '-o', 'default', '-s', 'dev');
  });

  test('a password is changed at a terminal, where the one before is asked for', async () => {
    const change = (old: string, fresh: string) =>
      auditor.converse('passwd', [
        [/Current Password/i, old],
        [/New Password/i, fresh],
        [/Verify Password/i, fresh],
      ]);
    assert.match((await change('something else', 'long-enough-2')).stdout, /incorrect[\s\S]*FAILED/i);
    script.failed.add('passwd');
    assert.match((await change('long-enough-1', 'long-enough-2')).stdout, /OK/);
    script.worked.add('passwd');
    await auditor.login('ann', 'long-enough-2');
    await auditor.must('target', '-o', 'default', '-s', 'dev');
  });

  test('the client itself: help, versions, configuration, plugins', async () => {
    const repository = createServer((request, response) => {
      const plugins = [{ name: 'one', description: 'a plugin', version: '1.0.0', binaries: [] }];
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ plugins }));
      request.resume();
    });
    await new Promise<void>((done) => repository.listen(0, '127.0.0.1', done));
    writeFileSync(file('no-plugin'), 'text', { mode: 0o755 });
    try {
      await run(raw`
        help push                         | Push a new app
        version                           | version
        config --locale en-US             | ^
        add-plugin-repo here http://127.0.0.1:${(repository.address() as AddressInfo).port} | added
        list-plugin-repos                 | ^here +http
        repo-plugins -r here              | ^one +1\.0\.0
        remove-plugin-repo here           | removed
        plugins                           | Listing installed plugins
        ! help nothing                    | is not a registered command
        ! config --locale nowhere
        ! add-plugin-repo away http://127.0.0.1:1
        ! repo-plugins -r here            | does not exist as an available plugin repo
        ! remove-plugin-repo here         | does not exist as a repo
        ! install-plugin ${file('no-plugin')} -f | not a valid cf CLI plugin binary
        ! uninstall-plugin nothing        | Plugin nothing does not exist
      `);
    } finally {
      repository.close();
    }
  });

  test('organizations, spaces and their quotas', async () => {
    await run(raw`
      create-org first
      orgs                                | ^first$
      rename-org first other
      org other                           | name: +other
      create-org-quota large -m 2G -r 20 -s 5 --allow-paid-service-plans
      org-quotas                          | ^large +2G +unlimited +20 +5 +allowed
      update-org-quota large -n huge -i 1G
      org-quota huge                      | instance memory: +1G
      set-org-quota other huge
      org other                           | quota: +huge
      create-space one -o other
      target -o other -s one              | space: +one
      rename-space one two
      spaces                              | ^two$
      space two                           | name: +two
      create-space-quota tight -m 512M -r 5
      space-quotas                        | ^tight +512M
      update-space-quota tight -n tighter
      space-quota tighter                 | total memory: +512M
      set-space-quota two tighter
      space two                           | quota: +tighter
      unset-space-quota two tighter
      delete-space-quota tighter -f
      space-ssh-allowed two               | ssh support is enabled in space 'two'
      disallow-space-ssh two
      space-ssh-allowed two               | ssh support is disabled in space 'two'
      allow-space-ssh two
      space-ssh-allowed two               | ssh support is enabled in space 'two'
      ! org nobody                        | Organization 'nobody' not found
      ! rename-org nobody x               | Organization 'nobody' not found
      ! rename-org other default          | already exists
      ! org-quota nobody                  | not found
      ! set-org-quota other nobody        | not found
      ! update-org-quota nobody -i 1G     | not found
      ! create-org-quota bad -m lots
      ! delete-org-quota huge -f
      ! space nobody                      | Space 'nobody' not found
      ! rename-space nobody x             | Space 'nobody' not found
      ! create-space x -o nobody          | Organization 'nobody' not found
      ! delete-space dev -o nobody -f     | Organization 'nobody' not found
      ! space-quota nobody                | not found
      ! set-space-quota two nobody        | not found
      ! unset-space-quota two nobody      | not found
      ! update-space-quota nobody -m 1G   | not found
      ! space-ssh-allowed nobody          | Space 'nobody' not found
      ! disallow-space-ssh nobody         | Space 'nobody' not found
      ! allow-space-ssh nobody            | Space 'nobody' not found
      space-quotas                        |! tighter
    `);
  });

  test('users, roles and domains', async () => {
    await run(raw`
      create-user bob long-enough-1
      set-org-role bob other OrgManager
      org-users other                     | ORG MANAGER\n +bob \(uaa\)
      org-users other -a                  | ORG USERS\n( +\S+ \(.*\)\n)* +bob
      unset-org-role bob other OrgManager
      set-space-role bob other two SpaceDeveloper
      space-users other two               | SPACE DEVELOPER\n( +.*\n)* +bob \(uaa\)
      unset-space-role bob other two SpaceDeveloper
      ! set-org-role bob nobody OrgManager           | Organization 'nobody' not found
      ! set-org-role nobody other OrgManager         | Invalid user
      ! unset-org-role bob nobody OrgManager         | Organization 'nobody' not found
      ! org-users nobody                             | Organization 'nobody' not found
      ! set-space-role bob other nobody SpaceAuditor | Space 'nobody' not found
      ! unset-space-role bob other nobody SpaceAuditor | Space 'nobody' not found
      ! space-users other nobody                     | Space 'nobody' not found
      org-users other                     |! ORG MANAGER\n +bob
      space-users other two               |! bob \(
      delete-user bob -f
      create-private-domain other shop.example.com
      domains                             | ^shop\.example\.com +private
      share-private-domain default shop.example.com
    `);
    const unshare = (name: string) => cf.converse(`unshare-private-domain default ${name}`, [[/Really unshare/, 'y']]);
    assert.match((await unshare('shop.example.com')).stdout, /OK/);
    script.worked.add('unshare-private-domain');
    assert.match((await unshare('nobody.example.com')).stdout, /not found[\s\S]*FAILED/);
    script.failed.add('unshare-private-domain');
    await run(raw`
      delete-private-domain shop.example.com -f
      create-shared-domain all.example.com
      domains                             | ^all\.example\.com +shared
      delete-shared-domain all.example.com -f
      router-groups                       | default-tcp +tcp
      ! create-private-domain nobody x.example.com   | Organization 'nobody' not found
      ! create-shared-domain ${domain}               | .
      ! create-shared-domain x.example.com --router-group nobody | Router group 'nobody' not found
      ! share-private-domain default nobody.example.com | not found
      domains                             |! example\.com
    `);
  });

  test('apps from source to instances', async () => {
    await run(raw`
      target -o default -s dev            | space: +dev
      create-app bare
      push shop -p ${source} -m 128M -k 256M | #0 +running
      apps                                | ^shop +started +web:1/1
      app shop                            | memory usage: +128M
      scale shop -m 160M -f               | #0 +running
      scale shop                          | memory usage: +160M
      rename shop store
      app store                           | name: +store
      rename store shop
      stop shop
      apps                                | ^shop +stopped
      start shop                          | #0 +running
      restart shop                        | #0 +running
      restage shop                        | #0 +running
      restart-app-instance shop 0
      packages shop                       | ready
      droplets shop                       | \(current\)
      events shop                         | audit\.app\.
      logs shop --recent                  | \[STG/0\]
      set-env shop COLOR 'red and blue'
      env shop                            | COLOR: +red and blue
      unset-env shop COLOR
      disable-ssh shop
      ssh-enabled shop                    | ssh support is disabled
      enable-ssh shop
      ssh-enabled shop                    | ssh support is enabled
      get-health-check shop               | ^web +port
      set-health-check shop http --endpoint /
      get-health-check shop               | ^web +http +/
      set-health-check shop port
      get-readiness-health-check shop     | ^web +process
      env shop                            |! COLOR
    `);
    await runs();
    await run(raw`
      ssh shop -c 'echo from $PORT'       | from 8080
      download-droplet shop -p ${file('droplet.tgz')}
    `);
    assert.ok(statSync(file('droplet.tgz')).size > 1000);
  });

  test('packages, droplets and manifests by hand', async () => {
    await run('copy-source shop bare --no-restart | .');
    const [, guid = ''] = /guid '(\S+)'/.exec(await run(`create-package bare -p ${source}`)) ?? [];
    assert.match(await cf.must('packages', 'bare'), new RegExp(`${guid} +ready`));
    const staged = await run(`stage-package bare --package-guid ${guid} | droplet guid`);
    const [, droplet = ''] = /droplet guid: +(\S+)/i.exec(staged) ?? [];
    await run(raw`
      set-droplet bare ${droplet}
      droplets bare                       | ${droplet} \(current\)
      create-app-manifest shop -p ${file('manifest.yml')}
      apply-manifest -f ${file('manifest.yml')}
    `);
    assert.match(readFileSync(file('manifest.yml'), 'utf8'), /name: shop/);
  });

  test('stacks: how far they may be used', async () => {
    await run(raw`
      stacks                              | ^sampan
      stack sampan                        | name: +sampan
      update-stack sampan --state deprecated --reason 'too old' | state: +DEPRECATED\nreason: +too old
      stack sampan                        | state: +DEPRECATED
    `);
    const warned = await cf.run(['restage', 'shop']);
    assert.match(`${warned.stdout}${warned.stderr}`, /WARNING: The stack 'sampan' is 'DEPRECATED'.* too old/);
    await run(raw`
      update-stack sampan --state disabled | state: +DISABLED
      ! restage shop                      | The stack 'sampan' is 'DISABLED' and cannot be used for staging
      update-stack sampan --state active  | state: +ACTIVE
      ! stack nobody                      | Stack 'nobody' not found
      ! update-stack nobody --state active | Stack 'nobody' not found
      ! update-stack sampan --state old   | Invalid state: old
    `);
  });

  const user = (name: string) => new Cf(platform, program ?? '', name);

  test('who is somebody at another provider logs in with the password from there, and has the roles they were given', () =>
    usersOfAnotherProvider({ platform, script, admin: cf, user: user('other') }));

  test('who is in a directory too', () => usersOfADirectory({ platform, script, admin: cf, user: user('directory') }));

  test('tasks', async () => {
    await run(raw`
      run-task shop --name brief -c 'sleep 1000' | task id: +1
      tasks shop                          | ^1 +brief +(PENDING|RUNNING)
      task shop 1                         | name: +brief
      terminate-task shop 1
      ! task shop 7
      ! terminate-task shop 7
    `);
    await until('the task to end', async () => /^1 +brief +FAILED/m.test(await cf.must('tasks', 'shop')), 60);
  });

  test('deployments and revisions', async () => {
    await run(raw`
      push shop -p ${source} --strategy canary | .
      app shop                            | deployment with status PAUSED
      continue-deployment shop            | #0 +running
      revisions shop                      | \(deployed\)
      revision shop --version 1           | revision: +1
      rollback shop --version 1 -f        | #0 +running
      push shop -p ${source} --strategy canary | .
      cancel-deployment shop
    `);
    await until('no deployment', async () => !/deployment/i.test(await cf.must('app', 'shop')), 60);
    await run(raw`
      ! continue-deployment shop          | No active deployment found
      ! cancel-deployment shop            | No active deployment found
      ! revision shop --version 99        | Revision '99' not found
      ! rollback shop --version 99 -f     | Revision '99' not found
    `);
    const guid = (await cf.must('app', 'shop', '--guid')).trim();
    const keep = (enabled: boolean) =>
      run(`curl -X PATCH /v3/apps/${guid}/features/revisions -d '{"enabled":${enabled}}' | enabled`);
    await keep(false);
    const said = await cf.run(['revisions', 'shop']);
    assert.match(`${said.stdout}${said.stderr}`, /Revisions for app 'shop' are disabled/);
    await keep(true);
  });

  test('routes, of one space and of several', async () => {
    const www = `${domain} --hostname www`;
    const none = `${domain} --hostname none`;
    const answers = async () => (await platform.ask(`www.${domain}`)).status === 200;
    await run(raw`
      create-space far
      ! share-route ${www} -s far         | not found
      create-route ${www}
      check-route ${www}                  | does exist
      map-route shop ${www}
      route ${www}                        | shop
    `);
    await until('the route', answers, 60);
    await run(raw`
      update-route ${www} --option loadbalancing=least-connection | .
      route ${www}                        | loadbalancing=least-connection
      update-destination shop ${www} --app-protocol http2
      routes                              | www .*http2
      update-destination shop ${www} --app-protocol http1
      ! share-route ${www} -s far         | Feature Disabled: route_sharing
      enable-feature-flag route_sharing
      share-route ${www} -s far
      target -s far                       | space: +far
      routes                              | www
      target -s dev                       | dev
      unshare-route ${www} -s far
      target -s far                       | space: +far
      routes                              |! www
      target -s dev                       | dev
      move-route ${www} -s far
      target -s far                       | space: +far
      routes                              | www .*shop
    `);
    await until('it leads where it led', answers);
    await run(raw`
      move-route ${www} -s dev
      target -s dev                       | dev
      unmap-route shop ${www}
      delete-orphaned-routes -f
      check-route ${www}                  | does not exist
      create-route ${domain} --hostname gone
      delete-route ${domain} --hostname gone -f
      check-route ${domain} --hostname gone | does not exist
      ! route ${none}                     | not found
      ! update-route ${none} --option loadbalancing=round-robin | not found
      ! unshare-route ${none} -s far      | not found
      ! move-route ${none} -s far         | not found
      ! unmap-route shop ${none}          | not found
      ! check-route nobody.example.com    | not found
      ! create-route nobody.example.com   | not found
      ! create-route ${domain} --hostname api | reserved
    `);
  });

  test('network policies and security groups', async () => {
    const rules = '[{"protocol":"tcp","destination":"192.0.2.0/24","ports":"443","log":true}]';
    writeFileSync(file('rules.json'), rules);
    writeFileSync(file('bad-rules.json'), '[{"protocol":"tcp"}]');
    await run(raw`
      add-network-policy shop bare --protocol tcp --port 8080
      network-policies                    | ^shop +bare +tcp +8080
      remove-network-policy shop bare --protocol tcp --port 8080
      create-security-group far ${file('rules.json')}
      security-groups                     | ^ *(#\d+ +)?far
      security-group far                  | 192\.0\.2\.0/24
      update-security-group far ${file('rules.json')}
      bind-security-group far default --space dev
      space dev --security-group-rules    | far +192\.0\.2\.0/24
      unbind-security-group far default dev
      bind-running-security-group far
      running-security-groups             | ^far$
      unbind-running-security-group far
      bind-staging-security-group far
      staging-security-groups             | ^far$
      unbind-staging-security-group far
      ! create-security-group bad ${file('bad-rules.json')} | Rules\[0\]: destination must
      ! security-group nobody             | Security group 'nobody' not found
      ! update-security-group nobody ${file('rules.json')} | Security group 'nobody' not found
      ! bind-security-group nobody default | Security group 'nobody' not found
      ! unbind-security-group nobody default dev | Security group 'nobody' not found
      ! bind-running-security-group nobody | Security group 'nobody' not found
      ! bind-staging-security-group nobody | Security group 'nobody' not found
      delete-security-group far -f
      network-policies                    |! bare
      security-groups                     |! \bfar\b
    `);
  });

  test('buildpacks', async () => {
    const directory = writeApp(file('own-buildpack'), textsOf(cloudNative()));
    await run(raw`
      create-buildpack own ${directory} 1
      buildpacks                          | ^1 +own
      update-buildpack own --disable
      buildpacks                          | ^1 +own .*false
      delete-buildpack own -f
      ! create-buildpack x ${file('nothing')} 1 | does not exist
      ! update-buildpack nobody --disable | not found
      ! delete-buildpack nodejs_buildpack -f | cannot be deleted
      buildpacks                          |! own
    `);
  });

  test('services that run elsewhere', () => servicesElsewhere(script, domain));

  test('services of brokers', () => servicesOfBrokers(script, broker));

  test('variables of everybody, isolation segments, feature flags', async () => {
    await run(raw`
      set-running-environment-variable-group '{"ALL":"yes"}'
      set-staging-environment-variable-group '{"BUILD":"yes"}'
      running-environment-variable-group  | ALL +yes
      staging-environment-variable-group  | BUILD +yes
      create-isolation-segment gold
      isolation-segments                  | ^gold
      enable-org-isolation other gold
      isolation-segments                  | ^gold +other
      set-org-default-isolation-segment other gold
      org other                           | isolation segments: +.*gold \(default\)
      reset-org-default-isolation-segment other
      target -o other -s two              | space: +two
      set-space-isolation-segment two gold
      space two                           | isolation segment: +gold
      reset-space-isolation-segment two
      disable-org-isolation other gold
      delete-isolation-segment gold -f
      target -o default -s dev            | space: +dev
      feature-flags                       | ^diego_docker +enabled
      disable-feature-flag diego_docker
      feature-flag diego_docker           | disabled
      enable-feature-flag diego_docker
      ! set-running-environment-variable-group [
      ! set-staging-environment-variable-group [
      ! enable-org-isolation other nobody | Isolation segment 'nobody' not found
      ! disable-org-isolation other nobody | Isolation segment 'nobody' not found
      ! set-org-default-isolation-segment other nobody | Isolation segment 'nobody' not found
      ! set-space-isolation-segment dev nobody | Isolation segment 'nobody' not found
      ! reset-org-default-isolation-segment nobody | Organization 'nobody' not found
      ! reset-space-isolation-segment nobody | Space 'nobody' not found
      ! feature-flag nobody               | not found
      ! enable-feature-flag nobody        | not found
      ! disable-feature-flag nobody       | not found
    `);
  });

  test('labels of everything', async () => {
    const route = `route shop.${domain}`;
    for (const what of ['app shop', 'space dev', 'org default', 'stack sampan', `domain ${domain}`, route]) {
      await run(raw`
        set-label ${what} tier=gold
        labels ${what}                    | tier +gold
        unset-label ${what} tier
        labels ${what}                    |! tier
      `);
    }
    await run(raw`
      ! set-label app nobody a=b          | App 'nobody' not found
      ! unset-label app nobody a          | App 'nobody' not found
      ! labels app nobody                 | App 'nobody' not found
    `);
  });

  test('an app that is not there', async () => {
    for (const line of ofNobody({ domain, source })) await run(`! ${line} | App 'nobody' not found`);
    await run(raw`
      ! push shop -p ${file('nothing')}
      ! apply-manifest -f ${file('nothing')}
    `);
  });

  test('who has no right to is told so', async () => {
    const refusal = 'not authorized|insufficient_scope|not found|does not exist';
    for (const line of changes({ domain, source, rules: file('rules.json') })) {
      await script.run(`! ${line} | ${refusal}`, auditor);
    }
    await run('app shop | #0 +running');
    for (const line of WRONG_USE) await run(`! ${line} | Incorrect Usage`);
  });

  test('the end, and nothing of the list is left out', async () => {
    await run(raw`
      delete bare -f -r
      delete shop -f -r
      apps                                | No apps found
      delete-space far -f
      delete-org other -f
      delete-org-quota huge -f
      logout
      ! apps                              | Not logged in
    `);
    const help = await cf.must('help', '-a');
    const [begin, end] = [help.indexOf('GETTING STARTED'), help.indexOf('INSTALLED PLUGIN COMMANDS')];
    const commands = [...help.slice(begin, end).matchAll(/^ {3}([a-z][a-z-]+) /gm)].map(([, name = '']) => name);
    assert.ok(begin > 0 && end > begin && commands.length > 150, help);
    const unseen = (seen: Set<string>) => commands.filter((name) => !seen.has(name));
    assert.deepEqual(unseen(script.worked), ONLY_FAIL);
    assert.deepEqual(unseen(script.failed), []);
  });
});
