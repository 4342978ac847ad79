/** A node agent with its engine, and the rules of services, in a process of its own, to be killed: options as JSON in the first argument. */
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport, type HttpsTransportOptions } from '#cluster/client/https.ts';
import type { ServiceNetwork } from '#cluster/network/services/services.ts';
import { startServiceProxy } from '#cluster/network/services/start.ts';
import type { AgentOptions } from '#cluster/node/agent.ts';
import { startAgent } from '#cluster/node/start.ts';
import { openEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';
import { addBusyboxImage } from './busybox-image.ts';

export interface AgentProcessOptions {
  engine: EngineOptions;
  agent: Pick<AgentOptions, 'nodeName' | 'tls' | 'dataDirectory'>;
  transport: HttpsTransportOptions;
  /** Rules of services are kept too. */
  network?: ServiceNetwork;
}

const options = JSON.parse(process.argv[2] ?? '{}') as AgentProcessOptions;
const engine = await openEngine(options.engine);
await addBusyboxImage(engine.images);
const client = createClient(httpsTransport(options.transport));
const { network } = options;
const services =
  network === undefined
    ? undefined
    : startServiceProxy({ network, nodeName: options.agent.nodeName, client, log: () => {} });
const agent = await startAgent({
  ...options.agent,
  engine,
  client,
  address: '127.0.0.1',
  port: 0,
  log: () => {},
});
await Promise.all([agent.ready, services?.ready]);
process.send?.('ready');
