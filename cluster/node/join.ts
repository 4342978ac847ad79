/**
 * How a host becomes a node, and comes back as the same: its certificates and its share of the pod range.
 *
 * A new one shows a bootstrap token and asks for a client certificate for `system:node:<name>` (Kubernetes "TLS bootstrapping"). As
 * that node it makes its Node, says its addresses, waits for `spec.podCIDR`, and asks for a serving certificate for its endpoint. All
 * of it is kept below `directory`; a node that has everything, and whose certificates are still good for a while, asks nobody: it
 * takes up its pods while the API server is away. Nothing is assumed of the server but its address and its authority.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { ApiError, type Client } from '../client/client.ts';
import { createClient } from '../client/create.ts';
import { type HttpsTransportOptions, httpsTransport } from '../client/https.ts';
import { createInformer } from '../client/informer.ts';
import { nodes } from '../kinds/resources.ts';
import type { Node, NodeAddress } from '../kinds/types/core.ts';
import type { AgentOptions } from './agent.ts';
import { type CertificatePair, freshPair, pairPath, readPair, requestCertificate } from './certificates.ts';

export interface JoinOptions {
  nodeName: string;
  /** Of this host, where others reach it. */
  address: string;
  /** Kept from others: mode 0700. */
  directory: string;
  server: { url: string; ca: string };
  /** Needed once, by a node that has no certificate. */
  bootstrapToken?: string;
  signal: AbortSignal;
  log: AgentOptions['log'];
}

export interface JoinedNode {
  /** To speak to the API server as this node. */
  transport: HttpsTransportOptions;
  /** For the agent's endpoint. */
  tls: CertificatePair;
  podCidr: string;
  /** Of IPv6, where the cluster's pods have that. */
  podCidr6?: string;
  /** When, in milliseconds since the epoch, `joinCluster` is to be called again for new certificates. */
  renewAt: number;
}

const RETRY_AFTER = 1000;

/** Tries until it is done or aborted; rejects at once where it was refused. */
export async function joinCluster(options: JoinOptions): Promise<JoinedNode> {
  const { directory, signal, log } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (;;) {
    try {
      return await tryToJoin(options);
    } catch (error) {
      signal.throwIfAborted();
      // No answer, or one that says nothing about us.
      if (!(error instanceof ApiError && (error.code === 0 || error.code === 409 || error.code >= 429))) throw error;
      log('warn', 'the node has not joined its cluster yet; it is tried again', { error: error.message });
      await delay(RETRY_AFTER, undefined, { signal });
    }
  }
}

async function tryToJoin(options: JoinOptions): Promise<JoinedNode> {
  const { directory, nodeName, address, server, signal } = options;
  const own = await clientPair(options);
  const transport = { ...server, ...own };
  const known = await readPodRanges(directory);
  const serving = freshPair(await readPair(directory, 'serving'), { names: [nodeName, address] });
  if (known !== undefined && serving !== undefined) return joined(transport, own, serving, known);
  const connection = httpsTransport(transport);
  try {
    const client = createClient(connection);
    const ranges = known ?? (await obtainPodRanges(client, options));
    await writeFileAtomic(join(directory, 'pod-range'), ranges.join('\n'));
    if (serving !== undefined) return joined(transport, own, serving, ranges);
    await sayAddresses(client, options, ranges);
    const tls = await requestCertificate(client, {
      signerName: 'kubernetes.io/kubelet-serving',
      usage: 'server auth',
      nodeName,
      names: { dnsNames: [nodeName], ips: [address] },
      path: pairPath(directory, 'serving'),
      signal,
      log: options.log,
    });
    return joined(transport, own, tls, ranges);
  } finally {
    connection.close();
  }
}

function joined(
  transport: HttpsTransportOptions,
  own: CertificatePair,
  tls: CertificatePair,
  [podCidr, podCidr6]: PodRanges,
): JoinedNode {
  const ranges = { podCidr, ...(podCidr6 !== undefined && { podCidr6 }) };
  return { transport, tls, ...ranges, renewAt: Math.min(own.renewAt, tls.renewAt) };
}

async function clientPair({
  directory,
  nodeName,
  server,
  bootstrapToken,
  signal,
  log,
}: JoinOptions): Promise<CertificatePair> {
  const there = await readPair(directory, 'client');
  const fresh = freshPair(there, {});
  if (fresh !== undefined) return fresh;
  // One that is about to end, and has not yet, is enough to ask for the next.
  const identity = there !== undefined && there.endsAt > Date.now() ? there : undefined;
  if (identity === undefined && bootstrapToken === undefined)
    throw new ApiError(
      401,
      'Unauthorized',
      `node ${nodeName} has no certificate that is valid, and no bootstrap token to ask for one: join it again`,
    );
  const connection = httpsTransport({ ...server, ...(identity ?? { token: bootstrapToken ?? '' }) });
  try {
    return await requestCertificate(createClient(connection), {
      signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
      usage: 'client auth',
      nodeName,
      names: {},
      path: pairPath(directory, 'client'),
      signal,
      log,
    });
  } finally {
    connection.close();
  }
}

/** Of IPv4, and perhaps of IPv6; a line each. */
type PodRanges = [string, ...string[]];

async function readPodRanges(directory: string): Promise<PodRanges | undefined> {
  try {
    const [first, ...rest] = (await readFile(join(directory, 'pod-range'), 'utf8')).trim().split('\n');
    return first ? [first, ...rest] : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function obtainPodRanges(client: Client, options: JoinOptions): Promise<PodRanges> {
  const { nodeName, signal, log } = options;
  await makeNode(client, nodeName);
  const informer = createInformer(client, nodes, {
    fieldSelector: `metadata.name=${nodeName}`,
    onError: (error) => log('warn', 'the node is not seen yet; it is tried again', { error: String(error) }),
  });
  const { promise, resolve, reject } = Promise.withResolvers<PodRanges>();
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  informer.onChange((node) => {
    const [first, ...rest] = node?.spec?.podCIDRs ?? [];
    if (first) resolve([first, ...rest]);
  });
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
    informer.close();
  }
}

async function makeNode(client: Client, name: string, spec: Node['spec'] = {}): Promise<void> {
  const fresh: Node = { apiVersion: 'v1', kind: 'Node', metadata: { name }, spec };
  await client.create(nodes, fresh).catch((error: unknown) => {
    if (!(error instanceof ApiError && error.code === 409)) throw error;
  });
}

/** A serving certificate is given for addresses that the Node has. */
async function sayAddresses(client: Client, { nodeName, address }: JoinOptions, ranges: PodRanges): Promise<void> {
  await makeNode(client, nodeName, { podCIDR: ranges[0], podCIDRs: ranges });
  const addresses: NodeAddress[] = [
    { type: 'InternalIP', address },
    { type: 'Hostname', address: nodeName },
  ];
  await client.patch(nodes, nodeName, { type: 'merge', body: { status: { addresses } } }, { subresource: 'status' });
}
