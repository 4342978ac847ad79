/**
 * The node's own object and its lease. The lease is renewed every `leaseInterval`: that it goes on says that the node
 * lives. The node's status is written at the start, and then every 5 minutes, as it hardly changes; and at once where somebody
 * else says of this node that it is not ready (the server may have been the one that was away), or that it has more.
 */
import { orUndefined } from '../client/api-errors.ts';
import { ApiError, type Client, type Informer } from '../client/client.ts';
import { createInformer } from '../client/informer.ts';
import { leases, namespaces, nodes } from '../kinds/resources.ts';
import type { Lease } from '../kinds/types/coordination.ts';
import type { Node } from '../kinds/types/core.ts';
import type { AgentOptions } from './agent.ts';
import { messageOf } from './errors.ts';
import { isAllocated, type NodeFacts, nodeLabels, nodeStatus, withdrawn } from './node-object.ts';

const leaseNamespace = 'kube-node-lease';
/** For a server that is busy, not gone. */
const shortestWait = 2000;
const statusInterval = 300_000;
const retryAfter = 1000;
const NEVER = Number.NEGATIVE_INFINITY;

export interface RegistrationOptions {
  client: Client;
  facts: NodeFacts;
  leaseInterval: number;
  log: AgentOptions['log'];
}

export class Registration {
  readonly #options: RegistrationOptions;
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #own: Informer<Node> | undefined;
  #uid = '';
  /** By a clock that nobody sets. */
  #statusAt = NEVER;
  /** The images that were told of last. */
  #images = '';
  #beating: Promise<void> = Promise.resolve();

  constructor(options: RegistrationOptions) {
    this.#options = options;
  }

  /** Resolves when the node is there and its lease is held; tries until then, or until `close`. */
  async start(): Promise<void> {
    for (;;) {
      try {
        await this.#register();
        await this.#renew();
        break;
      } catch (error) {
        this.#abort.signal.throwIfAborted();
        this.#options.log('warn', 'the node is not registered yet', { error: messageOf(error) });
        await pause(retryAfter, this.#abort.signal);
      }
    }
    this.#arm(this.#options.leaseInterval);
    this.#watchOwn();
  }

  #watchOwn(): void {
    const { client, facts, leaseInterval, log } = this.#options;
    const own = createInformer(client, nodes, {
      fieldSelector: `metadata.name=${facts.nodeName}`,
      onError: (error) => log('warn', 'the watch on the own node broke off', { error: messageOf(error) }),
    });
    own.onChange((node) => {
      if (node === undefined) return;
      const conditions = node.status?.conditions ?? [];
      const isReady = !conditions.some(({ type, status }) => type === 'Ready' && status !== 'True');
      if (isReady && isAllocated(node)) return;
      // Not more often than otherwise: whoever says so may say it again.
      this.#statusAt = NEVER;
      this.#arm(Math.min(retryAfter, leaseInterval));
    });
    this.#own = own;
  }

  /** The node's status changed: it is written without waiting for its time. */
  changed(): void {
    this.#statusAt = NEVER;
    if (this.#timer !== undefined) this.#arm(0);
  }

  async close(): Promise<void> {
    this.#abort.abort(new Error('the agent was closed'));
    this.#own?.close();
    clearTimeout(this.#timer);
    await this.#beating;
  }

  #arm(delay: number): void {
    if (this.#abort.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#beating = this.#beating.then(() => this.#beat());
    }, delay);
  }

  async #beat(): Promise<void> {
    const { leaseInterval, log } = this.#options;
    try {
      await this.#renew();
      const isDue = performance.now() - this.#statusAt >= statusInterval;
      if (isDue || this.#images !== imagesKey(this.#options.facts)) await this.#register();
      this.#arm(leaseInterval);
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      log('warn', 'the node did not renew its lease', { error: messageOf(error) });
      this.#statusAt = NEVER; // it may be held for dead by then: its next beat says the whole status again
      this.#arm(Math.min(retryAfter, leaseInterval));
    }
  }

  async #register(): Promise<void> {
    const { client, facts, log } = this.#options;
    const name = facts.nodeName;
    const labels = nodeLabels(facts);
    // What the engine was opened with; addresses of its pods are of it, whatever the Node says.
    const { subnet: podCIDR, ipv6 } = facts.info.bridge;
    const podCIDRs = [podCIDR, ...(ipv6 === undefined ? [] : [ipv6.subnet])];
    let node = await orUndefined(client.get(nodes, name));
    if (!node) {
      const taints = facts.settings.taints?.map((taint) => ({ ...taint }));
      const spec = { podCIDR, podCIDRs, ...(taints && { taints }) };
      const fresh: Node = { apiVersion: 'v1', kind: 'Node', metadata: { name, labels }, spec };
      node = await orUndefined(client.create(nodes, fresh), 409);
      node ??= await client.get(nodes, name);
    }
    const known = node.metadata.labels ?? {};
    if (Object.entries(labels).some(([key, value]) => known[key] !== value)) {
      await client.patch(nodes, name, { type: 'merge', body: { metadata: { labels } } });
    }
    const said = node.spec?.podCIDRs ?? [];
    if (said.length < podCIDRs.length && (said[0] ?? podCIDR) === podCIDR)
      await client.patch(nodes, name, { type: 'merge', body: { spec: { podCIDR, podCIDRs } } });
    else if (said[0] !== podCIDR || (ipv6 !== undefined && said[1] !== ipv6.subnet))
      log(
        'error',
        `the node has the pods of ${podCIDRs.join()}, its Node says ${said.join()}: remove and join it anew`,
      );
    this.#uid = node.metadata.uid;
    const began = performance.now();
    const status = await nodeStatus(facts, node, Date.now());
    const conditions = status.conditions ?? [];
    const others = (node.status?.conditions ?? []).filter(({ type }) => !conditions.some((own) => own.type === type));
    const gone = Object.fromEntries(withdrawn(node).map((resource) => [resource, null]));
    const allocatable = { ...status.allocatable, ...gone };
    const body = { status: { ...status, allocatable, conditions: [...conditions, ...others] } };
    await client.patch(nodes, name, { type: 'merge', body }, { subresource: 'status' });
    this.#images = imagesKey(facts);
    this.#statusAt = began;
  }

  async #renew(): Promise<void> {
    const { client, facts, leaseInterval } = this.#options;
    const name = facts.nodeName;
    const renewTime = new Date().toISOString().replace('Z', '000Z');
    const leaseDurationSeconds = Math.max(1, Math.ceil((leaseInterval * 4) / 1000));
    const spec = { holderIdentity: name, leaseDurationSeconds, renewTime };
    const body = { spec };
    const renewed = await orUndefined(
      client.patch(
        leases,
        name,
        { type: 'merge', body },
        // An answer that does not come is not waited for: the way there may have been gone when it was sent, and be back.
        { namespace: leaseNamespace, signal: AbortSignal.timeout(Math.max(leaseInterval, shortestWait)) },
      ),
    );
    if (renewed) return;
    // Not there: the node may have been removed by an administrator, and so may be the namespace on a young cluster.
    await this.#register();
    const lease: Lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        name,
        namespace: leaseNamespace,
        ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name, uid: this.#uid }],
      },
      spec,
    };
    try {
      await client.create(leases, lease);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 404) throw error;
      await orUndefined(
        client.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: leaseNamespace } }),
        409,
      );
      await client.create(leases, lease);
    }
  }
}

function imagesKey({ images }: NodeFacts): string {
  return images()
    .flatMap(({ references }) => references)
    .join();
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  signal.addEventListener(
    'abort',
    () => {
      clearTimeout(timer);
      reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    },
    { once: true },
  );
  return promise;
}
