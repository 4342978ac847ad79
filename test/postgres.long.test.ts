/**
 * A database-backed app: the tour of `docs/guides/tour.md`, with our own commands and with the stock `cf`; then with `cf` made, bound, rotated, backed
 * up, restored, and removed, the platform killed in between.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { connect as secured } from 'node:tls';
import { after, before, describe, test } from 'node:test';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import { freePort } from '#lib/ports.ts';
import { databaseName, postgresDatabases } from '#platform/postgres/resource.ts';
import { serviceInstances } from '#platform/resources/service-types.ts';
import { Cf, findCf, hostsShell } from '#testing/cf.ts';
import { stepsOf, type Typist, typeSteps } from '#testing/guide.ts';
import { TestPlatform, until } from '#testing/platform.ts';

const program = findCf();
const skip = program === undefined && 'cf is not on the PATH';
const GUESTBOOK = join(import.meta.dirname, '..', 'examples', 'guestbook');
const NAMESPACE = 'sampan-postgres';

const TOUR = stepsOf(readFileSync(join(import.meta.dirname, '..', 'docs', 'guides', 'tour.md'), 'utf8'));

/** What our own client says to the tour's commands: less, in words of its own. By how they begin; the longest counts. */
const OWN_WORDS: Record<string, RegExp[]> = {
  'cf login': [/^You are admin at https:\/\/api\.sampan\.localhost\.$/, /^org: +default$/, /^space: +dev$/],
  'cf push hello': [/^Pushing app hello to org default \/ space dev/, /Node\.js/, /^type: +web$/, /^instances: +1\/1$/],
  'cf logs hello': [/\[STG\/0\] OUT Staging complete$/, /\[APP\/PROC\/WEB\/0\] OUT listening on port 8080$/],
  'cf scale hello': [/^name: +hello$/, /^instances: +\d\/3$/],
  'cf app hello': [/^instances: +3\/3$/, /^#2 +running/],
  'cf marketplace': [/^postgres +small +256 MB of memory, .* free +postgres$/],
  'cf create-service': [/^guestbook-db is there\.$/],
  'cf service guestbook-db': [/^status: +create succeeded$/, /^message: +PostgreSQL \d/],
  'cf push': [/^Pushing app guestbook to/, /-----> Dependencies \(npm/, /^instances: +1\/1$/],
  'cf services': [/^name +offering/],
  'cf run-task': [/^The task count of guestbook is number 1\./, /^The task count is done\.$/],
  'cf logs guestbook': [/\[APP\/TASK\/count\/0\] OUT entries: 1, people: 1$/],
  'cf tasks': [/^1 +count +SUCCEEDED .* node count\.js$/],
  'cf ssh guestbook -c "ls': [/^count\.js$/, /^database\.js$/, /^page\.js$/, /^server\.js$/],
  'cf ssh guestbook -c "node': [/^\[ 'postgres' \]$/],
  'cf push --strategy canary': [/^The canary runs\. Go on with/],
  'cf app guestbook': [/^type: +web$/, /^#0 +running/],
  'cf continue-deployment': [/^type: +web$/, /^instances: +1\/1$/],
  'cf revisions': [/^\d \(deployed\) +\S.* +true/, /^1 +Initial revision\. +true/],
  'cf rollback': [/^type: +web$/, /^instances: +1\/1$/],
  'cf delete hello': [/^App hello is deleted\.$/],
  'cf delete guestbook': [/^App guestbook is deleted\.$/],
  'cf delete-service': [/^guestbook-db is gone\.$/],
};

function ownWords(command: string): RegExp[] {
  const [longest] = Object.keys(OWN_WORDS)
    .filter((begin) => command.startsWith(begin))
    .sort((one, other) => other.length - one.length);
  const words = OWN_WORDS[longest ?? ''];
  assert.ok(words, `nobody has said what our own client is to say to ${command}`);
  return words;
}

/** Asks for TLS in PostgreSQL's words. Is it this server, by its certificate? */
async function isPostgres({ port, hostname, ca }: { port: number; hostname: string; ca: string }): Promise<boolean> {
  const signal = AbortSignal.timeout(10_000);
  const plain = connect(port, '127.0.0.1').on('error', () => undefined);
  try {
    // SSLRequest: its length, and a number that is no version.
    plain.write(Buffer.from('0000000804d2162f', 'hex'));
    const [answer] = (await once(plain, 'data', { signal }).catch(() => [])) as [Buffer?];
    if (answer === undefined) return false;
    assert.equal(String(answer), 'S');
    const secure = secured({ socket: plain, ca, servername: hostname });
    await once(secure, 'secureConnect', { signal });
    return secure.authorized;
  } finally {
    plain.destroy();
  }
}

describe('PostgreSQL', { concurrency: 1 }, () => {
  const platform = new TestPlatform('pgcf');

  before(() => platform.must('up'));
  after(() => platform.purge());

  /** Whatever a case before it has come to. */
  async function leaveNothing(): Promise<void> {
    for (const app of ['hello', 'guestbook']) await platform.must('delete', app, '-f', '-r');
    await platform.must('delete-service', 'guestbook-db', '-f', '--wait');
  }

  /** Types the tour, where `cf` is this. */
  async function tour(name: string, cfWords: string[], wanted?: Typist['wanted']) {
    await leaveNothing();
    const { domain, ports } = platform.instance;
    const home = join(platform.directory, name);
    mkdirSync(home, { recursive: true });
    const quoted = cfWords.map((word) => `'${word}'`).join(' ');
    writeFileSync(join(home, 'cf'), `#!/bin/sh\nexec ${quoted} "$@"\n`, { mode: 0o755 });
    await typeSteps(TOUR, {
      shell: hostsShell(platform, join(home, 'hosts'), ['hello', 'guestbook']),
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
      plain: (said) => said.replaceAll(`:${ports.https}`, '').replaceAll(domain, 'sampan.localhost'),
      ...(wanted === undefined ? {} : { wanted }),
    });
  }

  test('the tour of the guide with our own commands, to the same answers', async () => {
    await tour('own', platform.command(), ({ command, shown }) =>
      command.startsWith('cf ') ? ownWords(command) : shown,
    );
  });

  test('the tour of the guide with the stock cf, which says what the guide shows', { skip }, async () => {
    await tour('stock', [program ?? '']);
  });

  describe('with the stock cf client', { concurrency: 1, skip }, () => {
    let cf: Cf;
    /** Of the service instance, and of all that belongs to its database. */
    let guid: string;
    let database: string;

    before(async () => {
      await leaveNothing();
      cf = new Cf(platform, program ?? '', 'admin');
      await cf.login('admin', readFileSync(join(platform.dataDirectory, 'admin-password'), 'utf8').trim());
      await cf.must('target', '-o', 'default', '-s', 'dev');
    });

    const host = () => platform.host('guestbook');
    const write = async (name: string) => {
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      const answer = await platform.ask(host(), { method: 'POST', headers, body: `name=${name}&words=hello` });
      assert.equal(answer.status, 303, answer.body);
    };
    const reads = async (name: string) => (await platform.ask(host())).body.includes(`<b>${name}</b>`);
    const sql = async (script: string) =>
      (
        await platform.mustKubectl(
          'exec',
          '-n',
          NAMESPACE,
          `${database}-0`,
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
      guid = (await cf.must('service', 'guestbook-db', '--guid')).trim();
      database = databaseName(guid);
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
      const { spec } = await client.get(postgresDatabases, database, NAMESPACE);
      const version = `${Number.parseInt(spec.version, 10)}.0.0+000000000000`;
      const at = { namespace: NAMESPACE };
      const older = (body: unknown) => ({ type: 'merge' as const, body });
      const status = { subresource: 'status' as const };
      await client.patch(postgresDatabases, database, older({ spec: { version } }), at);
      await client.patch(postgresDatabases, database, older({ status: { version } }), { ...at, ...status });
      const service = (await client.list(serviceInstances)).items.find(({ metadata }) => metadata.name === guid);
      const there = { namespace: service?.metadata.namespace ?? '', ...status };
      await client.patch(serviceInstances, guid, older({ status: { maintenanceVersion: version } }), there);
      transport.close();
      await until('it can be upgraded', async () =>
        /There is an upgrade available/.test(await cf.must('service', 'guestbook-db')),
      );
      await cf.must('upgrade-service', 'guestbook-db', '-f', '--wait');
      assert.doesNotMatch(await cf.must('service', 'guestbook-db'), /There is an upgrade available/);
      assert.ok(await reads('Ann'));
    });

    test('a key is a login of its own, and through an app the server is reached from here', async () => {
      await cf.must('create-service-key', 'guestbook-db', 'mine', '--wait');
      const key = JSON.parse((await cf.must('service-key', 'guestbook-db', 'mine')).replace(/^[^{]*/, '')) as {
        credentials: { username: string; hostname: string; port: number; ca: string };
      };
      const { username, hostname, port, ca } = key.credentials;
      assert.match(username, /^b_[0-9a-f]{20}$/);
      const here = await freePort();
      await using _ = cf.start('ssh', 'guestbook', '-N', '-L', `${here}:${hostname}:${port}`);
      await until('the server', () => isPostgres({ port: here, hostname, ca }), 60);
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
      const kinds = 'pods,pvc,statefulsets,services,secrets,postgresdatabases';
      const left = await platform.mustKubectl('get', kinds, '-n', NAMESPACE, '-o', 'name');
      assert.ok(!left.includes(database), left);
      const names = await platform.mustKubectl('get', 'secrets', '-n', NAMESPACE, '-o', 'name');
      assert.deepEqual(names.trim().split('\n').sort(), ['secret/broker-login', 'secret/postgres-authority']);
    });
  });
});
