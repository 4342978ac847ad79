/** A node agent with its engine in a process of its own, to be killed: options as JSON in the first argument. */
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport, type HttpsTransportOptions } from '#cluster/client/https.ts';
import type { AgentOptions } from '#cluster/node/agent.ts';
import { startAgent } from '#cluster/node/start.ts';
import { openEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';
import { addBusyboxImage } from './busybox-image.ts';

export interface AgentProcessOptions {
  engine: EngineOptions;
  agent: Pick<AgentOptions, 'nodeName' | 'tls' | 'dataDirectory'>;
  transport: HttpsTransportOptions;
}

const options = JSON.parse(process.argv[2] ?? '{}') as AgentProcessOptions;
const engine = await openEngine(options.engine);
await addBusyboxImage(engine.images);
const agent = await startAgent({
  ...options.agent,
  engine,
  client: createClient(httpsTransport(options.transport)),
  address: '127.0.0.1',
  port: 0,
  log: () => {},
});
await agent.ready;
process.send?.('ready');
