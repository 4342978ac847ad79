/**
 * A database-backed app: the tour of `docs/guides/tour.md`, with our own commands and with the stock `cf`; then with `cf` made, bound, rotated, backed
 * up, restored, and removed, the platform killed in between.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import { postgresDatabases } from '#platform/postgres/resource.ts';
import { serviceInstances } from '#platform/resources/service-types.ts';
import { Cf, findCf, hostsShell } from '#testing/cf.ts';
import { assertShown, runSteps, stepsOf } from '#testing/guide.ts';
import { TestPlatform, until } from '#testing/platform.ts';

const program = findCf();
const skip = program === undefined && 'cf is not on the PATH';
const GUESTBOOK = join(import.meta.dirname, '..', 'examples', 'guestbook');
const NAMESPACE = 'sampan-postgres';

const TOUR = stepsOf(readFileSync(join(import.meta.dirname, '..', 'docs', 'guides', 'tour.md'), 'utf8'));

describe('PostgreSQL', { concurrency: 1 }, () => {
  const platform = new TestPlatform('pgcf');
  let cf: Cf;

  before(async () => {
    await platform.must('up');
    if (program === undefined) return;
    cf = new Cf(platform, program, 'admin');
    await cf.login('admin', readFileSync(join(platform.dataDirectory, 'admin-password'), 'utf8').trim());
    await cf.must('target', '-o', 'default', '-s', 'dev');
  });
  after(() => platform.purge());

  /** The tour's commands with this `cf`; what each of them said. */
  async function tour(name: string, cfWords: string[]): Promise<string[]> {
    const { domain, ports } = platform.instance;
    const home = join(platform.directory, name);
    mkdirSync(home, { recursive: true });
    const quoted = cfWords.map((word) => `'${word}'`).join(' ');
    writeFileSync(join(home, 'cf'), `#!/bin/sh\nexec ${quoted} "$@"\n`, { mode: 0o755 });
    return await runSteps(TOUR, {
      shell: hostsShell(platform, join(home, 'hosts'), ['guestbook']),
      env: {
        ...Object.fromEntries(Object.entries(platform.environment).filter(([name]) => name.startsWith('SAMPAN_'))),
        PATH: `${home}:${process.env['PATH']}`,
        HOME: home,
        CF_COLOR: 'false',
        LANG: 'C.UTF-8',
      },
      adapt: (command) =>
        command
          .replaceAll(/(https:\/\/[a-z]+)\.sampan\.localhost/g, `$1.${domain}:${ports.https}`)
          .replaceAll('/var/lib/sampan', platform.dataDirectory)
          .replaceAll('examples/', `${join(GUESTBOOK, '..')}/`),
    });
  }

  const plain = (text: string): string => {
    const { domain, ports } = platform.instance;
    return text.replaceAll(`:${ports.https}`, '').replaceAll(domain, 'sampan.localhost');
  };

  test('the tour of the guide with our own commands, to the same answers', async () => {
    assertShown(TOUR, await tour('own', platform.command()), { plain, of: /^curl/ });
  });

  test('the tour of the guide with the stock cf, which says what the guide shows', { skip }, async () => {
    assertShown(TOUR, await tour('stock', [program ?? '']), { plain });
  });

  describe('with the stock cf client', { concurrency: 1, skip }, () => {
    const host = () => platform.host('guestbook');
    const write = async (name: string) => {
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      const answer = await platform.ask(host(), { method: 'POST', headers, body: `name=${name}&words=hello` });
      assert.equal(answer.status, 303, answer.body);
    };
    const reads = async (name: string) => (await platform.ask(host())).body.includes(`<b>${name}</b>`);
    const pod = async () => (await platform.mustKubectl('get', 'pods', '-n', NAMESPACE, '-o', 'name')).trim();
    const sql = async (script: string) =>
      (
        await platform.mustKubectl(
          'exec',
          '-n',
          NAMESPACE,
          await pod(),
          '--',
          'psql',
          '-U',
          'postgres',
          '-Atc',
          script,
          'app',
        )
      ).trim();
    const parameters = async () =>
      JSON.parse((await cf.must('service', 'guestbook-db', '--params')).replace(/^[^{]*/, '')) as {
        state: string;
        backups: { id: string }[];
      };
    const killPlatform = () =>
      process.kill(Number(readFileSync(join(platform.instance.runDirectory, 'platform.pid'), 'utf8')), 'SIGKILL');

    test('it is in the marketplace, and is made', async () => {
      await until('it is offered', async () => /postgres +small, medium, large/.test(await cf.must('marketplace')));
      await cf.must('create-service', 'postgres', 'small', 'guestbook-db', '--wait');
      assert.match(await cf.must('service', 'guestbook-db'), /create succeeded/);
      assert.equal((await parameters()).state, 'ready');
    });

    test('an app finds it in VCAP_SERVICES', async () => {
      await cf.must('push', '-f', join(GUESTBOOK, 'manifest.yml'), '-p', GUESTBOOK);
      assert.match(await cf.must('env', 'guestbook'), /"uri": "postgresql:\/\/b_[0-9a-f]{20}:.*sslmode=require"/);
      await write('Ann');
      assert.ok(await reads('Ann'));
    });

    test('the platform is killed while a backup is taken, and it is taken all the same', async () => {
      await sql(`CREATE TABLE ballast AS SELECT md5(n::text) FROM generate_series(1, 400000) AS n`);
      await cf.must('update-service', 'guestbook-db', '-c', '{"backup": true}');
      killPlatform();
      await platform.must('up');
      await until('the platform is back', async () => (await cf.run(['services'])).code === 0, 120);
      await until('the backup', async () => /update succeeded/.test(await cf.must('service', 'guestbook-db')), 300);
      assert.equal((await parameters()).backups.length, 1);
      assert.ok(await reads('Ann'));
    });

    test('what is lost comes back', async () => {
      await sql('DELETE FROM entries');
      assert.equal(await reads('Ann'), false);
      await cf.must('update-service', 'guestbook-db', '-c', '{"restore": "latest"}', '--wait');
      await until('it is read again', () => reads('Ann'), 60);
    });

    test('rotation: another login, the same rows', async () => {
      const role = () => sql(`SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolname LIKE 'b\\_%'`);
      const before = await role();
      await cf.must('unbind-service', 'guestbook', 'guestbook-db', '--wait');
      assert.equal(await role(), '');
      await cf.must('bind-service', 'guestbook', 'guestbook-db', '--wait');
      await cf.must('restart', 'guestbook');
      assert.notEqual(await role(), before);
      assert.ok(await reads('Ann'));
      await write('Ben');
    });

    test('a database of an older release is upgraded when somebody says so, and has what it had', async () => {
      const { dataDirectory, instance } = platform;
      const pki = (file: string): string => readFileSync(join(dataDirectory, 'pki', file), 'utf8');
      const url = `https://127.0.0.1:${instance.ports.kubernetes}`;
      const transport = httpsTransport({
        url,
        ca: pki('ca.crt'),
        certificate: pki('admin.crt'),
        key: pki('admin.key'),
      });
      const client = createClient(transport);
      // As an older release has left it.
      const [database] = (await client.list(postgresDatabases, { namespace: NAMESPACE })).items;
      assert.ok(database);
      const version = `${Number.parseInt(database.spec.version, 10)}.0.0+000000000000`;
      const status = { subresource: 'status' as const };
      const { name } = database.metadata;
      const at = { namespace: NAMESPACE };
      await client.patch(postgresDatabases, name, { type: 'merge', body: { spec: { version } } }, at);
      await client.patch(
        postgresDatabases,
        name,
        { type: 'merge', body: { status: { version } } },
        { ...at, ...status },
      );
      const [service] = (await client.list(serviceInstances)).items;
      assert.ok(service);
      const body = { status: { maintenanceVersion: version } };
      const there = { namespace: service.metadata.namespace ?? '' };
      await client.patch(serviceInstances, service.metadata.name, { type: 'merge', body }, { ...there, ...status });
      transport.close();
      await until('it can be upgraded', async () =>
        /upgrade is available/i.test(await cf.must('service', 'guestbook-db')),
      );
      await cf.must('upgrade-service', 'guestbook-db', '-f', '--wait');
      assert.doesNotMatch(await cf.must('service', 'guestbook-db'), /upgrade is available/i);
      assert.ok(await reads('Ann'));
    });

    test('a key is a login of its own', async () => {
      await cf.must('create-service-key', 'guestbook-db', 'mine', '--wait');
      assert.match(await cf.must('service-key', 'guestbook-db', 'mine'), /"username": "b_[0-9a-f]{20}"/);
      await cf.must('delete-service-key', 'guestbook-db', 'mine', '-f', '--wait');
    });

    test('wrong wishes are refused in words', async () => {
      assert.match(
        await cf.refused('update-service', 'guestbook-db', '-c', '{"restore": "never"}', '--wait'),
        /There is no backup/,
      );
      assert.match(
        await cf.refused('update-service', 'guestbook-db', '-c', '{"size": 7}', '--wait'),
        /Unknown parameter/,
      );
      assert.ok(await reads('Ben'));
    });

    test('deleted, nothing is left but the service itself', async () => {
      await cf.must('delete', 'guestbook', '-f', '-r');
      await cf.must('delete-service', 'guestbook-db', '-f', '--wait');
      assert.equal(
        await platform.mustKubectl('get', 'pods,pvc,statefulsets,postgresdatabases', '-n', NAMESPACE, '-o', 'name'),
        '',
      );
      const names = await platform.mustKubectl('get', 'secrets', '-n', NAMESPACE, '-o', 'name');
      assert.deepEqual(names.trim().split('\n').sort(), ['secret/broker-login', 'secret/postgres-authority']);
    });
  });
});
