/** The cluster's name server in a process of its own, to be killed. Tells its port when it answers. */
import { createClient } from '#cluster/client/create.ts';
import { type HttpsTransportOptions, httpsTransport } from '#cluster/client/https.ts';
import type { DnsOptions } from '#cluster/network/dns/dns.ts';
import { startDns } from '#cluster/network/dns/start.ts';
import { createPodInformer } from '#cluster/network/pods.ts';

export interface DnsProcessOptions {
  dns: Omit<DnsOptions, 'log' | 'servers'>;
  /** Asked for what is not ours. */
  upstream: string;
  transport: HttpsTransportOptions;
}

const { dns, upstream, transport } = JSON.parse(process.argv[2] ?? '') as DnsProcessOptions;
const client = createClient(httpsTransport(transport));
const started = await startDns({
  ...dns,
  servers: async () => [{ address: upstream, port: 53 }],
  log: (level, message, fields) => console.error(level, message, fields),
  client,
  pods: createPodInformer(client, console.error),
});
process.send?.(started.port);
// A test that was killed must not leave it behind.
process.once('disconnect', () => process.exit());
