/** A node agent with a real engine and a real API server, all in this process. */
import type { Client } from '#cluster/client/client.ts';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import type { Agent } from '#cluster/node/agent.ts';
import { startAgent } from '#cluster/node/start.ts';
import { type OpenedEngine, openEngine, purgeEngine } from '#engine/open.ts';
import { type AgentApiFixture, agentApiFixture } from './agent-api-fixture.ts';
import { addBusyboxImage } from './busybox-image.ts';

export interface AgentFixture {
  client: Client;
  /** A reference to busybox. */
  image: string;
  nodeName: string;
  engine: OpenedEngine;
  until: AgentApiFixture['until'];
  /** Closes agent and engine, as a restart of their process would. */
  stopNode(): Promise<void>;
  startNode(): Promise<void>;
  close(): Promise<void>;
}

export async function agentFixture(octet: number): Promise<AgentFixture> {
  const api = await agentApiFixture(octet);
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
      log: (level, message, fields) => {
        if (level === 'error') console.error(message, fields);
      },
    });
    await agent.ready;
  };
  const engine = await openEngine(api.engine);
  const fixture: AgentFixture = {
    client: api.client,
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
