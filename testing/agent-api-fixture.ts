/** A real API server on a real store, for tests of the node agent, with certificates and a view of all pods. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openServiceAccountKeys } from '#cluster/apiserver/authenticators/service-account-keys.ts';
import { startApiServer } from '#cluster/apiserver/server.ts';
import type { Client } from '#cluster/client/client.ts';
import { createClient } from '#cluster/client/create.ts';
import type { HttpsTransportOptions } from '#cluster/client/https.ts';
import { createInformer } from '#cluster/client/informer.ts';
import { storageControllers } from '#cluster/controllers/all.ts';
import type { Controller } from '#cluster/controllers/controller.ts';
import { createGarbageCollector } from '#cluster/controllers/garbage-collector.ts';
import { createRootCaPublisher } from '#cluster/controllers/root-ca.ts';
import { startControllers } from '#cluster/controllers/run.ts';
import { createServiceAccountController } from '#cluster/controllers/service-account.ts';
import { createStatefulSetController } from '#cluster/controllers/stateful-set.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { pods } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import type { ServiceNetwork } from '#cluster/network/services/services.ts';
import type { AgentOptions } from '#cluster/node/agent.ts';
import { startScheduler } from '#cluster/scheduler/start.ts';
import { openSqliteStore } from '#cluster/store/sqlite/open.ts';
import type { EngineOptions } from '#engine/options.ts';
import { createAuthority, issueCertificate, type KeyPair } from '#lib/certificates.ts';

export interface AgentApiFixture {
  directory: string;
  client: Client;
  /** A kubeconfig of an administrator, for stock clients. */
  kubeconfig: string;
  /** What the agent of this node is started with. */
  transport: HttpsTransportOptions;
  agent: Pick<AgentOptions, 'nodeName' | 'tls' | 'dataDirectory'>;
  engine: EngineOptions;
  /** What the rules of services are made for. */
  network: ServiceNetwork;
  pods(): Stored<Pod>[];
  /** Resolves when the pod is as asked; undefined stands for a pod that is gone. */
  until(
    name: string,
    what: string,
    holds: (pod: Stored<Pod> | undefined) => boolean,
    seconds?: number,
  ): Promise<Stored<Pod>>;
  /** The engine's things must be purged by then. */
  close(): Promise<void>;
}

/**
 * `octet` keeps addresses, ids and names of fixtures that run at the same time apart (`claim-octet.ts`). `inCluster`: pods get tokens of their
 * accounts, and reach the API server. `storage`: claims are made, bound and held, and pods scheduled. `dualStack`: pods and Services have
 * IPv6.
 */
export async function agentApiFixture(
  octet: number,
  options: { inCluster?: boolean; storage?: boolean; dualStack?: boolean; controllers?: Controller[] } = {},
): Promise<AgentApiFixture> {
  const directory = await mkdtemp(join(tmpdir(), 'sampan-agent-'));
  const runDirectory = `/run/sampan-agent-test-${octet}-${process.pid}`;
  const nodeName = `node-${octet}`;
  const gateway = `10.97.${octet}.1`;
  const network: ServiceNetwork = {
    instance: `agent-test-${octet}`,
    podCidr: `10.97.${octet}.0/24`,
    clusterCidr: '10.97.0.0/16',
    serviceCidr: `10.240.${octet}.0/24`,
    ...(options.dualStack === true && {
      ipv6: {
        podCidr: `fd00:97:0:${octet}::/64`,
        clusterCidr: 'fd00:97::/48',
        serviceCidr: `fd00:240:0:${octet}::/112`,
      },
    }),
  };
  const authority = await createAuthority({ commonName: 'sampan test', days: 1 });
  const ca = authority.certificate;
  const issue = (commonName: string, organizations: string[]): Promise<KeyPair> =>
    issueCertificate(authority, {
      commonName,
      organizations,
      ips: ['127.0.0.1', gateway, `10.240.${octet}.1`],
      usages: ['server', 'client'],
      days: 1,
    });
  const store = await openSqliteStore({ path: join(directory, 'store.db') });
  const keys = options.inCluster === true ? await openServiceAccountKeys(join(directory, 'keys')) : undefined;
  const api = await startApiServer({
    store,
    host: options.inCluster === true ? '0.0.0.0' : '127.0.0.1',
    port: 0,
    ...(keys === undefined
      ? {}
      : { advertiseAddress: gateway, serviceAccounts: { issuer: 'https://kubernetes.default.svc', keys } }),
    tls: { ...(await issue('kube-apiserver', [])), clientCa: ca },
    agentClient: { ...(await issue('system:apiserver', [])), ca },
    serviceCidr: network.serviceCidr,
    ...(network.ipv6 && { serviceCidr6: network.ipv6.serviceCidr }),
    ...(options.storage === true && { protectStorage: true }),
  });
  const client = createClient(api.transport({ name: 'admin', groups: ['system:masters'] }));
  const stop = new AbortController();
  const controllers = await startControllers(
    [
      ...(keys === undefined ? [] : [createServiceAccountController(), createRootCaPublisher(ca)]),
      ...(options.controllers ?? []),
      ...(options.storage === true
        ? [createStatefulSetController(), createGarbageCollector(), ...storageControllers()]
        : []),
    ],
    { client, log: () => undefined, signal: stop.signal, now: Date.now },
  );
  const scheduler =
    options.storage === true ? await startScheduler({ client, signal: stop.signal, log: () => undefined }) : undefined;
  const pair = await issue(`system:node:${nodeName}`, ['system:nodes']);
  const kubeconfig = join(directory, 'kubeconfig');
  const admin = await issue('admin', ['system:masters']);
  await writeFile(kubeconfig, kubeconfigText(`https://127.0.0.1:${api.port}`, ca, admin), { mode: 0o600 });
  const informer = createInformer(client, pods);
  await informer.synced;
  return {
    directory,
    client,
    kubeconfig,
    transport: { url: `https://127.0.0.1:${api.port}`, ca, ...pair },
    agent: { nodeName, tls: { ...pair, clientCa: ca }, dataDirectory: join(directory, 'node') },
    engine: {
      instance: network.instance,
      dataDirectory: join(directory, 'data'),
      runDirectory,
      network,
      idRange: { first: 65_536 * (1000 + octet * 60), length: 65_536 * 50 },
      sandboxPool: 1,
    },
    network,
    pods: () => informer.list(),
    until(name, what, holds, seconds = 60) {
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
        reject(new Error(`gave up waiting for pod ${name}: ${what}; its status is ${JSON.stringify(find()?.status)}`));
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
      informer.close();
      stop.abort();
      await scheduler?.close();
      await controllers.close();
      await api.close();
      await store.close();
      await rm(directory, { recursive: true, force: true });
      await rm(runDirectory, { recursive: true, force: true });
    },
  };
}

/** JSON is YAML. */
function kubeconfigText(server: string, ca: string, { certificate, key }: KeyPair): string {
  const base64 = (pem: string): string => Buffer.from(pem).toString('base64');
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': base64(ca) } }],
    users: [
      { name: 'admin', user: { 'client-certificate-data': base64(certificate), 'client-key-data': base64(key) } },
    ],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    'current-context': 'test',
  });
}
