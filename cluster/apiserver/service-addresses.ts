/**
 * Gives Services their addresses and node ports. What is taken is read from the cache, which shows every acknowledged
 * write, and from the reservations of creates that are under way: nothing can leak, and nothing is given twice.
 */
import type { FieldError } from '../kinds/field-error.ts';
import { invalid } from '../kinds/field-errors.ts';
import type { Service, ServicePort, ServiceSpec } from '../kinds/types/core.ts';
import type { ResourceCache } from './cache.ts';
import { objectOf } from './cache.ts';
import { chooseFamilies } from './service-families.ts';
import { ServiceRange } from './service-range.ts';

const NODE_PORTS = { first: 30000, last: 32767 };

interface Taken {
  addresses: Set<string>;
  nodePorts: Set<number>;
}

export class ServiceAddresses {
  private readonly services: ResourceCache;
  /** By family, the default one first. */
  private readonly ranges: Map<string, ServiceRange>;
  private readonly reserved: Taken = { addresses: new Set(), nodePorts: new Set() };
  /** What services hold by their keys, kept up to date by the cache's changes. */
  private readonly held = new Map<string, { addresses: string[]; nodePorts: number[] }>();

  /** @param cidrs  of IPv4, as `10.96.0.0/16`, and perhaps one of IPv6; without any no address is given. */
  constructor(services: ResourceCache, [ipv4, ipv6]: readonly string[]) {
    this.services = services;
    const ranges = [
      ...(ipv4 === undefined ? [] : [new ServiceRange(ipv4, 4)]),
      ...(ipv6 === undefined ? [] : [new ServiceRange(ipv6, 6)]),
    ];
    this.ranges = new Map(ranges.map((range) => [range.family, range]));
    for (const object of services.objects.values()) this.hold(object.key, objectOf(object) as Service);
    services.listeners.add((change) => {
      if (change.type === 'delete') this.held.delete(change.object.key);
      else this.hold(change.object.key, objectOf(change.object) as Service);
    });
  }

  /** Kept for the API itself. */
  get first(): string | undefined {
    return [...this.ranges.values()][0]?.first;
  }

  /**
   * Fills in what the service lacks, in place. Call the returned function when the write has ended, either way.
   * An address or port that another service has is an error.
   * @param old  what it was
   */
  assign(service: Service, key: string, old?: Service): { errors: FieldError[]; release: () => void } {
    const { spec } = service;
    const mine = { addresses: [] as string[], nodePorts: [] as number[] };
    const errors: FieldError[] = [];
    const release = () => {
      for (const address of mine.addresses) this.reserved.addresses.delete(address);
      for (const port of mine.nodePorts) this.reserved.nodePorts.delete(port);
    };
    if (spec === undefined || spec.type === 'ExternalName' || this.ranges.size === 0) return { errors, release };
    const before = old?.spec?.type === 'ExternalName' ? undefined : old?.spec;
    errors.push(...chooseFamilies(service, before, [...this.ranges.keys()]));
    if (errors.length > 0) return { errors, release };
    const taken = this.taken(key);
    if (spec.clusterIP === 'None') spec.clusterIPs = ['None'];
    else this.assignAddresses(spec, taken.addresses, mine.addresses, errors);
    if (spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false))
      this.assignPorts(spec.ports ?? [], taken.nodePorts, mine.nodePorts, errors);
    if (spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local')
      this.assignHealthCheckPort(spec, taken.nodePorts, mine.nodePorts, errors);
    return { errors, release };
  }

  /** One of each family, in their order. */
  private assignAddresses(spec: ServiceSpec, taken: Set<string>, mine: string[], errors: FieldError[]): void {
    const asked = spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : []);
    spec.clusterIPs = (spec.ipFamilies ?? []).map((family, index) => {
      const range = this.ranges.get(family);
      const address = asked[index] ?? range?.free(taken);
      const wrong = (value: string[], detail: string): void =>
        void errors.push(invalid('spec.clusterIPs', value, detail));
      if (range === undefined || address === undefined) wrong([], 'failed to allocate IP: range is full');
      else if (taken.has(address))
        wrong([address], `failed to allocate IP ${address}: provided IP is already allocated`);
      else if (!range.has(address))
        wrong([address], `failed to allocate IP ${address}: the provided IP is not in the valid range ${range.text}`);
      else {
        this.reserved.addresses.add(address);
        mine.push(address);
      }
      return address ?? '';
    });
    spec.clusterIP = spec.clusterIPs[0] ?? '';
  }

  private assignPorts(ports: ServicePort[], taken: Set<number>, mine: number[], errors: FieldError[]): void {
    for (const [index, port] of ports.entries()) {
      const others = ports.slice(0, index).filter(({ protocol }) => protocol !== port.protocol);
      // A service that is asked on one port by two protocols has one number for both.
      const twin = others.find((one) => one.port === port.port)?.nodePort;
      if (!port.nodePort && twin !== undefined) port.nodePort = twin;
      if (port.nodePort && others.some(({ nodePort }) => nodePort === port.nodePort)) continue;
      port.nodePort = this.takePort(port.nodePort, `spec.ports[${index}].nodePort`, { taken, mine, errors });
    }
  }

  private assignHealthCheckPort(spec: ServiceSpec, taken: Set<number>, mine: number[], errors: FieldError[]): void {
    spec.healthCheckNodePort = this.takePort(spec.healthCheckNodePort, 'spec.healthCheckNodePort', {
      taken,
      mine,
      errors,
    });
  }

  /** The port that is asked for, or a free one. */
  private takePort(
    asked: number | undefined,
    field: string,
    { taken, mine, errors }: { taken: Set<number>; mine: number[]; errors: FieldError[] },
  ): number {
    let port = asked ?? 0;
    if (port === 0) {
      port = NODE_PORTS.first + Math.floor(Math.random() * (NODE_PORTS.last - NODE_PORTS.first));
      for (let tries = 0; taken.has(port) && tries <= NODE_PORTS.last - NODE_PORTS.first; tries++)
        port = port === NODE_PORTS.last ? NODE_PORTS.first : port + 1;
    } else if (port < NODE_PORTS.first || port > NODE_PORTS.last) {
      const range = `${NODE_PORTS.first}-${NODE_PORTS.last}`;
      const problem = `provided port is not in the valid range. The range of valid ports is ${range}`;
      errors.push(invalid(field, port, problem));
      return port;
    }
    if (taken.has(port)) errors.push(invalid(field, port, 'provided port is already allocated'));
    taken.add(port);
    this.reserved.nodePorts.add(port);
    mine.push(port);
    return port;
  }

  private hold(key: string, service: Service): void {
    this.held.set(key, {
      addresses: (service.spec?.clusterIPs ?? []).filter((address) => address !== 'None'),
      nodePorts: [
        ...(service.spec?.ports ?? []).flatMap((port) => port.nodePort ?? []),
        ...(service.spec?.healthCheckNodePort ? [service.spec.healthCheckNodePort] : []),
      ],
    });
  }

  /** By all services but the one of `key`. */
  private taken(key: string): Taken {
    const taken = { addresses: new Set(this.reserved.addresses), nodePorts: new Set(this.reserved.nodePorts) };
    for (const [other, { addresses, nodePorts }] of this.held) {
      if (other === key) continue;
      for (const address of addresses) taken.addresses.add(address);
      for (const port of nodePorts) taken.nodePorts.add(port);
    }
    return taken;
  }
}
