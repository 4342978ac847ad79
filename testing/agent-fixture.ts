/** A node agent with a real engine, a real API server and a real store, on addresses and names of its own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ApiServer, startApiServer } from '#cluster/apiserver/server.ts';
import type { Client } from '#cluster/client/client.ts';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import { createInformer } from '#cluster/client/informer.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { pods } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import type { Agent } from '#cluster/node/agent.ts';
import { startAgent } from '#cluster/node/start.ts';
import { openSqliteStore } from '#cluster/store/sqlite/open.ts';
import { type OpenedEngine, openEngine, purgeEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';
import { createAuthority, issueCertificate, type KeyPair } from '#lib/certificates.ts';
import { addBusyboxImage } from './busybox-image.ts';

export interface AgentFixture {
  client: Client;
  /** A reference to busybox. */
  image: string;
  nodeName: string;
  engine: OpenedEngine;
  /** Of warnings and errors that the agent logged. */
  logged: string[];
  /** Closes agent and engine, as a restart of their process would, and starts them again. */
  stopNode(): Promise<void>;
  startNode(): Promise<void>;
  /** Resolves when the pod is as asked; undefined stands for a pod that is gone. */
  until(
    name: string,
    what: string,
    holds: (pod: Stored<Pod> | undefined) => boolean,
    seconds?: number,
  ): Promise<Stored<Pod>>;
  close(): Promise<void>;
}

export async function agentFixture(octet: number): Promise<AgentFixture> {
  const directory = await mkdtemp(join(tmpdir(), 'sampan-agent-'));
  const nodeName = `node-${octet}`;
  const authority = await createAuthority({ commonName: 'sampan test', days: 1 });
  const issue = (commonName: string, organizations: string[]): Promise<KeyPair> =>
    issueCertificate(authority, {
      commonName,
      organizations,
      ips: ['127.0.0.1'],
      usages: ['server', 'client'],
      days: 1,
    });
  const store = await openSqliteStore({ path: join(directory, 'store.db') });
  const ca = authority.certificate;
  const api: ApiServer = await startApiServer({
    store,
    host: '127.0.0.1',
    port: 0,
    tls: { ...(await issue('kube-apiserver', [])), clientCa: ca },
    agentClient: { ...(await issue('system:apiserver', [])), ca },
    serviceCidr: '10.96.0.0/16',
  });
  const client = createClient(api.transport({ name: 'admin', groups: ['system:masters'] }));
  const options: EngineOptions = {
    instance: `agent-test-${octet}`,
    dataDirectory: join(directory, 'data'),
    runDirectory: `/run/sampan-agent-test-${octet}-${process.pid}`,
    network: { podCidr: `10.97.${octet}.0/24`, clusterCidr: '10.97.0.0/16', serviceCidr: '10.96.0.0/16' },
    idRange: { first: 65_536 * (1000 + octet * 60), length: 65_536 * 50 },
    sandboxPool: 1,
  };
  const agentPair = await issue(`system:node:${nodeName}`, ['system:nodes']);
  const logged: string[] = [];
  let agent: Agent;
  const transport = httpsTransport({
    url: `https://127.0.0.1:${api.port}`,
    ca,
    certificate: agentPair.certificate,
    key: agentPair.key,
  });
  const informer = createInformer(client, pods);
  const fixture: AgentFixture = {
    client,
    image: '',
    nodeName,
    engine: await openEngine(options),
    logged,
    async stopNode() {
      await agent.close();
      await fixture.engine.close();
    },
    async startNode() {
      fixture.engine = await openEngine(options);
      await start();
    },
    until(name, what, holds, seconds = 20) {
      const { promise, resolve, reject } = Promise.withResolvers<Stored<Pod>>();
      const find = (): Stored<Pod> | undefined => informer.list().find(({ metadata }) => metadata.name === name);
      const look = (): void => {
        const pod = find();
        if (!holds(pod)) return;
        end();
        resolve(pod ?? ({ metadata: { name } } as Stored<Pod>));
      };
      const timer = setTimeout(() => {
        end();
        const status = JSON.stringify(find()?.status);
        reject(
          new Error(`gave up waiting for pod ${name}: ${what}; its status is ${status}; logged: ${logged.join('; ')}`),
        );
      }, seconds * 1000);
      const forget = informer.onChange(look);
      const end = (): void => {
        clearTimeout(timer);
        forget();
      };
      look();
      return promise;
    },
    async close() {
      await agent.close();
      informer.close();
      await fixture.engine.close();
      transport.close();
      await api.close();
      await store.close();
      await purgeEngine(options);
      await rm(directory, { recursive: true, force: true });
    },
  };
  const start = async (): Promise<void> => {
    agent = await startAgent({
      nodeName,
      client: createClient(transport),
      engine: fixture.engine,
      address: '127.0.0.1',
      port: 0,
      tls: { ...(await issue(nodeName, [])), clientCa: ca },
      dataDirectory: join(directory, 'node'),
      leaseInterval: 200,
      log: (level, message, fields) => {
        if (level !== 'info') logged.push(`${message} ${JSON.stringify(fields ?? {})}`);
      },
    });
    await agent.ready;
  };
  fixture.image = await addBusyboxImage(fixture.engine.images);
  await start();
  await informer.synced;
  return fixture;
}
