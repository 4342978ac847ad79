/** The server of a cluster of hosts (`hosts.ts`), in this process: API, every controller and the scheduler, found by its address alone. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openServiceAccountKeys } from '#cluster/apiserver/authenticators/service-account-keys.ts';
import { startApiServer } from '#cluster/apiserver/server.ts';
import type { Client } from '#cluster/client/client.ts';
import { createClient } from '#cluster/client/create.ts';
import { clusterDnsAddress } from '#cluster/network/dns/dns.ts';
import { allControllers } from '#cluster/controllers/all.ts';
import { startControllers } from '#cluster/controllers/run.ts';
import { secrets } from '#cluster/kinds/resources.ts';
import { startScheduler } from '#cluster/scheduler/start.ts';
import { openSqliteStore } from '#cluster/store/sqlite/open.ts';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import type { HostNode } from './host-agent.fixture.ts';
import { CLUSTER } from './hosts.ts';
import { kubeconfigText } from './kubectl.ts';

const TOKEN = { id: 'abcdef', secret: '0123456789abcdef' };

export interface HostsServer extends AsyncDisposable {
  /** As an administrator. */
  client: Client;
  /** What a host's node is started with. */
  node: HostNode;
  /** A stock kubectl as an administrator; resolves with what it printed. */
  kubectl(...args: string[]): Promise<string>;
}

export interface HostsServerOptions {
  /** To listen on, and be found by. */
  address: string;
  /** Of nodes, in milliseconds: how often each says that it lives, and the silence after which it is lost. */
  leaseInterval: number;
  leaseGrace: number;
  /** How long pods stay on a lost node. */
  tolerationSeconds: number;
  /** Of the hosts' own network. */
  loadBalancerPool?: string[];
  /** Pods and Services have IPv6 too. */
  dualStack?: boolean;
}

export async function startHostsServer(options: HostsServerOptions): Promise<HostsServer> {
  const { address } = options;
  const directory = await mkdtemp(join(tmpdir(), 'sampan-hosts-server-'));
  const authority = await createAuthority({ commonName: 'hosts', days: 1 });
  const ca = authority.certificate;
  const [serving, dialing, admin] = await Promise.all([
    issueCertificate(authority, { commonName: 'kubernetes', ips: [address], usages: ['server'], days: 1 }),
    issueCertificate(authority, { commonName: 'system:apiserver', usages: ['client'], days: 1 }),
    issueCertificate(authority, {
      commonName: 'admin',
      organizations: ['system:masters'],
      usages: ['client'],
      days: 1,
    }),
  ]);
  const store = await openSqliteStore({ path: join(directory, 'store.db') });
  const keys = await openServiceAccountKeys(join(directory, 'keys'));
  const log = (level: string, message: string, fields?: Record<string, unknown>): void => {
    if (level === 'error') process.stderr.write(`server: ${message} ${JSON.stringify(fields ?? {})}\n`);
  };
  const api = await startApiServer({
    store,
    host: address,
    port: 0,
    tls: { ...serving, clientCa: ca },
    agentClient: { ...dialing, ca },
    serviceCidr: CLUSTER.serviceCidr,
    ...(options.dualStack === true && { serviceCidr6: CLUSTER.ipv6.serviceCidr }),
    advertiseAddress: address,
    serviceAccounts: { issuer: 'https://kubernetes.default.svc', keys },
    taintNewNodes: true,
    defaultTolerationSeconds: options.tolerationSeconds,
    log,
  });
  const client = createClient(api.transport({ name: 'system:kube-controller-manager', groups: ['system:masters'] }));
  const stop = new AbortController();
  const controllers = await startControllers(
    allControllers({
      tokens: { sign: keys.sign, ca },
      clusterDns: clusterDnsAddress(CLUSTER.serviceCidr),
      nodeRanges: {
        clusterCidr: CLUSTER.clusterCidr,
        ...(options.dualStack === true && { clusterCidr6: CLUSTER.ipv6.clusterCidr }),
      },
      certificates: {
        reserved: { commonNames: [], organizations: [] },
        authority,
        serverCertificates: [serving.certificate],
      },
      nodeLifecycle: { leaseGrace: options.leaseGrace },
      loadBalancerPool: options.loadBalancerPool ?? [],
    }),
    { client, log, signal: stop.signal, now: Date.now },
  );
  const scheduler = await startScheduler({ client, signal: stop.signal, log });
  await client.create(secrets, {
    metadata: { name: `bootstrap-token-${TOKEN.id}`, namespace: 'kube-system' },
    type: 'bootstrap.kubernetes.io/token',
    stringData: {
      'token-id': TOKEN.id,
      'token-secret': TOKEN.secret,
      'usage-bootstrap-authentication': 'true',
      'auth-extra-groups': 'system:bootstrappers:sampan:nodes',
    },
  });
  const url = `https://${address}:${api.port}`;
  const kubeconfig = join(directory, 'kubeconfig');
  await writeFile(kubeconfig, kubeconfigText({ url, ca, ...admin }), { mode: 0o600 });
  return {
    client,
    node: {
      server: { url, ca },
      bootstrapToken: `${TOKEN.id}.${TOKEN.secret}`,
      leaseInterval: options.leaseInterval,
      loadBalancerPool: options.loadBalancerPool ?? [],
      ...(options.dualStack === true && { ipv6: CLUSTER.ipv6 }),
    },
    async kubectl(...args) {
      const all = ['--kubeconfig', kubeconfig, '--cache-dir', join(directory, 'cache'), ...args];
      return (await promisify(execFile)('kubectl', all, { timeout: 60_000 })).stdout;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await scheduler.close();
      await controllers.close();
      await api.close();
      await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
