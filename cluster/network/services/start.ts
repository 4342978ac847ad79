/** Starts the service rules of a node: see `services.ts`. */
import { setImmediate } from 'node:timers/promises';
import { coalesced } from '#lib/coalesced.ts';
import type { Informer } from '../../client/client.ts';
import { sharedInformer } from '../../client/shared-informer.ts';
import type { Stored } from '../../kinds/kind.ts';
import { endpointSlices, nodes as nodeResource, services as serviceResource } from '../../kinds/resources.ts';
import type { Node, Service } from '../../kinds/types/core.ts';
import type { EndpointSlice } from '../../kinds/types/discovery.ts';
import type { NodeFacts } from './choice.ts';
import { forgetStale, mayBeStale, type UdpFrontends, udpFrontends } from './conntrack.ts';
import { HealthChecks } from './health-checks.ts';
import { KernelTable, removeTable } from './kernel-table.ts';
import { addressesOfNode, type BalancedService, hasAddresses, holdAddresses } from './load-balancers.ts';
import { isForeign, servicePortsOf } from './model.ts';
import { type Fragment, renderService, renderTable, tableName } from './rules.ts';
import type { ServicePort, ServiceProxy, ServiceProxyOptions } from './services.ts';

const serviceLabel = 'kubernetes.io/service-name';
const zoneLabel = 'topology.kubernetes.io/zone';
const firstRetry = 250;
const lastRetry = 30_000;
/** An announcement is one datagram, and a neighbour that has just heard another may pass it over (arp(7), `locktime`). */
const announceAgainAfter = [1500, 4000];

interface Entry {
  ports: ServicePort[];
  fragment: Fragment;
  balanced: BalancedService;
}

export function startServiceProxy(options: ServiceProxyOptions): ServiceProxy {
  return new Proxy(options);
}

/** Leaves nothing of an instance whose agent has ended. Idempotent. */
export async function removeServices(instance: string): Promise<void> {
  await removeTable(tableName(instance));
  await holdAddresses(instance, []);
}

class Proxy implements ServiceProxy {
  readonly ready: Promise<void>;
  readonly #options: ServiceProxyOptions;
  readonly #services: Informer<Service>;
  readonly #slices: Informer<EndpointSlice>;
  readonly #nodes: Informer<Node>;
  readonly #table: KernelTable;
  readonly #health: HealthChecks;
  /** By `namespace/name`. */
  readonly #entries = new Map<string, Entry>();
  readonly #changed = new Set<string>();
  readonly #isReady = Promise.withResolvers<void>();
  readonly #synchronize: () => Promise<void>;
  #node: NodeFacts;
  /** As the kernel's connections were looked at last; undefined before the first time. */
  #udp: UdpFrontends | undefined;
  /** Addresses of load balancers that this node has; undefined before the first look. */
  #held: readonly string[] | undefined;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: ServiceProxyOptions) {
    const { client, log, network } = options;
    this.#options = options;
    this.#node = this.#nodeFacts(undefined);
    this.ready = this.#isReady.promise;
    this.ready.catch(() => undefined);
    const onError = (error: unknown): void =>
      log('warn', 'a watch that service rules follow broke off; it is tried again', { error: String(error) });
    this.#services = sharedInformer(client, serviceResource, {}, onError);
    this.#slices = sharedInformer(client, endpointSlices, { service: (slice) => [serviceOf(slice)] }, onError);
    this.#nodes = sharedInformer(client, nodeResource, {}, onError);
    this.#table = new KernelTable(tableName(network.instance), (error) =>
      log('warn', 'service rules could not be changed in place: all are written anew', { error: String(error) }),
    );
    this.#health = new HealthChecks((port, error) =>
      log('error', 'a health check port of a service cannot be served', { port, error: error.message }),
    );
    // One run at a time; what changes meanwhile is in the next. A turn later, so that a burst of events is one run.
    this.#synchronize = coalesced(async () => {
      await setImmediate();
      await this.#run();
    });
    void this.#follow();
  }

  async settled({ service, endpointSlice }: { service?: string; endpointSlice?: string } = {}): Promise<void> {
    await this.ready;
    if (service !== undefined) await this.#services.reached(service);
    if (endpointSlice !== undefined) await this.#slices.reached(endpointSlice);
    await this.#synchronize();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const informer of [this.#services, this.#slices, this.#nodes]) informer.close();
    this.#table.close();
    this.#health.close();
    this.#isReady.reject(new Error('the service rules were closed'));
    await this.#synchronize();
  }

  async #follow(): Promise<void> {
    try {
      await Promise.all([this.#services.synced, this.#slices.synced, this.#nodes.synced]);
    } catch (error) {
      // Closed before the API answered.
      this.#isReady.reject(error);
      return;
    }
    if (this.#closed) return;
    this.#services.onChange((now, old) => this.#change(keyOf((now ?? old) as Stored<Service>)));
    this.#slices.onChange((now, old) => {
      for (const slice of [now, old]) if (slice !== undefined) this.#change(serviceOf(slice));
    });
    this.#nodes.onChange((now, old) => {
      if (nodeState(now) !== nodeState(old)) this.#nodesChanged();
    });
    this.#node = this.#nodeFacts(this.#nodes.get(this.#options.nodeName));
    for (const service of this.#services.list()) this.#changed.add(keyOf(service));
    this.#table.watch(() => {
      this.#options.log('warn', 'rules of services were taken out by somebody else: putting them back');
      this.#wake();
    });
    this.#wake();
  }

  #change(key: string): void {
    this.#changed.add(key);
    this.#wake();
  }

  #nodesChanged(): void {
    const node = this.#nodeFacts(this.#nodes.get(this.#options.nodeName));
    if (node.zone !== this.#node.zone) for (const key of this.#entries.keys()) this.#changed.add(key);
    this.#node = node;
    this.#wake();
  }

  #nodeFacts(node: Stored<Node> | undefined): NodeFacts {
    const { nodeName: name, network } = this.#options;
    const zone = node?.metadata.labels?.[zoneLabel];
    return { name, families: network.ipv6 === undefined ? [4] : [4, 6], ...(zone !== undefined && { zone }) };
  }

  #wake(): void {
    if (!this.#closed) void this.#synchronize();
  }

  /** Never rejects: what fails is logged, and tried again. */
  async #run(): Promise<void> {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    try {
      await this.#apply();
      this.#failures = 0;
    } catch (error) {
      const retryMilliseconds = Math.min(firstRetry * 2 ** this.#failures++, lastRetry);
      this.#options.log('error', 'service rules cannot be written', { error: String(error), retryMilliseconds });
      this.#timer = setTimeout(() => this.#wake(), retryMilliseconds);
      this.#timer.unref();
    }
  }

  async #apply(): Promise<void> {
    const { network, loadBalancerPool = [] } = this.#options;
    this.#refresh();
    // Their order decides who has an address that two of them name.
    const entries = [...this.#entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
    const addresses = addressesOfNode(
      this.#options.nodeName,
      this.#readyNodes(),
      entries.map(({ balanced }) => balanced),
      loadBalancerPool,
    );
    const ports = entries.flatMap((entry) => entry.ports);
    await this.#table.write(
      renderTable(
        network,
        entries.map(({ fragment }) => fragment),
        addresses,
      ),
    );
    this.#health.set(ports);
    if (this.#held?.join() !== addresses.join() || !hasAddresses(addresses))
      this.#announce(await holdAddresses(network.instance, addresses));
    this.#held = addresses;
    this.#isReady.resolve();
    await this.#forgetStale(udpFrontends(ports));
  }

  #announce(added: readonly string[]): void {
    const { announce } = this.#options;
    if (announce === undefined || added.length === 0) return;
    announce(added);
    for (const milliseconds of announceAgainAfter)
      setTimeout(() => {
        // Another node's by now, or nobody's.
        if (!this.#closed) announce(added.filter((address) => this.#held?.includes(address)));
      }, milliseconds).unref();
  }

  #refresh(): void {
    const { network } = this.#options;
    for (const key of this.#changed) {
      const slash = key.indexOf('/');
      const service = this.#services.get(key.slice(slash + 1), key.slice(0, slash));
      if (service === undefined) {
        this.#entries.delete(key);
        continue;
      }
      const slices = this.#slices.byIndex('service', key);
      const ports = servicePortsOf(service, slices, this.#node);
      this.#entries.set(key, { ports, fragment: renderService(network, ports), balanced: balancedOf(ports, slices) });
    }
    this.#changed.clear();
  }

  #readyNodes(): string[] {
    return this.#nodes.list().flatMap((node) => (isReady(node) ? [node.metadata.name] : []));
  }

  async #forgetStale(now: UdpFrontends): Promise<void> {
    const before = this.#udp;
    if (before !== undefined && !mayBeStale(before, now)) {
      this.#udp = now;
      return;
    }
    const gone = [...(before?.keys() ?? [])].filter((frontend) => !now.has(frontend));
    const { serviceCidr, ipv6 } = this.#options.network;
    const serviceCidrs = [serviceCidr, ...(ipv6 === undefined ? [] : [ipv6.serviceCidr])];
    const foreign = this.#services
      .list()
      .flatMap((service) => (isForeign(service) ? (service.spec?.clusterIPs ?? []) : []));
    await forgetStale(now, gone, { serviceCidrs, foreign: new Set(foreign) });
    this.#udp = now;
  }
}

function keyOf({ metadata }: { metadata: { namespace?: string; name?: string } }): string {
  return `${metadata.namespace ?? ''}/${metadata.name ?? ''}`;
}

function serviceOf({ metadata }: EndpointSlice): string {
  return `${metadata.namespace ?? ''}/${metadata.labels?.[serviceLabel] ?? ''}`;
}

function isReady(node: Node): boolean {
  return node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

/** Heartbeats are no changes. */
function nodeState(node: Node | undefined): string {
  return node === undefined ? '' : `${isReady(node)} ${node.metadata.labels?.[zoneLabel] ?? ''}`;
}

function balancedOf(ports: readonly ServicePort[], slices: readonly EndpointSlice[]): BalancedService {
  const addresses = [...new Set(ports.flatMap(({ loadBalancerIps }) => loadBalancerIps))];
  if (!ports.some(({ externalPolicy }) => externalPolicy === 'Local')) return { addresses, only: undefined };
  const serving = slices.flatMap(({ endpoints }) => endpoints).filter(({ conditions }) => conditions?.ready ?? true);
  return { addresses, only: new Set(serving.flatMap(({ nodeName }) => nodeName ?? [])) };
}
