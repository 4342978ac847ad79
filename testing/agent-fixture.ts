/** A node agent with a real engine and a real API server, all in this process. */
import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Client } from '#cluster/client/client.ts';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import type { Agent } from '#cluster/node/agent.ts';
import type { NodePolicy } from '#cluster/node/security.ts';
import { startAgent } from '#cluster/node/start.ts';
import { type OpenedEngine, openEngine, purgeEngine } from '#engine/open.ts';
import { type AgentApiFixture, agentApiFixture } from './agent-api-fixture.ts';
import { addBusyboxImage } from './busybox-image.ts';

const run = promisify(execFile);

export interface AgentFixture {
  client: Client;
  kubeconfig: string;
  /** A reference to busybox. */
  image: string;
  nodeName: string;
  engine: OpenedEngine;
  until: AgentApiFixture['until'];
  /** Closes agent and engine, as a restart of their process would. */
  stopNode(): Promise<void>;
  startNode(): Promise<void>;
  /** What a reboot takes: every process of the containers, the mounts and the run directory. */
  reboot(): Promise<void>;
  close(): Promise<void>;
}

export async function agentFixture(
  octet: number,
  options: { inCluster?: boolean; policy?: NodePolicy; renewTokensAfter?: number } = {},
): Promise<AgentFixture> {
  const api = await agentApiFixture(octet, options);
  const transport = httpsTransport(api.transport);
  let agent: Agent;
  const start = async (engine: OpenedEngine): Promise<void> => {
    agent = await startAgent({
      ...api.agent,
      client: createClient(transport),
      engine,
      address: '127.0.0.1',
      port: 0,
      leaseInterval: 200,
      ...(options.policy === undefined ? {} : { policy: options.policy }),
      ...(options.renewTokensAfter === undefined ? {} : { renewTokensAfter: options.renewTokensAfter }),
      log: (level, message, fields) => {
        if (level === 'error') console.error(message, fields);
      },
    });
    await agent.ready;
  };
  const engine = await openEngine(api.engine);
  const fixture: AgentFixture = {
    client: api.client,
    kubeconfig: api.kubeconfig,
    image: await addBusyboxImage(engine.images),
    nodeName: api.agent.nodeName,
    engine,
    until: api.until,
    async stopNode() {
      await agent.close();
      await fixture.engine.close();
    },
    async startNode() {
      fixture.engine = await openEngine(api.engine);
      await start(fixture.engine);
    },
    async reboot() {
      const running = fixture.engine.containers();
      await fixture.stopNode();
      for (const { pid } of running) if (pid !== undefined) process.kill(pid, 'SIGKILL');
      const { runDirectory, dataDirectory } = api.engine;
      const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
      const own = mounts.filter((path) => path.startsWith(`${runDirectory}/`) || path.startsWith(`${dataDirectory}/`));
      for (const path of own.reverse()) await run('umount', ['--lazy', path]);
      await rm(runDirectory, { recursive: true, force: true });
      await fixture.startNode();
    },
    async close() {
      await agent.close();
      await fixture.engine.close();
      transport.close();
      await purgeEngine(api.engine);
      await api.close();
    },
  };
  await start(engine);
  return fixture;
}
