/**
 * The cloud controller, UAA and the workload controllers on a real API server with its real controllers, for tests. Two
 * things are stood in for, as they need containers: staging (every build becomes a droplet at once, unless told otherwise)
 * and the nodes (a pod whose gates are lifted runs as the test says).
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { ApiError } from '#cluster/client/client.ts';
import { createInformer } from '#cluster/client/informer.ts';
import { allControllers } from '#cluster/controllers/all.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ContainerStatus, Pod } from '#cluster/kinds/types/core.ts';
import { type ControlPlane, createNode, startControlPlane } from '#testing/control-plane.ts';
import { type AddressGuard, addressGuard, AddressRefused } from '#lib/guarded-address.ts';
import { openDoor } from '#testing/door.ts';
import type { LogEnvelope, Logs } from '../logs/logs.ts';
import { installResources } from '../resources/definitions.ts';
import { createInformers, type Informers } from '../resources/informers.ts';
import { pods } from '../resources/kubernetes.ts';
import { type Build, builds, droplets, labels } from '../resources/types.ts';
import { dockerBuild } from '../staging/builds/docker-build.ts';
import { RegistryClient } from '../staging/images/registry-client.ts';
import type { Resource, Staging } from '../staging/staging.ts';
import type { BrokerNetwork } from '../services/services.ts';
import { startTenants } from '../tenants/start.ts';
import { CLUSTER_ROLES, tokenFacts } from '../tenants/tenants.ts';
import { startUaa } from '../uaa/start.ts';
import { startWorkloads } from '../workloads/start.ts';
import type { Json } from './api.ts';
import { type RunningCloudController, startCloudController } from './start.ts';

/** Well below what a token is good for. */
export const TOKEN_MILLISECONDS = 240_000;

export const DIGEST = `sha256:${'0'.repeat(64)}`;
/** Of a droplet on the newest stack. */
export const REBASED = `sha256:${'1'.repeat(64)}`;

export interface Answer {
  status: number;
  headers: Headers;
  body: Json;
  text: string;
}

export interface Instance {
  ready: boolean;
  restarts?: number;
  exitCode?: number;
  /** It has ended, with this exit code. */
  ended?: number;
  /** Why its container waits. */
  waiting?: string;
}

export interface TestCloud {
  plane: ControlPlane;
  readonly informers: Informers;
  readonly api: RunningCloudController;
  readonly url: string;
  readonly uaaUrl: string;
  /** Stops the platform's part and starts it again on the same API server. */
  restart(meanwhile?: () => Promise<void>): Promise<void>;
  password: string;
  token: string;
  lines: { sourceType: string; message: string; sourceId: string }[];
  uploads: { app: string; zip: Buffer | undefined; resources: Resource[] }[];
  /** Apps of which nobody knows any more what builds left. */
  forgotten: string[];
  problems: string[];
  /** How brokers are reached: on the loopback they are. */
  brokers: BrokerNetwork;
  /** What the next builds do; default: a droplet with a web process. */
  staging: {
    outcome: (build: Stored<Build>) => { types?: Record<string, string>; error?: { code: string; message: string } };
  };
  /** How pods fare; changing it needs `replay`. */
  nodes: { fare: (pod: Stored<Pod>) => Instance; replay: () => void };
  /** Milliseconds that the workload controllers are ahead. */
  clock: { offset: number };
  call(
    method: string,
    path: string,
    body?: unknown,
    options?: { token?: string; headers?: Record<string, string> },
  ): Promise<Answer>;
  /** `call` that must succeed. */
  json(method: string, path: string, body?: unknown): Promise<Json>;
  login(username: string, password: string): Promise<Answer>;
  /** Polls the job of a 202 as clients do. */
  finished(answer: Answer): Promise<Json>;
  until<T>(what: string, look: () => T | undefined | false | Promise<T | undefined | false>): Promise<T>;
  close(): Promise<void>;
}

/** `found`: clients find the servers by their URLs, which else lead nowhere, and UAA's users are known to the API server. */
export async function startTestCloud(
  options: { found?: boolean; tcpPorts?: readonly number[] } = {},
): Promise<TestCloud> {
  const doors = options.found ? { api: await openDoor(), uaa: await openDoor() } : undefined;
  const plane = await startControlPlane(
    doors === undefined
      ? { clusterRoles: CLUSTER_ROLES }
      : {
          clusterRoles: CLUSTER_ROLES,
          oidc: [
            {
              ...tokenFacts,
              issuer: `http://127.0.0.1:${doors.uaa.port}/oauth/token`,
              keysUrl: `http://127.0.0.1:${doors.uaa.port}/token_keys`,
            },
          ],
        },
  );
  const { client } = plane;
  const directory = await mkdtemp(join(tmpdir(), 'sampan-cloud-'));
  const problems: string[] = [];
  const log = (level: string, message: string, fields?: Record<string, unknown>) => {
    if (level === 'info') return;
    problems.push(
      `${message} ${JSON.stringify(fields, (_key, value: unknown) => (value instanceof Error ? value.stack : value))}`,
    );
  };
  const uaaPublic = doors ? `http://127.0.0.1:${doors.uaa.port}` : 'https://uaa.test';
  const apiPublic = doors ? `http://127.0.0.1:${doors.api.port}` : 'https://api.test';
  await plane.start(...allControllers());
  await createNode(client, 'node-1');
  await installResources(client);
  const lines: TestCloud['lines'] = [];
  const logs = memoryLogs(lines);
  const uploads: TestCloud['uploads'] = [];
  const forgotten: string[] = [];
  const staging: TestCloud['staging'] = { outcome: () => ({}) };
  const stopStaging = playStaging(plane, staging);
  const clock = { offset: 0 };
  const nodes = playNode(plane, log);
  const brokers: BrokerNetwork = { guard: addressGuard(() => [], ['127.0.0.1/32']) };
  const open = async () => {
    const informers = createInformers(client);
    const uaa = await startUaa({
      client,
      urls: { uaa: uaaPublic, login: uaaPublic },
      dataDirectory: directory,
      port: 0,
      log,
    });
    const api = await startCloudController({
      informers,
      tokens: uaa.tokens,
      staging: stagingOf(uploads, forgotten),
      brokers,
      logs,
      domain: 'apps.test',
      urls: { api: apiPublic, uaa: uaaPublic, login: uaaPublic, logCache: 'http://127.0.0.1:9' },
      dataDirectory: directory,
      ...(options.tcpPorts && { tcpPorts: () => options.tcpPorts ?? [] }),
      port: 0,
      version: 'test',
      log,
    });
    const workloads = await startWorkloads({
      informers,
      logs,
      apiUrl: apiPublic,
      log,
      now: () => Date.now() + clock.offset,
    });
    const tenants = await startTenants({ informers, log });
    doors?.api.leadTo(api.port);
    doors?.uaa.leadTo(uaa.port);
    return { informers, uaa, api, workloads, tenants };
  };
  let { informers, uaa, api, workloads, tenants } = await open();
  const password = (await readFile(join(directory, 'admin-password'), 'utf8')).trim();
  const url = () => (doors ? apiPublic : `http://127.0.0.1:${api.port}`);
  const uaaUrl = () => (doors ? uaaPublic : `http://127.0.0.1:${uaa.port}`);
  const login: TestCloud['login'] = async (username, secret) => {
    const response = await fetch(`${uaaUrl()}/oauth/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from('cf:').toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'password', username, password: secret }),
    });
    return answerOf(response);
  };
  const administrator = async () => String((await login('admin', password)).body.access_token);
  const token = await administrator();
  // A test on a busy machine may take longer than a token is good for.
  let newest = { token, since: Date.now() };
  const fresh = async (): Promise<string> => {
    if (Date.now() - newest.since > TOKEN_MILLISECONDS) newest = { token: await administrator(), since: Date.now() };
    return newest.token;
  };
  const call: TestCloud['call'] = async (method, path, body, options = {}) => {
    const headers: Record<string, string> = {
      authorization: `bearer ${options.token ?? (await fresh())}`,
      // What is, at once.
      prefer: 'wait=0',
      ...options.headers,
    };
    let content: string | FormData | undefined;
    if (body instanceof FormData || typeof body === 'string') content = body;
    else if (body !== undefined) {
      content = JSON.stringify(body);
      headers['content-type'] = 'application/json';
    }
    const response = await fetch(`${url()}${path}`, {
      method,
      headers,
      ...(content === undefined ? {} : { body: content }),
    });
    return answerOf(response);
  };
  const stop = async () => {
    await tenants.close();
    await workloads.close();
    await api.close();
    await uaa.close();
    informers.close();
  };
  const cloud: TestCloud = {
    plane,
    get informers() {
      return informers;
    },
    get api() {
      return api;
    },
    get url() {
      return url();
    },
    get uaaUrl() {
      return uaaUrl();
    },
    restart: async (meanwhile) => {
      await stop();
      await meanwhile?.();
      ({ informers, uaa, api, workloads, tenants } = await open());
    },
    password,
    token,
    lines,
    uploads,
    forgotten,
    problems,
    brokers,
    staging,
    nodes,
    clock,
    call,
    login,
    json: async (method, path, body) => {
      const answer = await call(method, path, body);
      if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
      return answer.body;
    },
    finished: async (answer) => {
      const location = answer.headers.get('location');
      if (answer.status !== 202 || !location) throw new Error(`no job: ${answer.status} ${answer.text}`);
      return cloud.until('the job', async () => {
        const job = await cloud.json('GET', new URL(location).pathname);
        return job.state !== 'PROCESSING' && job.state !== 'POLLING' && job;
      });
    },
    until: async (what, look) => {
      const { promise: late, reject } = Promise.withResolvers<never>();
      const timer = setTimeout(() => reject(new Error(`waited 60 s for ${what}\n${problems.join('\n')}`)), 60_000);
      try {
        return await Promise.race([late, waitFor(plane, look)]);
      } finally {
        clearTimeout(timer);
      }
    },
    close: async () => {
      await stop();
      stopStaging();
      nodes.stop();
      await doors?.api[Symbol.asyncDispose]();
      await doors?.uaa[Symbol.asyncDispose]();
      await plane.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
  return cloud;
}

/** Looks again after every change in the store. */
async function waitFor<T>(
  plane: ControlPlane,
  look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    // What is waited for may be in this process alone (a job): its next turn is soon enough.
    const { promise, resolve } = Promise.withResolvers<void>();
    setTimeout(resolve, 20);
    await promise;
    plane.context.signal.throwIfAborted();
  }
}

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const json = /json/.test(response.headers.get('content-type') ?? '');
  return { status: response.status, headers: response.headers, text, body: json ? (JSON.parse(text) as Json) : {} };
}

function memoryLogs(lines: TestCloud['lines']): Logs {
  return {
    emit: (line) => {
      lines.push({ sourceType: line.sourceType, sourceId: line.sourceId, message: String(line.message) });
    },
    read: async () => [] as LogEnvelope[],
    subscribe: () => () => undefined,
    forget: () => undefined,
    summaries: () => [],
    close: async () => undefined,
  };
}

function stagingOf(uploads: TestCloud['uploads'], forgotten: string[]): Staging {
  return {
    bits: {
      match: async (resources) => resources.filter((resource) => resource.sha1.startsWith('a')),
      store: async ({ app, zip, resources }) => {
        uploads.push({ app, resources, zip: zip === undefined ? undefined : await readFile(zip) });
        return { image: `registry/cf/${app}@${DIGEST}`, checksum: DIGEST, sizeBytes: 10 };
      },
      read: async () => Readable.from(['zip']),
      copy: async ({ app }) => `registry/cf/${app}@${DIGEST}`,
      forgetBuilds: async (app) => void forgotten.push(app),
      remove: async () => undefined,
    },
    droplets: {
      read: async () => Readable.from(['droplet']),
      billOfMaterials: async () => '{"bomFormat":"CycloneDX"}',
      store: async ({ app, file }) => ({
        image: `registry/cf/${app}@${DIGEST}`,
        checksum: DIGEST,
        sizeBytes: (await readFile(file)).length,
        processTypes: { web: 'node stored.js', worker: 'node worker.js' },
        buildpacks: [{ name: 'nodejs', version: '1.0.0' }],
        stack: 'sampan',
      }),
      copy: async ({ app }) => `registry/cf/${app}@${DIGEST}`,
      rebase: async ({ image }) =>
        image.endsWith(REBASED)
          ? undefined
          : { image: `${image.split('@')[0]}@${REBASED}`, checksum: REBASED, sizeBytes: 5 },
    },
    buildpackFiles: {
      store: async ({ file }) => ({ checksum: DIGEST, sizeBytes: (await readFile(file)).length }),
      remove: async () => undefined,
    },
    prepare: async () => undefined,
    updateStack: async () => undefined,
    buildpacks: () => [{ name: 'nodejs', version: '1.0.0', position: 1, stack: 'sampan' }],
    close: async () => undefined,
  };
}

/** Images of other registries are asked nowhere here: they are the nodes' to pull. */
const NOWHERE: AddressGuard = {
  check: (address) => {
    throw new AddressRefused(address);
  },
  lookup: (host, _options, callback) => callback(new AddressRefused(host), '', 0),
};
const NO_REGISTRY = new RegistryClient({ host: 'registry', ca: '', username: '', password: '' });

function playStaging(plane: ControlPlane, staging: TestCloud['staging']): () => void {
  const { client } = plane;
  const informer = createInformer(client, builds);
  const stage = async (build: Stored<Build>): Promise<void> => {
    const { app } = build.spec;
    const outcome = build.spec.cancelled
      ? { error: { code: 'StagingCancelled', message: 'cancelled' } }
      : staging.outcome(build);
    let guid: string = crypto.randomUUID();
    if (!outcome.error && build.spec.lifecycle.type === 'docker') {
      guid = await dockerBuild({ client, registry: NO_REGISTRY, guard: NOWHERE }, build, plane.context.signal);
    } else if (!outcome.error) {
      await client.create(droplets, {
        metadata: {
          name: guid,
          namespace: build.metadata.namespace ?? '',
          labels: { [labels.app]: app },
          ...(build.metadata.ownerReferences ? { ownerReferences: build.metadata.ownerReferences } : {}),
        },
        spec: {
          app,
          package: build.spec.package,
          build: build.metadata.name,
          image: `registry/cf/${app}@${DIGEST}`,
          processTypes: outcome.types ?? { web: 'node server.js' },
          lifecycle: build.spec.lifecycle.type,
          stack: 'sampan',
          buildpacks: [{ name: 'nodejs', version: '1.0.0' }],
          ports: [8080],
        },
      });
    }
    await client.updateStatus(builds, {
      ...build,
      status: outcome.error ? { state: 'FAILED', error: outcome.error } : { state: 'STAGED', droplet: guid },
    });
  };
  informer.onChange((now) => {
    if (now && (now.status?.state ?? 'STAGING') === 'STAGING') void stage(now).catch(() => undefined);
  });
  return () => informer.close();
}

function playNode(
  plane: ControlPlane,
  log: (level: string, message: string, fields?: Record<string, unknown>) => void,
) {
  const { client } = plane;
  const informer = createInformer(client, pods);
  let address = 1;
  const ips = new Map<string, string>();
  const nodes = {
    fare: (_pod: Stored<Pod>): Instance => ({ ready: true }),
    replay: () => {
      for (const pod of informer.list()) look(pod);
    },
    stop: () => informer.close(),
  };
  const act = async (pod: Stored<Pod>): Promise<void> => {
    const { name, namespace = '', uid } = pod.metadata;
    if (pod.metadata.deletionTimestamp !== undefined) {
      await client.delete(pods, name, { namespace, gracePeriodSeconds: 0, preconditions: { uid } });
    } else if ((pod.spec?.schedulingGates?.length ?? 0) > 0) {
      return;
    } else if (!pod.spec?.nodeName) {
      await client.bind({ name, namespace, uid }, 'node-1');
    } else {
      const status = statusOf(pod, nodes.fare(pod), ips.get(uid) ?? `10.88.0.${address++}`);
      ips.set(uid, status.podIP ?? '');
      if (sameStatus(pod, status)) return;
      await client.updateStatus(pods, { ...pod, status: { ...pod.status, ...status } });
    }
  };
  const look = (pod: Stored<Pod>): void => {
    act(pod).catch((error: unknown) => {
      if (!(error instanceof ApiError && (error.code === 404 || error.code === 409)))
        log('error', 'the node failed', { error });
    });
  };
  informer.onChange((now) => now && look(now));
  return nodes;
}

function sameStatus(pod: Pod, status: NonNullable<Pod['status']>): boolean {
  const key = (value: Pod['status']) =>
    JSON.stringify([
      value?.phase,
      value?.conditions?.find((condition) => condition.type === 'Ready')?.status,
      value?.containerStatuses?.[0]?.restartCount,
      value?.containerStatuses?.[0]?.state?.waiting?.reason,
    ]);
  return key(pod.status) === key(status);
}

const START = new Date().toISOString().replace(/\.\d+Z$/, 'Z');

function stateOf({ waiting, ended }: Instance): ContainerStatus['state'] {
  if (waiting) return { waiting: { reason: waiting } };
  if (ended === undefined) return { running: { startedAt: START } };
  return {
    terminated: {
      exitCode: ended,
      reason: ended === 0 ? 'Completed' : 'Error',
      startedAt: START,
      finishedAt: START,
    },
  };
}

function statusOf(pod: Stored<Pod>, instance: Instance, ip: string): NonNullable<Pod['status']> {
  const restarts = instance.restarts ?? 0;
  const container = (name: string, image = ''): ContainerStatus => ({
    name,
    image,
    imageID: '',
    ready: instance.ready,
    started: instance.ready,
    restartCount: restarts,
    state: stateOf(instance),
    ...(restarts > 0
      ? {
          lastState: {
            terminated: { exitCode: instance.exitCode ?? 1, reason: 'Error', startedAt: START, finishedAt: START },
          },
        }
      : {}),
  });
  const ready = instance.ready ? 'True' : 'False';
  return {
    phase: instance.ended === undefined ? 'Running' : instance.ended === 0 ? 'Succeeded' : 'Failed',
    podIP: ip,
    podIPs: [{ ip }],
    hostIP: '127.0.0.1',
    conditions: [
      { type: 'PodScheduled', status: 'True', lastTransitionTime: START },
      { type: 'ContainersReady', status: ready, lastTransitionTime: START },
      { type: 'Ready', status: ready, lastTransitionTime: START },
    ],
    containerStatuses: (pod.spec?.containers ?? []).map(({ name, image }) => container(name, image)),
  };
}
