/** The state of a cluster over etcd that fails, damaged backups, purges, moves between drivers; and who may come in. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openEtcdClient } from '#cluster/store/etcd/client.ts';
import { openEtcdStore } from '#cluster/store/etcd/open.ts';
import { ClusterBed } from '#testing/cluster-bed.ts';
import { startIssuer } from '#testing/oidc-issuer.ts';

let bed: ClusterBed;

const withoutRevisions = (json: string): string => json.replaceAll(/"resourceVersion":"\d+"/g, '');

describe('the state of the cluster', { concurrency: 1 }, () => {
  before(async () => {
    bed = await ClusterBed.open('state-long');
  });
  after(() => bed.close());

  test('an etcd that is not there, or that refuses us, is told with flag and remedy, and nothing is kept of it', async () => {
    const nobody = await bed.sampan('cluster', '--store', 'etcd', '--etcd-endpoints', 'https://127.0.0.1:1');
    assert.equal(nobody.code, 1);
    assert.match(nobody.stderr, /cannot be kept in etcd at https:\/\/127.0.0.1:1: .*ECONNREFUSED/);
    assert.match(nobody.stderr, /remedy: Start etcd, or mend --etcd-endpoints, --etcd-ca/);
    const endpoints = ['--etcd-endpoints', bed.etcd.endpoints.join()];
    const stranger = await bed.sampan('cluster', '--store', 'etcd', ...endpoints);
    assert.match(stranger.stderr, /certificate/);
    const alone = await bed.sampan('cluster', ...endpoints);
    assert.match(alone.stderr, /--etcd-endpoints is of no use: the state is kept in sqlite/);
    const plain = await bed.sampan('cluster', '--store', 'etcd', '--etcd-endpoints', 'http://10.0.0.1:2379');
    assert.match(plain.stderr, /http is for an etcd on the loopback only/);
  });

  test('a cluster with something in it', async () => {
    await bed.startCluster('--store', 'etcd', ...bed.endpointFlags);
    await bed.mustKubectl(...bed.createConfigMap('in-etcd', 'one'));
    await bed.mustKubectl('create', 'secret', 'generic', 'kept', '--from-literal=password=secret');
    await bed.must('backup', bed.backupFile);
  });

  test('the API goes on over a kill of etcd, and its clients notice no more than a pause', async () => {
    const [member] = bed.etcd.members;
    await member?.kill();
    const waiting = bed.kubectl(...bed.createConfigMap('meanwhile', 'two'));
    await member?.start();
    const answer = await waiting;
    assert.equal(answer.code, 0, answer.stderr);
    assert.equal(await bed.readConfigMap('meanwhile'), 'two');
  });

  test('what was chosen is kept with the instance, and another store is refused', async () => {
    await bed.stopCluster();
    const other = await bed.sampan('cluster', '--store', 'sqlite');
    assert.match(other.stderr, /keeps its state in etcd, not in sqlite \(--store\)/);
    assert.match(other.stderr, /sampan store move --to sqlite/);
    await bed.startCluster();
    assert.equal(await bed.readConfigMap('in-etcd'), 'one');
  });

  test('a state that is served from elsewhere is neither served nor removed from here', async () => {
    await bed.stopCluster();
    const { store } = bed.instance as unknown as { store: { prefix: string; half: string; owner: string } };
    const other = await openEtcdStore({
      endpoints: bed.etcd.endpoints,
      ...(bed.etcd.tls && { tls: () => bed.etcd.tls ?? {} }),
      prefix: `${store.prefix}/${store.half}`,
      owner: store.owner,
      tenant: { id: 'elsewhere', name: 'another host', seconds: 600 },
    });
    try {
      const refused = await bed.sampan('cluster');
      assert.equal(refused.code, 1);
      assert.match(
        refused.stderr,
        /is served by another server \(another host\), and two would not know of each other/,
      );
      assert.match(refused.stderr, /remedy: Stop the other one with `sampan down`, or .* --etcd-prefix/);
      await bed.must('down');
      assert.match((await bed.sampan('restore', bed.backupFile)).stderr, /is served by another server/);
      assert.ok((await other.list('/')).entries.length > 0);
    } finally {
      await other.close();
    }
    await bed.startCluster();
    assert.equal(await bed.readConfigMap('in-etcd'), 'one');
  });

  test('a purge leaves nothing in etcd', async () => {
    await bed.stopCluster();
    await bed.must('down', '--purge');
    mkdirSync(bed.directory, { recursive: true });
    const client = openEtcdClient({
      endpoints: bed.etcd.endpoints,
      ...(bed.etcd.tls && { tls: () => bed.etcd.tls ?? {} }),
    });
    const all = { key: Buffer.from('/'), end: Buffer.from('0'), keysOnly: true };
    assert.deepEqual(
      (await client.range('test', all)).kvs.map(({ key }) => key.toString()),
      [],
    );
    client.close();
  });

  test('a damaged backup changes nothing; a whole one brings everything back, into etcd as it was', async () => {
    writeFileSync(`${bed.backupFile}.cut`, readFileSync(bed.backupFile).subarray(0, -200));
    const damaged = await bed.sampan('restore', `${bed.backupFile}.cut`);
    assert.equal(damaged.code, 1);
    assert.match(damaged.stderr, /Cannot restore .*\n {2}remedy: The file is damaged: use another backup/);
    assert.match((await bed.sampan('restore', '/etc/passwd')).stderr, /Cannot restore/);
    assert.equal((await bed.sampan('status')).code, 1);
    await bed.must('restore', bed.backupFile);
    await bed.startCluster();
    assert.equal(await bed.readConfigMap('in-etcd'), 'one');
    assert.equal(await bed.mustKubectl('get', 'secret', 'kept', '-o', 'jsonpath={.data.password}'), 'c2VjcmV0');
  });

  test('the state moves to sqlite and back, and every key is there', async () => {
    const before = await bed.mustKubectl('get', '--raw', '/api/v1/secrets').then(withoutRevisions);
    await bed.stopCluster();
    assert.match((await bed.sampan('store', 'move', '--to', 'sqlite')).stderr, /The instance [a-z0-9-]+ is up/);
    await bed.must('down');
    assert.match((await bed.sampan('store', 'move', '--to', 'etcd', ...bed.endpointFlags)).stderr, /in etcd already/);
    await bed.must('store', 'move', '--to', 'sqlite');
    assert.ok(existsSync(join(bed.dataDirectory, 'cluster', 'store.db')));
    // Encrypted there as it was in etcd.
    assert.ok(!readFileSync(join(bed.dataDirectory, 'cluster', 'store.db')).includes('c2VjcmV0'));
    await bed.startCluster();
    assert.equal(await bed.mustKubectl('get', '--raw', '/api/v1/secrets').then(withoutRevisions), before);
    await bed.stopCluster();
    await bed.must('down');
    await bed.must('store', 'move', '--to', 'etcd', ...bed.endpointFlags);
    assert.ok(!existsSync(join(bed.dataDirectory, 'cluster', 'store.db')));
    await bed.startCluster();
    assert.equal(await bed.readConfigMap('in-etcd'), 'one');
  });

  test('a backup of etcd is restored over what there is, into sqlite', async () => {
    await bed.stopCluster();
    await bed.must('down');
    await bed.must('restore', bed.backupFile, '--store', 'sqlite');
    await bed.startCluster();
    assert.equal(await bed.readConfigMap('in-etcd'), 'one');
  });

  test('users of an OpenID Connect issuer come in, and what they do is audited by a policy of ours', async () => {
    const issuer = await startIssuer();
    try {
      const file = (name: string, text: string): string => {
        writeFileSync(join(bed.directory, name), text);
        return join(bed.directory, name);
      };
      const rules = [{ level: 'Request', users: ['oidc:ann'] }, { level: 'None' }];
      await bed.stopCluster();
      await bed.startCluster(
        ...['--oidc-issuer-url', issuer.url, '--oidc-client-id', 'sampan', '--oidc-signing-algs', 'ES256'],
        ...['--oidc-ca-file', file('issuer.crt', issuer.ca), '--oidc-username-prefix', 'oidc:'],
        ...[
          '--audit-policy-file',
          file('policy.yaml', JSON.stringify({ apiVersion: 'audit.k8s.io/v1', kind: 'Policy', rules })),
        ],
      );
      rmSync(join(bed.directory, 'issuer.crt'));
      rmSync(join(bed.directory, 'policy.yaml'));
      const ann = await issuer.sign({ sub: 'ann' });
      assert.equal((await bed.whoami(ann)).stdout, 'oidc:ann');
      await bed.stopCluster();
      await bed.startCluster();
      assert.equal((await bed.whoami(ann)).stdout, 'oidc:ann');
      const audited = readFileSync(join(bed.dataDirectory, 'cluster', 'audit.log'), 'utf8')
        .trim()
        .split('\n')
        .slice(-1);
      assert.match(audited.join(), /"level":"Request".*"username":"oidc:ann"/);
      await bed.stopCluster();
      await bed.startCluster('--oidc-issuer-url', '', '--audit-policy-file', '');
      assert.notEqual((await bed.whoami(ann)).code, 0);
    } finally {
      await issuer.close();
    }
  });
});
