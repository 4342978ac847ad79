/** A database-backed app with the stock `cf`: made, bound, rotated, backed up, restored, upgraded in size, and removed; the platform is killed in between. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Cf, findCf } from '#testing/cf.ts';
import { TestPlatform, until } from '#testing/platform.ts';

const program = findCf();
const skip = program === undefined && 'cf is not on the PATH';
const GUESTBOOK = join(import.meta.dirname, '..', 'examples', 'guestbook');
const NAMESPACE = 'sampan-postgres';

describe('PostgreSQL with the stock cf client', { concurrency: 1, skip }, () => {
  const platform = new TestPlatform('pgcf');
  let cf: Cf;

  before(async () => {
    await platform.must('up');
    cf = new Cf(platform, program ?? '', 'admin');
    await cf.login('admin', readFileSync(join(platform.dataDirectory, 'admin-password'), 'utf8').trim());
    await cf.must('target', '-o', 'default', '-s', 'dev');
  });
  after(() => platform.purge());

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
