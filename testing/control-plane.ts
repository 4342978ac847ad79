/** A store and an API server of their own, on a free port, for tests of what stands on them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ApiServerOptions, startApiServer } from '#cluster/apiserver/server.ts';
import { type Client, type ClientObject, ApiError } from '#cluster/client/client.ts';
import { createClient } from '#cluster/client/create.ts';
import { type HttpsTransportOptions, httpsTransport } from '#cluster/client/https.ts';
import { createInformer } from '#cluster/client/informer.ts';
import type { Transport } from '#cluster/client/transport.ts';
import type { Controller, ControllerContext } from '#cluster/controllers/controller.ts';
import { startControllers } from '#cluster/controllers/run.ts';
import type { Stored, TypedResource } from '#cluster/kinds/kind.ts';
import { nodes, pods, serviceAccounts } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { openSqliteStore } from '#cluster/store/sqlite/open.ts';
import type { Store } from '#cluster/store/store.ts';
import { createAuthority, issueCertificate, type KeyPair } from '#lib/certificates.ts';

export interface ControlPlane {
  store: Store;
  /** In-process, as an administrator. */
  client: Client;
  /** Default: as an administrator. */
  inProcess(user?: { name: string; groups: string[] }): Transport;
  /** Over the network, as an administrator. */
  https(): Transport;
  address: HttpsTransportOptions;
  /** Signs who is let in. */
  authority: KeyPair;
  /** What controllers logged as a warning or worse. */
  warnings: string[];
  context: ControllerContext;
  /** Starts controllers until the control plane is closed. */
  start(...controllers: Controller[]): Promise<void>;
  /** Stops them where they are, and starts them again. */
  restartControllers(): Promise<void>;
  /** A namespace with its ServiceAccount `default`. */
  namespace(name: string): Promise<string>;
  /** Closes the API server; in-process transports end with it. The returned function starts another on its port. */
  restart(): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

export async function startControlPlane(
  further: Pick<ApiServerOptions, 'metricsResolution' | 'oidc' | 'clusterRoles' | 'frontProxy' | 'serviceCidr6'> = {},
): Promise<ControlPlane> {
  const directory = await mkdtemp(join(tmpdir(), 'sampan-control-plane-'));
  const authority = await createAuthority({ commonName: 'test', days: 1 });
  const [server, admin] = await Promise.all([
    issueCertificate(authority, {
      commonName: 'kubernetes',
      ips: ['127.0.0.1'],
      dnsNames: ['localhost'],
      usages: ['server'],
      days: 1,
    }),
    issueCertificate(authority, {
      commonName: 'admin',
      organizations: ['system:masters'],
      usages: ['client'],
      days: 1,
    }),
  ]);
  const store = await openSqliteStore({ path: join(directory, 'store.db') });
  const warnings: string[] = [];
  const log: ControllerContext['log'] = (level, message, fields) => {
    if (level !== 'info') warnings.push(`${message} ${JSON.stringify(fields ?? {})}`);
  };
  const startServer = (port: number) =>
    startApiServer({
      store,
      host: '127.0.0.1',
      port,
      tls: { ...server, clientCa: authority.certificate },
      agentClient: { ...admin, ca: authority.certificate },
      serviceCidr: '10.96.0.0/16',
      log,
      ...further,
    });
  let api = await startServer(0);
  const { port } = api;
  const stop = new AbortController();
  const transports = new Set<Transport>();
  const keep = (transport: Transport): Transport => {
    transports.add(transport);
    return transport;
  };
  const inProcess = (user = { name: 'admin', groups: ['system:masters'] }): Transport => keep(api.transport(user));
  const client = createClient(inProcess());
  const context: ControllerContext = { client, signal: stop.signal, log, now: Date.now };
  const address = { url: `https://127.0.0.1:${port}`, ca: authority.certificate, ...admin };
  const started: { controllers: Controller[]; running: { close(): Promise<void> } }[] = [];
  return {
    store,
    client,
    inProcess,
    https: () => keep(httpsTransport(address)),
    address,
    authority,
    warnings,
    context,
    async start(...controllers) {
      started.push({ controllers, running: await startControllers(controllers, context) });
    },
    async restartControllers() {
      for (const group of started) {
        await group.running.close();
        group.running = await startControllers(group.controllers, context);
      }
    },
    async namespace(name) {
      await client.request({ method: 'POST', path: '/api/v1/namespaces', body: { metadata: { name } } });
      await client
        .create(serviceAccounts, { metadata: { name: 'default', namespace: name } })
        .catch((error: unknown) => {
          if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
        });
      return name;
    },
    async restart() {
      await api.close();
      return async () => {
        api = await startServer(port);
      };
    },
    async close() {
      stop.abort();
      for (const { running } of started) await running.close();
      for (const transport of transports) transport.close();
      await api.close();
      await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Resolves with the objects when the condition holds for them; fails after 60 s with what they were then. */
export async function until<T extends ClientObject>(
  client: Client,
  resource: TypedResource<T>,
  namespace: string | undefined,
  condition: (objects: Stored<T>[]) => boolean,
): Promise<Stored<T>[]> {
  const informer = createInformer(client, resource, namespace === undefined ? {} : { namespace });
  try {
    return await new Promise<Stored<T>[]>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new Error(
            `${resource.resource} did not come to what was waited for (${condition}): ${JSON.stringify(informer.list())}`,
          ),
        );
      }, 60_000);
      let synced = false;
      const check = (): void => {
        if (!synced) return;
        const objects = informer.list();
        if (!condition(objects)) return;
        clearTimeout(timer);
        resolve(objects);
      };
      informer.onChange(check);
      informer.synced.then(() => {
        synced = true;
        check();
      }, reject);
    });
  } finally {
    informer.close();
  }
}

/** A Ready node; its lease is not there. */
export async function createNode(
  client: Client,
  name: string,
  allocatable: Record<string, string> = {},
): Promise<void> {
  const resources = { cpu: '4', memory: '8Gi', pods: '110', 'ephemeral-storage': '10Gi', ...allocatable };
  // At once: a node without room would be looked at, and found full, between two writes.
  await client.create(nodes, {
    metadata: { name },
    status: { capacity: resources, allocatable: resources, conditions: [{ type: 'Ready', status: 'True' }] },
  });
}

let address = 1;

/**
 * Stands in for node agents, since no test here needs containers: every pod that is bound runs and is ready at once, every
 * pod that is to stop is gone at once. `ready` may hold pods back. Returns how to stop it.
 */
export function playNodes(client: Client, options: { ready?: (pod: Stored<Pod>) => boolean } = {}): () => void {
  return playPods(client, async (pod) => {
    const { name, namespace = '', uid } = pod.metadata;
    if (pod.metadata.deletionTimestamp !== undefined) {
      await client.delete(pods, name, { namespace, gracePeriodSeconds: 0, preconditions: { uid } });
    } else if (pod.spec?.nodeName && (pod.status?.phase ?? 'Pending') === 'Pending') {
      await setReady(client, pod, options.ready?.(pod) ?? true);
    }
  });
}

/** Until it is stopped: what is under way then may fail, as nobody waits for it. */
export function playPods(client: Client, act: (pod: Stored<Pod>) => Promise<void>): () => void {
  const informer = createInformer(client, pods);
  let isStopped = false;
  informer.onChange((now) => {
    if (!now) return;
    act(now).catch((error: unknown) => {
      const isLate = error instanceof ApiError && (error.code === 404 || error.code === 409);
      if (!isStopped && !isLate) throw error;
    });
  });
  return () => {
    isStopped = true;
    informer.close();
  };
}

export async function setReady(client: Client, pod: Stored<Pod>, ready: boolean): Promise<void> {
  const time = `${new Date().toISOString().slice(0, 19)}Z`;
  const status = ready ? 'True' : 'False';
  const podIP = pod.status?.podIP ?? `10.88.${Math.floor(address / 250)}.${(address++ % 250) + 1}`;
  await client.updateStatus(pods, {
    ...pod,
    status: {
      ...pod.status,
      phase: 'Running',
      startTime: pod.status?.startTime ?? time,
      podIP,
      podIPs: [{ ip: podIP }],
      conditions: [
        ...(pod.status?.conditions ?? []).filter(({ type }) => type !== 'Ready' && type !== 'ContainersReady'),
        { type: 'ContainersReady', status, lastTransitionTime: time },
        { type: 'Ready', status, lastTransitionTime: time },
      ],
    },
  });
}

/** Binds pods without a scheduler, all to one node. */
export function playScheduler(client: Client, node: string): () => void {
  return playPods(client, async ({ spec, metadata }) => {
    if (spec?.nodeName || metadata.deletionTimestamp !== undefined) return;
    const { name, namespace = '', uid } = metadata;
    await client.bind({ name, namespace, uid }, node);
  });
}
