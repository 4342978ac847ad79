/** A real cluster with the PostgreSQL service and pods that connect to its databases, for tests. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '#cluster/client/create.ts';
import type { Client } from '#cluster/client/client.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import { namespaces, nodes, pods } from '#cluster/kinds/resources.ts';
import { type Finished, TestPlatform, until } from '#testing/platform.ts';
import { when } from '#testing/when.ts';
import { installResources } from '../resources/definitions.ts';
import type { RegistryOptions } from '../staging/images/registry-client.ts';
import type { Recipe } from './image/recipe.ts';
import { Osb } from './osb.fixture.ts';
import { postgresDatabases } from './resource.ts';
import { NAMESPACE, type Credentials, type Plan, type Postgres } from './postgres.ts';
import { startPostgres } from './start.ts';

export const SPACE = 'space-1';

export class PostgresBed {
  readonly platform: TestPlatform;
  readonly plans: readonly Plan[];
  readonly problems: string[] = [];
  readonly osb: Osb;
  client!: Client;
  postgres!: Postgres;
  /** Milliseconds that the service's clock is ahead. */
  ahead = 0;
  /** Of the image of the release that is started next; undefined: of this one. */
  recipe: Recipe | undefined;
  #running: ReturnType<TestPlatform['start']> | undefined;
  #transports: { close(): void }[] = [];

  constructor(name: string, plans: readonly Plan[]) {
    this.platform = new TestPlatform(name);
    this.plans = plans;
    this.osb = new Osb(undefined as unknown as Postgres);
  }

  async open(): Promise<void> {
    const running = this.platform.start('cluster');
    this.#running = running;
    const isReady = async (): Promise<boolean> => running.output().includes('Cluster ready');
    await until('the cluster to be ready', isReady, 120).catch((error: unknown) => {
      throw new Error(`${running.output()}\n${this.platform.logTail()}`, { cause: error });
    });
    this.client = createClient(this.#transport({ name: 'admin' }));
    await when(this.client, nodes, ([node]) =>
      (node?.status?.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True'),
    );
    await installResources(createClient(this.#transport({ name: 'platform' })));
    await this.start();
  }

  #pki(name: string): string {
    return readFileSync(join(this.platform.dataDirectory, 'pki', name), 'utf8');
  }

  #transport(as: { name: string } | { token: () => Promise<string> }) {
    const { ports } = this.platform.instance;
    const who =
      'name' in as
        ? { certificate: this.#pki(`${as.name}.crt`), key: this.#pki(`${as.name}.key`) }
        : { token: as.token };
    const url = `https://127.0.0.1:${ports.kubernetes}`;
    const transport = httpsTransport({ url, ca: this.#pki('ca.crt'), ...who });
    this.#transports.push(transport);
    return transport;
  }

  registry(): RegistryOptions {
    const { dataDirectory, instance } = this.platform;
    const secrets = JSON.parse(readFileSync(join(dataDirectory, 'secrets.json'), 'utf8')) as {
      registry: { platform: string };
    };
    return {
      host: `127.0.0.1:${instance.ports.registry}`,
      ca: this.#pki('ca.crt'),
      username: 'platform',
      password: secrets.registry.platform,
    };
  }

  /** The service, as the platform starts it. */
  async start(): Promise<void> {
    this.postgres = await startPostgres({
      client: createClient(this.#transport({ name: 'platform' })),
      connect: (token) => createClient(this.#transport({ token })),
      registry: this.registry(),
      dataDirectory: join(this.platform.dataDirectory, 'postgres'),
      ...(this.recipe === undefined ? {} : { recipe: this.recipe }),
      plans: this.plans,
      now: () => Date.now() + this.ahead,
      log: (level, message, fields) => {
        if (level !== 'info') this.problems.push(`${message} ${JSON.stringify(fields)}`);
      },
    });
    this.osb.postgres = this.postgres;
  }

  /** A pod as an app's is labelled, with the clients of PostgreSQL. */
  async startApp(name: string, space = SPACE): Promise<void> {
    const namespace = `ns-${space}`;
    await this.client
      .create(namespaces, { metadata: { name: namespace, labels: { 'platform.sampan.dev/space': space } } })
      .catch(() => undefined);
    const [database] = (await this.client.list(postgresDatabases, { namespace: NAMESPACE })).items;
    const image = database?.status?.image ?? '';
    await this.client.create(pods, {
      metadata: { name, namespace, labels: { 'platform.sampan.dev/app': name } },
      spec: {
        terminationGracePeriodSeconds: 0,
        automountServiceAccountToken: false,
        containers: [{ name: 'app', image, command: ['sleep', '1000000'] }],
      },
    });
    await when(this.client, pods, (all) =>
      all.some(({ metadata, status }) => metadata.name === name && status?.phase === 'Running'),
    );
  }

  /** SQL in a pod of `startApp`, with what a binding says. */
  psql(
    app: string,
    credentials: Credentials,
    sql: string,
    options: { sslmode?: string; space?: string } = {},
  ): Promise<Finished> {
    const { hostname, port, dbname, username, password, ca, sslmode } = credentials;
    const script = 'printf %s "$CA" >/tmp/ca.crt && exec psql -X -q -A -t -v ON_ERROR_STOP=1 -c "$SQL"';
    const variables = {
      CA: ca,
      SQL: sql,
      PGHOST: hostname,
      PGPORT: String(port),
      PGDATABASE: dbname,
      PGUSER: username,
      PGPASSWORD: password,
      PGSSLMODE: options.sslmode ?? sslmode,
      PGSSLROOTCERT: '/tmp/ca.crt',
      PGCONNECT_TIMEOUT: '5',
    };
    const environment = Object.entries(variables).map(([key, value]) => `${key}=${value}`);
    const where = ['-n', `ns-${options.space ?? SPACE}`, app];
    return this.platform.kubectl('exec', ...where, '--', 'env', ...environment, 'sh', '-c', script);
  }

  async mustPsql(app: string, credentials: Credentials, sql: string): Promise<string> {
    const { code, stdout, stderr } = await this.psql(app, credentials, sql);
    if (code !== 0) throw new Error(`psql ended with ${code}: ${stderr}\n${this.problems.join('\n')}`);
    return stdout.trim();
  }

  async close(): Promise<void> {
    await this.postgres?.close();
    for (const transport of this.#transports) transport.close();
    await this.#running?.stop();
    await this.platform.purge();
  }
}
