/** The rules of services of one node, in a process of their own, to be killed: options as JSON in the first argument. */
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport, type HttpsTransportOptions } from '#cluster/client/https.ts';
import type { ServiceNetwork } from '#cluster/network/services/services.ts';
import { startServiceProxy } from '#cluster/network/services/start.ts';

export interface ServicesProcessOptions {
  network: ServiceNetwork;
  transport: HttpsTransportOptions;
}

const { network, transport } = JSON.parse(process.argv[2] ?? '{}') as ServicesProcessOptions;
const client = createClient(httpsTransport(transport));
const log = (level: string, message: string, fields?: Record<string, unknown>): void => {
  if (level !== 'info') process.stderr.write(`${message} ${JSON.stringify(fields ?? {})}\n`);
};
const proxy = startServiceProxy({ network, nodeName: 'node', client, log });
process.on('message', (versions: { service: string; endpointSlice: string }) => {
  void proxy.settled(versions).then(() => process.send?.('settled'));
});
await proxy.ready;
process.send?.('ready');
