/** The state of a cluster in etcd: kept, saved while it runs, and brought back. */
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ClusterBed, CreateLoad } from '#testing/cluster-bed.ts';
import { finish, until } from '#testing/platform.ts';

let bed: ClusterBed;
/** A revision that a client saw after the backup was taken. */
let lost = 0;
let token = '';

describe('the state of the cluster', { concurrency: 1 }, () => {
  before(async () => {
    bed = await ClusterBed.open('state');
  });
  after(() => bed.close());

  test('a cluster without platform keeps its state in etcd, as kubectl sees it', async () => {
    await bed.startCluster('--store', 'etcd', ...bed.endpointFlags);
    await bed.mustKubectl(...bed.createConfigMap('in-etcd', 'one'));
    await bed.mustKubectl('create', 'secret', 'generic', 'kept', '--from-literal=password=secret');
    await bed.mustKubectl('wait', '--for=condition=Ready', 'node', '--all', '--timeout=30s');
    assert.equal(await bed.readConfigMap('in-etcd'), 'one');
    const status = await bed.mustJson<{ processes: { role: string; ready: boolean }[] }>('status');
    assert.deepEqual(
      status.processes.map(({ role, ready }) => [role, ready]),
      [
        ['server', true],
        ['agent', true],
        ['platform', false],
      ],
    );
  });

  test('a backup is taken under load, of one revision; an instance that is up is not restored', async () => {
    const load = new CreateLoad(bed);
    await until('some writes', async () => load.written > 50);
    await bed.must('backup', bed.backupFile);
    await until('more writes', async () => load.written > 150);
    await load.stop();
    assert.equal(statSync(bed.backupFile).mode & 0o777, 0o600);
    const piped = await finish(
      'sh',
      ['-c', 'exec "$@" > "$0"', `${bed.backupFile}.piped`, ...bed.command('backup', '-')],
      {
        env: bed.environment,
      },
    );
    assert.equal(piped.code, 0, piped.stderr);
    assert.match((await bed.sampan('backup', bed.backupFile)).stderr, /is there already/);
    assert.match((await bed.sampan('restore', bed.backupFile)).stderr, /The instance [a-z0-9-]+ is up/);
    await bed.mustKubectl(...bed.createConfigMap('after-the-backup', 'lost'));
    lost = await bed.revisionOf('after-the-backup');
    token = (await bed.mustKubectl('create', 'token', 'default')).trim();
  });

  test('a restore brings everything back as it was then', async () => {
    await bed.stopCluster();
    await bed.must('down');
    await bed.must('restore', bed.backupFile);
    await bed.startCluster();
    assert.equal(await bed.readConfigMap('in-etcd'), 'one');
    assert.equal((await bed.kubectl('get', 'configmap', 'after-the-backup')).code, 1);
    assert.ok((await bed.loaded()) > 50);
    assert.equal(await bed.mustKubectl('get', 'secret', 'kept', '-o', 'jsonpath={.data.password}'), 'c2VjcmV0');
  });

  test('revisions grow on: whoever comes with an old one lists again', async () => {
    assert.ok((await bed.revisionOf('in-etcd')) > lost);
    for (const resourceVersion of [lost, lost - 1]) {
      const watched = await bed.kubectl(
        'get',
        '--raw',
        `/api/v1/configmaps?watch=1&timeoutSeconds=2&resourceVersion=${resourceVersion}`,
      );
      assert.match(watched.stdout.slice(0, 1000), /"type":"ERROR".*"code":410/, watched.stderr);
      const listed = await bed.kubectl(
        'get',
        '--raw',
        `/api/v1/configmaps?resourceVersionMatch=Exact&resourceVersion=${resourceVersion}&limit=5`,
      );
      assert.match(listed.stderr, /too old/);
    }
    // Its keys are there, too.
    assert.equal((await bed.whoami(token)).stdout, 'system:serviceaccount:default:default');
  });

  test('keys are rotated without a restart; what older service account keys signed is refused when they are retired', async () => {
    const keys = (): string[] =>
      (
        JSON.parse(readFileSync(join(bed.dataDirectory, 'cluster', 'encryption-keys.json'), 'utf8')) as {
          keys: { name: string }[];
        }
      ).keys.map(({ name }) => name);
    assert.deepEqual(keys(), ['1']);
    await bed.must('rotate-keys', 'encryption');
    assert.deepEqual(keys(), ['2']);
    const secret = () => bed.mustKubectl('get', 'secret', 'kept', '-o', 'jsonpath={.data.password}');
    assert.equal(await secret(), 'c2VjcmV0');
    await bed.must('rotate-keys', 'service-accounts');
    const signed = (await bed.mustKubectl('create', 'token', 'default')).trim();
    for (const good of [token, signed]) assert.equal((await bed.whoami(good)).code, 0);
    await bed.must('rotate-keys', 'service-accounts', '--retire');
    assert.equal((await bed.whoami(signed)).code, 0);
    assert.match((await bed.whoami(token)).stderr, /Unauthorized|must be logged in/);
    await bed.stopCluster();
    // Down, it is done by the command itself.
    await bed.must('rotate-keys', 'encryption');
    assert.deepEqual(keys(), ['3']);
    await bed.startCluster();
    assert.equal(await secret(), 'c2VjcmV0');
    assert.equal((await bed.sampan('rotate-keys', 'passwords')).code, 1);
  });
});
