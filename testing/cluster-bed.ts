/** An instance whose cluster runs without the platform, over an etcd of the test's own, through the real commands and kubectl. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import { type Etcd, startEtcd } from './etcd.ts';
import { type Finished, finish, TestPlatform, until } from './platform.ts';

export class ClusterBed extends TestPlatform {
  readonly etcd: Etcd;
  /** Outside of the data directory; `.…` may be added. */
  readonly backupFile: string;
  #running: ReturnType<TestPlatform['start']> | undefined;

  static async open(name: string): Promise<ClusterBed> {
    return new ClusterBed(name, await startEtcd({ tls: true }));
  }

  constructor(name: string, etcd: Etcd) {
    super(name);
    this.etcd = etcd;
    this.backupFile = `${this.directory}.backup`;
  }

  get endpointFlags(): string[] {
    const file = (name: string): string => join(this.etcd.directory, name);
    return [
      ...['--etcd-endpoints', this.etcd.endpoints.join(), '--etcd-ca', file('ca.crt')],
      ...['--etcd-cert', file('client.crt'), '--etcd-key', file('client.key')],
    ];
  }

  async startCluster(...words: string[]): Promise<void> {
    const started = this.start('cluster', ...words);
    this.#running = started;
    const ready = async (): Promise<boolean> => started.output().includes('Cluster ready');
    await until('the cluster to be ready', ready, 300).catch((error: unknown) => {
      throw new Error(`${started.output()}\n${this.logTail()}`, { cause: error });
    });
  }

  async stopCluster(): Promise<void> {
    assert.ok(this.#running);
    assert.equal(await this.#running.stop(), 0, this.#running.output());
    this.#running = undefined;
  }

  createConfigMap(name: string, value: string): string[] {
    return ['create', 'configmap', name, `--from-literal=value=${value}`];
  }

  readConfigMap(name: string): Promise<string> {
    return this.mustKubectl('get', 'configmap', name, '-o', 'jsonpath={.data.value}');
  }

  async revisionOf(name: string): Promise<number> {
    return Number(await this.mustKubectl('get', 'configmap', name, '-o', 'jsonpath={.metadata.resourceVersion}'));
  }

  /** Who one is by a token alone. */
  whoami(token: string): Promise<Finished> {
    const server = `https://127.0.0.1:${this.instance.ports.kubernetes}`;
    const ca = join(this.dataDirectory, 'pki', 'ca.crt');
    const words = ['--kubeconfig', '/dev/null', '--server', server, '--certificate-authority', ca, '--token', token];
    return finish('kubectl', [...words, 'auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}']);
  }

  /** How many ConfigMaps of `Load` there are. */
  async loaded(): Promise<number> {
    return (await this.mustKubectl('get', 'configmaps', '-o', 'name'))
      .split('\n')
      .filter((name) => name.startsWith('configmap/load-')).length;
  }

  async close(): Promise<void> {
    await this.#running?.stop();
    await this.purge();
    await this.etcd.stop();
    for (const ending of ['', '.cut', '.piped']) rmSync(`${this.backupFile}${ending}`, { force: true });
  }
}

/** Creates one ConfigMap after another. */
export class CreateLoad {
  written = 0;
  #stopped = false;
  readonly #running: Promise<void>[];
  constructor({ instance, dataDirectory }: TestPlatform) {
    const pki = (name: string): string => readFileSync(join(dataDirectory, 'pki', name), 'utf8');
    const transport = httpsTransport({
      url: `https://127.0.0.1:${instance.ports.kubernetes}`,
      ca: pki('ca.crt'),
      certificate: pki('admin.crt'),
      key: pki('admin.key'),
    });
    const client = createClient(transport);
    this.#running = Array.from({ length: 4 }, async (_, lane) => {
      for (let index = 0; !this.#stopped; index++) {
        const body = { metadata: { name: `load-${lane}-${index}` }, data: { filler: 'x'.repeat(500) } };
        await client.request({ method: 'POST', path: '/api/v1/namespaces/default/configmaps', body });
        this.written++;
      }
    });
    void Promise.all(this.#running).finally(() => transport.close());
  }
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running);
  }
}
