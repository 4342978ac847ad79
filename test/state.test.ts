/** The cluster's state: in etcd and in SQLite, through the real commands and kubectl. The cluster runs without the platform. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Etcd, startEtcd } from '#testing/etcd.ts';
import { TestPlatform, until } from '#testing/platform.ts';

const platform = new TestPlatform('state');
let etcd: Etcd;
let running: ReturnType<TestPlatform['start']> | undefined;

const etcdFlags = (): string[] => [
  ...['--store', 'etcd', '--etcd-endpoints', etcd.endpoints.join()],
  ...['--etcd-ca', join(etcd.directory, 'ca.crt')],
  ...['--etcd-cert', join(etcd.directory, 'client.crt'), '--etcd-key', join(etcd.directory, 'client.key')],
];

async function startCluster(...words: string[]): Promise<void> {
  const started = platform.start('cluster', ...words);
  running = started;
  await until('the cluster to be ready', async () => started.output().includes('Cluster ready') || undefined, 90).catch(
    (error: unknown) => {
      throw new Error(`${started.output()}\n${platform.logTail()}`, { cause: error });
    },
  );
}

async function stopCluster(): Promise<void> {
  assert.ok(running);
  assert.equal(await running.stop(), 0, running.output());
  running = undefined;
}

const configMap = (name: string, value: string): string[] => [
  'create',
  'configmap',
  name,
  `--from-literal=value=${value}`,
];
const valueOf = (name: string): Promise<string> =>
  platform.mustKubectl('get', 'configmap', name, '-o', 'jsonpath={.data.value}');

describe('the state of the cluster', { concurrency: 1 }, () => {
  before(async () => {
    etcd = await startEtcd({ tls: true });
  });
  after(async () => {
    await running?.stop();
    await platform.purge();
    await etcd.stop();
  });

  test('an etcd that is not there, or that refuses us, is told with flag and remedy, and nothing is kept of it', async () => {
    const nobody = await platform.sampan('cluster', '--store', 'etcd', '--etcd-endpoints', 'https://127.0.0.1:1');
    assert.equal(nobody.code, 1);
    assert.match(nobody.stderr, /cannot be kept in etcd at https:\/\/127.0.0.1:1: .*ECONNREFUSED/);
    assert.match(nobody.stderr, /remedy: Start etcd, or mend --etcd-endpoints, --etcd-ca/);
    const endpoints = ['--etcd-endpoints', etcd.endpoints.join()];
    const stranger = await platform.sampan('cluster', '--store', 'etcd', ...endpoints);
    assert.match(stranger.stderr, /certificate/);
    const alone = await platform.sampan('cluster', ...endpoints);
    assert.match(alone.stderr, /--etcd-endpoints is of no use: the state is kept in sqlite/);
    const plain = await platform.sampan('cluster', '--store', 'etcd', '--etcd-endpoints', 'http://10.0.0.1:2379');
    assert.match(plain.stderr, /http is for an etcd on the loopback only/);
  });

  test('a cluster without platform keeps its state in etcd, as kubectl sees it', async () => {
    await startCluster(...etcdFlags());
    await platform.mustKubectl(...configMap('in-etcd', 'one'));
    await platform.mustKubectl('wait', '--for=condition=Ready', 'node', '--all', '--timeout=30s');
    assert.equal(await valueOf('in-etcd'), 'one');
    const status = await platform.mustJson<{ processes: { role: string; ready: boolean }[] }>('status');
    assert.deepEqual(
      status.processes.map(({ role, ready }) => [role, ready]),
      [
        ['server', true],
        ['agent', true],
        ['platform', false],
      ],
    );
  });

  test('the API goes on over a kill of etcd, and its clients notice no more than a pause', async () => {
    const [member] = etcd.members;
    await member?.kill();
    const waiting = platform.kubectl(...configMap('meanwhile', 'two'));
    await member?.start();
    const answer = await waiting;
    assert.equal(answer.code, 0, answer.stderr);
    assert.equal(await valueOf('meanwhile'), 'two');
  });

  test('what was chosen is kept with the instance, and another store is refused', async () => {
    await stopCluster();
    const other = await platform.sampan('cluster', '--store', 'sqlite');
    assert.match(other.stderr, /keeps its state in etcd, not in sqlite \(--store\)/);
    assert.match(other.stderr, /sampan store move --to sqlite/);
    await startCluster();
    assert.equal(await valueOf('in-etcd'), 'one');
  });
});
