/** A node with a pod that asks, and the cluster's name server in a process of its own: for tests and measurements. */
import { join } from 'node:path';
import type { Stored } from '#cluster/kinds/kind.ts';
import { pods } from '#cluster/kinds/resources.ts';
import type { Pod, PodSpec } from '#cluster/kinds/types/core.ts';
import { clusterDnsAddress } from '#cluster/network/dns/dns.ts';
import { purgeTables } from '#cluster/network/tables.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import type { DnsProcessOptions } from './dns-process.fixture.ts';
import { type TestDns, serveDns } from './dns-upstream.ts';
import { KillableProgram } from './killable.ts';
import { exchange } from './pod-sockets.ts';

const namespace = 'default';
const domain = 'cluster.local';

export interface DnsBed extends AsyncDisposable {
  node: AgentFixture;
  upstream: TestDns;
  dns: DnsProcessOptions['dns'];
  /** @returns the port */
  startServer(): Promise<number>;
  /** With SIGKILL. */
  killServer(): Promise<void>;
  run(name: string, spec?: Partial<PodSpec>, annotations?: Record<string, string>): Promise<Stored<Pod>>;
  networkOf(pod: string): string;
  /** One question by UDP, from a pod to the cluster IP. */
  ask(pod: string, message: Buffer): Promise<Buffer>;
}

/** @param octet  as of `agentApiFixture` */
export async function openDnsBed(octet: number, names: Record<string, string>): Promise<DnsBed> {
  const upstream = await serveDns(names);
  const node = await agentFixture(octet, {
    agent: ({ network }) => ({ names: { server: clusterDnsAddress(network.serviceCidr), domain } }),
  });
  const { network } = node.api;
  const gateway = network.podCidr.replace(/0\/24$/, '1');
  const dns = {
    domain,
    clusterIp: clusterDnsAddress(network.serviceCidr),
    gateway,
    ...network,
    localZones: [{ domain: 'apps.test', address: gateway }],
    portFile: join(node.api.directory, 'dns-port'),
  };
  const options: DnsProcessOptions = { dns, upstream: upstream.address, transport: node.api.transport };
  const server = new KillableProgram('dns-process.fixture.ts', options);
  const bed: DnsBed = {
    node,
    upstream,
    dns,
    startServer: async () => Number(await server.start()),
    killServer: () => server.kill(),
    async run(name, spec = {}, annotations = {}) {
      const main = { name: 'main', image: node.image, imagePullPolicy: 'IfNotPresent', command: ['sleep', '1000'] };
      await node.client.create(pods, {
        metadata: { name, namespace, annotations, labels: { app: name } },
        spec: { nodeName: node.nodeName, terminationGracePeriodSeconds: 0, containers: [main], ...spec },
      });
      return await node.until(name, 'running', (pod) => pod?.status?.phase === 'Running');
    },
    networkOf(pod) {
      const sandbox = node.engine.sandboxes().find((one) => one.name.startsWith(`${namespace}/${pod}/`));
      return sandbox?.networkNamespacePath ?? '';
    },
    async ask(pod, message) {
      const at = { ip: dns.clusterIp, port: 53, message, signal: AbortSignal.timeout(30_000) };
      return await exchange(bed.networkOf(pod), at);
    },
    async [Symbol.asyncDispose]() {
      await bed.killServer();
      await purgeTables(dns.instance);
      await node.close();
      await upstream[Symbol.asyncDispose]();
    },
  };
  return bed;
}
