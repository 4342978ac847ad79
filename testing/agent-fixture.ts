/** A node agent with a real engine and a real API server, all in this process. */
import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Client } from '#cluster/client/client.ts';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import type { Controller } from '#cluster/controllers/controller.ts';
import type { ServiceNetwork, ServiceProxy } from '#cluster/network/services/services.ts';
import { removeServices, startServiceProxy } from '#cluster/network/services/start.ts';
import type { Agent, AgentOptions } from '#cluster/node/agent.ts';
import type { EvictionOptions } from '#cluster/node/eviction.ts';
import type { NodePolicy } from '#cluster/node/security.ts';
import { startAgent } from '#cluster/node/start.ts';
import { type OpenedEngine, openEngine, purgeEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';
import { type AgentApiFixture, agentApiFixture } from './agent-api-fixture.ts';
import { addBusyboxImage } from './busybox-image.ts';

const run = promisify(execFile);

export interface AgentFixture {
  api: AgentApiFixture;
  client: Client;
  kubeconfig: string;
  /** A reference to busybox. */
  image: string;
  nodeName: string;
  engine: OpenedEngine;
  services: ServiceProxy;
  network: ServiceNetwork;
  /** Of the API server. */
  url: string;
  until: AgentApiFixture['until'];
  /** Closes agent and engine, as a restart of their process would. */
  stopNode(): Promise<void>;
  /** `offline`: nothing answers where the API server should be. */
  startNode(options?: { offline?: boolean }): Promise<void>;
  /** What a reboot takes: every process of the containers, the mounts and the run directory. */
  reboot(): Promise<void>;
  close(): Promise<void>;
}

export async function agentFixture(
  octet: number,
  options: {
    /** Pods have tokens and reach the API server: the rules of services are there too. */
    inCluster?: boolean;
    /** Claims are made, bound and held, and pods scheduled. */
    storage?: boolean;
    /** Pods and Services have IPv6. */
    dualStack?: boolean;
    policy?: NodePolicy;
    engine?: Partial<EngineOptions>;
    eviction?: EvictionOptions;
    staticPods?: string;
    renewTokensAfter?: number;
    controllers?: Controller[];
    loadBalancerPool?: string[];
    agent?: (api: AgentApiFixture) => Partial<AgentOptions>;
  } = {},
): Promise<AgentFixture> {
  const api = await agentApiFixture(octet, options);
  const transport = httpsTransport(api.transport);
  const engineOptions = { ...api.engine, ...options.engine };
  let agent: Agent;
  let services: ServiceProxy | undefined;
  const nowhere = httpsTransport({ ...api.transport, url: 'https://127.0.0.1:1' });
  const start = async (engine: OpenedEngine, offline = false): Promise<void> => {
    const client = createClient(offline ? nowhere : transport);
    const log: AgentOptions['log'] = (level, message, fields) => {
      if (level === 'error') console.error(message, fields);
    };
    if (options.inCluster === true) {
      const { loadBalancerPool = [] } = options;
      const { nodeName } = api.agent;
      const announce = (addresses: readonly string[]): void => engine.announce(addresses);
      services = startServiceProxy({ network: api.network, nodeName, client, loadBalancerPool, announce, log });
    }
    agent = await startAgent({
      ...api.agent,
      ...options.agent?.(api),
      client,
      engine,
      address: '127.0.0.1',
      port: 0,
      leaseInterval: 200,
      ...(options.policy === undefined ? {} : { policy: options.policy }),
      ...(options.eviction === undefined ? {} : { eviction: options.eviction }),
      ...(options.staticPods === undefined ? {} : { staticPods: options.staticPods }),
      ...(options.renewTokensAfter === undefined ? {} : { renewTokensAfter: options.renewTokensAfter }),
      log,
    });
    if (!offline) await Promise.all([agent.ready, services?.ready]);
  };
  const engine = await openEngine(engineOptions);
  const fixture: AgentFixture = {
    api,
    client: api.client,
    kubeconfig: api.kubeconfig,
    image: await addBusyboxImage(engine.images),
    nodeName: api.agent.nodeName,
    engine,
    until: api.until,
    get services() {
      if (services === undefined) throw new Error('without `inCluster` there are no rules of services');
      return services;
    },
    network: api.network,
    url: api.transport.url,
    async stopNode() {
      await agent.close();
      await services?.close();
      await fixture.engine.close();
    },
    async startNode(startOptions) {
      fixture.engine = await openEngine(engineOptions);
      await start(fixture.engine, startOptions?.offline);
    },
    async reboot() {
      const running = fixture.engine.containers();
      await fixture.stopNode();
      for (const { pid } of running) if (pid !== undefined) process.kill(pid, 'SIGKILL');
      const { runDirectory, dataDirectory } = engineOptions;
      const roots = [runDirectory, dataDirectory, api.agent.dataDirectory].map((path) => `${path}/`);
      const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
      const own = mounts.filter((path) => roots.some((root) => path.startsWith(root)));
      for (const path of own.reverse()) await run('umount', ['--lazy', path]);
      await rm(runDirectory, { recursive: true, force: true });
      await fixture.startNode();
    },
    async close() {
      await fixture.stopNode();
      transport.close();
      nowhere.close();
      await removeServices(api.network.instance);
      await purgeEngine(engineOptions);
      await api.close();
    },
  };
  await start(engine);
  return fixture;
}
