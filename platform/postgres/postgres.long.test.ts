/** Real PostgreSQL servers on a real cluster, from the first plan to the last byte; the platform is played by plain HTTP. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import type { ClientObject } from '#cluster/client/client.ts';
import { persistentVolumeClaims, persistentVolumes, pods, secrets } from '#cluster/kinds/resources.ts';
import { until } from '#testing/platform.ts';
import { when } from '#testing/when.ts';
import type { ImageConfigFile } from '../staging/images/oci.ts';
import { RegistryClient } from '../staging/images/registry-client.ts';
import { writeImage } from '../staging/images/single-layer.ts';
import { PostgresBed } from './bed.fixture.ts';
import { currentRecipe, type Recipe } from './image/recipe.ts';
import { NAMESPACE, type Credentials, type Plan } from './postgres.ts';
import { databaseName } from './resource.ts';

const plan = (name: string, diskMb: number, connections: number): Plan => ({
  id: `plan-${name}`,
  name,
  description: name,
  memoryMb: 256,
  diskMb,
  connections,
  cpuMillis: 2000,
});
const TINY = plan('tiny', 256, 10);
const MORE = plan('more', 384, 15);
const ID = 'shop-database';
const POD = `${databaseName(ID)}-0`;

describe('PostgreSQL', { concurrency: 1 }, () => {
  const bed = new PostgresBed('postgres', [TINY, MORE]);
  const { osb } = bed;
  let first: Credentials;
  let second: Credentials;

  before(() => bed.open());
  after(() => bed.close());

  interface Shown {
    state: string;
    server: string;
    disk: { size_mb: number; free_mb: number };
    backups: { id: string; scheduled: boolean }[];
  }

  async function shown(): Promise<Shown> {
    const { status, body } = await osb.call('GET', `service_instances/${ID}`);
    assert.equal(status, 200, JSON.stringify(body));
    return body['parameters'] as Shown;
  }

  const isReady = (name: string) => (all: { metadata: { name: string }; status?: unknown }[]) =>
    all.some(
      ({ metadata, status }) =>
        metadata.name === name &&
        (status as { conditions?: { type: string; status: string }[] }).conditions?.some(
          (one) => one.type === 'Ready' && one.status === 'True',
        ),
    );

  test('a database is made, and says what it is', async () => {
    assert.match(await osb.succeeded(ID, await osb.provision(ID, TINY)), /^PostgreSQL \d+/);
    const { state, server, disk, backups } = await shown();
    assert.deepEqual([state, backups], ['ready', []]);
    assert.match(server, /^\d+\.\d+$/);
    assert.ok(disk.size_mb > 200 && disk.free_mb > 50, JSON.stringify(disk));
  });

  test('an app that is bound connects by TLS, which it can verify', async () => {
    await bed.startApp('app-1');
    first = await osb.credentials(ID, 'first', TINY, 'app-1');
    assert.equal(first.sslmode, 'verify-full');
    await bed.mustPsql('app-1', first, 'CREATE TABLE notes (id serial PRIMARY KEY, words text)');
    await bed.mustPsql('app-1', first, `INSERT INTO notes (words) VALUES ('one'), ('two')`);
    assert.equal(await bed.mustPsql('app-1', first, 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'), 't');
    const plain = await bed.psql('app-1', first, 'SELECT 1', { sslmode: 'disable' });
    assert.match(plain.stderr, /no pg_hba.conf entry.*no encryption/);
    const wrong = await bed.psql('app-1', { ...first, password: 'wrong' }, 'SELECT 1');
    assert.match(wrong.stderr, /password authentication failed/);
    for (const username of ['postgres', 'app_owner', 'app_backup']) {
      const special = await bed.psql('app-1', { ...first, username, password: '' }, 'SELECT 1');
      assert.notEqual(special.code, 0, username);
    }
  });

  test('who is not bound does not get as far as the password', async () => {
    await Promise.all([bed.startApp('app-2'), bed.startApp('app-3', 'space-2')]);
    for (const [app, space] of [
      ['app-2', 'space-1'],
      ['app-3', 'space-2'],
    ] as const) {
      const { code, stderr } = await bed.psql(app, first, 'SELECT 1', { space });
      assert.notEqual(code, 0);
      assert.match(stderr, /timeout expired|timed out/i);
    }
  });

  test('a user of it is nobody special', async () => {
    for (const sql of [
      'CREATE ROLE other',
      'CREATE DATABASE other',
      `COPY notes TO PROGRAM 'true'`,
      `SELECT pg_read_file('/etc/passwd')`,
      'ALTER SYSTEM SET work_mem = 1',
      'SET ROLE postgres',
      'RESET ROLE; SET SESSION AUTHORIZATION postgres',
    ]) {
      const { code, stderr } = await bed.psql('app-1', first, sql);
      assert.notEqual(code, 0, sql);
      assert.match(stderr, /permission denied|must be|cannot set|Only roles|not allowed/i, sql);
    }
    const { code } = await bed.psql('app-1', { ...first, dbname: 'postgres' }, 'SELECT 1');
    assert.notEqual(code, 0);
  });

  test('its pod is killed, and it is back with what it had', async () => {
    const [before] = (await bed.client.list(pods, { namespace: NAMESPACE })).items;
    await bed.platform.mustKubectl('delete', 'pod', '-n', NAMESPACE, POD, '--grace-period=0', '--force');
    await when(
      bed.client,
      pods,
      (all) =>
        all.some(({ metadata }) => metadata.name === POD && metadata.uid !== before?.metadata.uid) && isReady(POD)(all),
      120,
    );
    const count = async () => (await bed.psql('app-1', first, 'SELECT count(*) FROM notes')).stdout.trim() === '2';
    await until('what was written is there', count, 60);
  });

  test('the server itself is killed, and its lock says nothing', async () => {
    await bed.platform.mustKubectl(
      'exec',
      '-n',
      NAMESPACE,
      POD,
      '--',
      'sh',
      '-c',
      'kill -9 $(head -1 /data/pgdata/postmaster.pid)',
    );
    const count = async () => (await bed.psql('app-1', first, 'SELECT count(*) FROM notes')).stdout.trim() === '2';
    await until('what was written is there', count, 120);
  });

  test('rotation: the new binding has what the old one made, and the old one ends with its sessions', async () => {
    second = await osb.credentials(ID, 'second', TINY, 'app-1');
    assert.notEqual(second.password, first.password);
    await bed.mustPsql('app-1', first, 'RESET ROLE; CREATE SCHEMA hidden; CREATE TABLE hidden.mine (id int)');
    const sleeping = bed.psql('app-1', first, 'SELECT pg_sleep(600)');
    const runs = `SELECT count(*) FROM pg_stat_activity WHERE usename = '${first.username}'`;
    await until('the session is there', async () => (await bed.mustPsql('app-1', second, runs)) === '1', 60);
    await osb.unbound(ID, 'first', TINY);
    assert.match((await sleeping).stderr, /terminating connection/);
    assert.match((await bed.psql('app-1', first, 'SELECT 1')).stderr, /password authentication failed|does not exist/);
    await bed.mustPsql(
      'app-1',
      second,
      `ALTER TABLE notes ADD COLUMN at timestamptz; INSERT INTO notes (words) VALUES ('three')`,
    );
    await bed.mustPsql('app-1', second, 'DROP TABLE hidden.mine');
    assert.equal((await osb.unbind(ID, 'first', TINY)).status, 410);
  });

  test('a backup is taken, rows are lost, and restored', async () => {
    await bed.mustPsql('app-1', second, `SELECT lo_from_bytea(4711, 'large')`);
    assert.match(
      await osb.succeeded(ID, await osb.update(ID, { parameters: { backup: true } })),
      /^backup \S+ has \d+ bytes/,
    );
    const [backup] = (await shown()).backups;
    assert.ok(backup);
    assert.equal(backup.scheduled, false);
    await bed.mustPsql(
      'app-1',
      second,
      `DELETE FROM notes; DROP SCHEMA hidden; SELECT lo_unlink(4711); CREATE TABLE later (id int)`,
    );
    const unknown = await osb.update(ID, { parameters: { restore: 'nothing' } });
    assert.deepEqual([unknown.status, unknown.body.description?.includes(backup.id)], [400, true]);
    await osb.succeeded(ID, await osb.update(ID, { parameters: { restore: backup.id } }));
    assert.equal(await bed.mustPsql('app-1', second, 'SELECT count(*) FROM notes'), '3');
    assert.equal(await bed.mustPsql('app-1', second, `SELECT convert_from(lo_get(4711), 'UTF8')`), 'large');
    assert.notEqual((await bed.psql('app-1', second, 'SELECT * FROM later')).code, 0);
    await bed.mustPsql('app-1', second, `INSERT INTO notes (words) VALUES ('four')`);
  });

  test('a restore that is broken off with its platform is taken up by the next', async () => {
    await bed.mustPsql('app-1', second, 'CREATE TABLE many AS SELECT generate_series(1, 200000) AS id');
    await osb.succeeded(ID, await osb.update(ID, { parameters: { backup: true } }));
    await bed.mustPsql('app-1', second, 'DROP TABLE many');
    const asked = await osb.update(ID, { parameters: { restore: 'latest' } });
    await bed.postgres.close();
    await bed.start();
    await osb.succeeded(ID, asked);
    assert.equal(await bed.mustPsql('app-1', second, 'SELECT count(*) FROM many'), '200000');
    await bed.mustPsql('app-1', second, 'DROP TABLE many');
  });

  test('a backup that nobody asks for is taken when its time has come, and the oldest goes', async () => {
    await osb.succeeded(ID, await osb.update(ID, { parameters: { backups_kept: 2, backup_every_hours: 12 } }));
    const before = (await shown()).backups.map(({ id }) => id);
    assert.equal(before.length, 2);
    await bed.postgres.close();
    bed.ahead = 13 * 60 * 60_000;
    await bed.start();
    await until('it is taken', async () => (await shown()).backups.some(({ scheduled }) => scheduled), 120);
    const { backups } = await shown();
    assert.deepEqual(
      backups.map(({ id, scheduled }) => [id === before[1], scheduled]),
      [
        [true, false],
        [false, true],
      ],
    );
  });

  test('a volume that is full says so, and the database comes back with a larger plan', async () => {
    const fill = `CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$ BEGIN LOOP
      INSERT INTO notes (words) SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 1000);
      COMMIT;
    END LOOP; END $$`;
    await bed.mustPsql('app-1', second, fill);
    // All the room that there is, before the server takes the last of it.
    const dd = ['dd', 'if=/dev/zero', 'of=/data/filler', 'bs=1048576'];
    const filled = await bed.platform.kubectl('exec', '-n', NAMESPACE, POD, '--', ...dd);
    assert.match(filled.stderr, /No space left/);
    const refused = await bed.psql('app-1', second, 'CALL fill()');
    assert.match(refused.stderr, /No space left|server closed the connection|terminating connection/);
    await bed.platform.mustKubectl('delete', 'pod', '-n', NAMESPACE, POD, '--wait=true', '--timeout=120s');
    await until('it says so', async () => (await shown()).state === 'full', 120);
    const writes = `INSERT INTO notes (words) VALUES ('five')`;
    assert.match((await bed.psql('app-1', second, writes)).stderr, /read-only transaction/);
    assert.notEqual(await bed.mustPsql('app-1', second, 'SELECT count(*) FROM notes'), '0');
    await osb.succeeded(ID, await osb.update(ID, { plan_id: MORE.id }));
    const { state, disk } = await shown();
    assert.deepEqual([state, disk.size_mb > 340], ['ready', true], JSON.stringify(disk));
    await bed.mustPsql('app-1', second, writes);
    const limit = `SELECT datconnlimit FROM pg_database WHERE datname = 'app'`;
    assert.equal(await bed.mustPsql('app-1', second, limit), String(MORE.connections));
    const smaller = await osb.update(ID, { plan_id: TINY.id });
    assert.deepEqual([smaller.status, /does not shrink/.test(smaller.body.description ?? '')], [400, true]);
  });

  /** What a later release of the platform would bring: the same server in another image. */
  async function release(name: string, entrypoint?: string[]): Promise<Recipe> {
    const recipe = await currentRecipe();
    const hash = createHash('sha256').update(name).digest('hex').slice(0, 32);
    const registry = new RegistryClient(bed.registry());
    const known = await registry.getImage<ImageConfigFile>('postgres/server', (bed.recipe ?? recipe).hash);
    assert.ok(known);
    const layers = known.manifest.layers.map(({ mediaType, digest, size }, index) => ({
      mediaType,
      digest,
      sizeBytes: size,
      diffId: known.config.rootfs.diff_ids[index] ?? '',
    }));
    const run = { ...known.config.config, Labels: { release: name }, ...(entrypoint && { Entrypoint: entrypoint }) };
    await writeImage(registry, 'postgres/server', hash, { architecture: recipe.architecture, layers, run });
    registry.close();
    return { ...recipe, hash, version: `${recipe.major}.0.0+${hash.slice(0, 12)}` };
  }

  /** The platform is started anew, and brings this. */
  async function bring(recipe: Recipe): Promise<void> {
    await bed.postgres.close();
    bed.recipe = recipe;
    await bed.start();
  }

  const upgrade = (recipe: Recipe) =>
    osb.update(ID, { plan_id: MORE.id, maintenance_info: { version: recipe.version } });

  async function runs(): Promise<{ version: unknown; image: string }> {
    const { body } = await osb.call('GET', `service_instances/${ID}`);
    const { version } = body['maintenance_info'] as { version: string };
    const words = ['get', 'pod', '-n', NAMESPACE, POD, '-o', 'jsonpath={.spec.containers[0].image}'];
    return { version, image: await bed.platform.mustKubectl(...words) };
  }

  test('upgraded to another image it has what it had; an upgrade whose server does not come goes back', async () => {
    const count = () => bed.mustPsql('app-1', second, 'SELECT count(*) FROM notes');
    const [before, rows] = [await runs(), await count()];
    const later = await release('later');
    await bring(later);
    assert.deepEqual(await runs(), before, 'nothing is upgraded that nobody asked to be');
    await osb.succeeded(ID, await upgrade(later));
    const upgraded = await runs();
    assert.equal(upgraded.version, later.version);
    assert.notEqual(upgraded.image, before.image);
    assert.equal(await count(), rows);
    const broken = await release('broken', ['/bin/false']);
    await bring(broken);
    const { state, description } = await osb.ended(ID, await upgrade(broken));
    assert.equal(state, 'failed');
    assert.match(description, /taken back: its server ended with status 1/);
    await until('it is back', async () => (await bed.psql('app-1', second, 'SELECT 1')).code === 0, 120);
    assert.deepEqual(await runs(), upgraded);
    assert.equal(await count(), rows);
    await bed.mustPsql('app-1', second, `INSERT INTO notes (words) VALUES ('six')`);
  });

  test('deleted, nothing is left of it', async () => {
    const { state } = await osb.ended(ID, await osb.deprovision(ID, MORE));
    assert.equal(state, 'gone');
    for (const resource of [pods, persistentVolumeClaims]) {
      const { items } = await bed.client.list<ClientObject>(resource, { namespace: NAMESPACE });
      const names = items.map(({ metadata }) => metadata.name);
      assert.deepEqual(names, []);
    }
    await when(bed.client, persistentVolumes, (all) => all.length === 0, 60);
    const left = (await bed.client.list(secrets, { namespace: NAMESPACE })).items.map(({ metadata }) => metadata.name);
    assert.deepEqual(left.sort(), ['broker-login', 'postgres-authority']);
  });
});
