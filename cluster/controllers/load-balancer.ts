/**
 * Gives Services of type LoadBalancer addresses of the instance's pool, one for each of their families; the nodes' service rules take it
 * from there.
 *
 * `spec.loadBalancerIP` is kept to, where it is of the pool and nobody has it. Those with a `loadBalancerClass` of somebody else's are
 * that one's. Without a pool, or where it is used up, a Service stays pending, and an event says why; node ports serve meanwhile. With
 * `ipFamilyPolicy: RequireDualStack` it has an address of each family or none; with `PreferDualStack` what there is.
 * An address stays with its Service until that is no load balancer any more: nothing is remembered but what is in the statuses.
 */
import { addressOfRange, familyOf, inRanges, type IpFamily, parseIpRange, rangeSize } from '#lib/ip-range.ts';
import type { Informer } from '../client/client.ts';
import { createEventRecorder, type EventRecorder } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import { services as serviceResource } from '../kinds/resources.ts';
import type { LoadBalancerIngress, Service } from '../kinds/types/core.ts';
import type { Controller } from './controller.ts';
import { keyOf, openInformer, splitKey } from './objects.ts';

const ownClass = 'sampan.dev/pool';

export function createLoadBalancerController(pool: readonly string[]): Controller {
  let services: Informer<Service>;
  let recorder: EventRecorder;

  /** The addresses that the Service shall have; why not, where it can have none. */
  function choose(service: Stored<Service>): { addresses: string[] } | { problem: string } {
    const others = services.list().filter(({ metadata }) => metadata.uid !== service.metadata.uid);
    const taken = new Set(others.flatMap((other) => (isOurs(other) ? addressesOf(other) : [])));
    const { loadBalancerIP: asked, ipFamilyPolicy } = service.spec ?? {};
    if (pool.length === 0)
      return { problem: 'this cluster has no addresses for load balancers (--load-balancer-pool)' };
    const families = familiesOf(service);
    if (asked && !families.includes(familyOf(asked)))
      return { problem: `spec.loadBalancerIP ${asked} is of none of the families ${families.map(nameOf).join()}` };
    const choices = families.map((family) => ({ family, ...chooseOf(family, { service, taken, pool }) }));
    const addresses = choices.flatMap((choice) => ('address' in choice ? [choice.address] : []));
    const isNeeded = (family: IpFamily): boolean =>
      ipFamilyPolicy === 'RequireDualStack' || addresses.length === 0 || (!!asked && familyOf(asked) === family);
    const failed = choices.find((choice) => 'problem' in choice && isNeeded(choice.family));
    return failed !== undefined && 'problem' in failed ? { problem: failed.problem } : { addresses };
  }

  return {
    name: 'service-lb',
    // One after the other: each decides on all addresses.
    workers: 1,
    async start(context, enqueue) {
      recorder = createEventRecorder({
        client: context.client,
        component: 'service-controller',
        onError: (error) => context.log('warn', 'an event was not written', { error: String(error) }),
      });
      services = openInformer(context, serviceResource);
      services.onChange((now, old) => {
        enqueue(keyOf((now ?? old)?.metadata ?? {}));
        // One that gives an address back makes room for those that wait.
        if (addressesOf(old).some((address) => !addressesOf(now).includes(address)))
          for (const waiting of services.list())
            if (isOurs(waiting) && addressesOf(waiting).length < familiesOf(waiting).length)
              enqueue(keyOf(waiting.metadata));
      });
      await services.synced;
      for (const { metadata } of services.list()) enqueue(keyOf(metadata));
    },
    keys: () => services.list().map(({ metadata }) => keyOf(metadata)),
    async reconcile(key, { client, signal }) {
      const { namespace, name } = splitKey(key);
      const service = services.get(name, namespace);
      if (service === undefined || service.metadata.deletionTimestamp !== undefined) return;
      const choice = isOurs(service) ? choose(service) : undefined;
      if (choice === undefined && service.spec?.type === 'LoadBalancer') return;
      const ingress: LoadBalancerIngress[] =
        choice !== undefined && 'addresses' in choice ? choice.addresses.map((ip) => ({ ip, ipMode: 'VIP' })) : [];
      const before = addressesOf(service);
      if (before.join() !== ingress.map(({ ip }) => ip).join()) {
        const loadBalancer = ingress.length === 0 ? {} : { ingress };
        const status = { ...service.status, loadBalancer };
        const written = await client.updateStatus(serviceResource, { ...service, status });
        if (ingress.length > 0) tell(service, 'Normal', 'EnsuredLoadBalancer', 'Ensured load balancer');
        // The next choice is made with this one in sight.
        await services.reached(
          written.metadata.resourceVersion,
          AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
        );
      }
      if (choice !== undefined && 'problem' in choice)
        tell(service, 'Warning', 'SyncLoadBalancerFailed', `Error syncing load balancer: ${choice.problem}`);
    },
  };

  function tell(service: Stored<Service>, type: 'Normal' | 'Warning', reason: string, message: string): void {
    recorder.record({ apiVersion: 'v1', kind: 'Service', metadata: service.metadata }, { type, reason, message });
  }
}

function isOurs({ spec }: Service): boolean {
  return spec?.type === 'LoadBalancer' && (spec.loadBalancerClass ?? ownClass) === ownClass;
}

function addressesOf(service: Service | undefined): string[] {
  return (service?.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []);
}

function familiesOf({ spec }: Service): IpFamily[] {
  return (spec?.ipFamilies ?? ['IPv4']).map((name) => (name === 'IPv6' ? 6 : 4));
}

function nameOf(family: IpFamily): string {
  return `IPv${family}`;
}

/** As the addresses of the pool are written; what is none stays as it is. */
function canonical(address: string): string {
  const range = parseIpRange(address);
  return range === undefined ? address : addressOfRange(range, 0n);
}

interface Room {
  service: Service;
  /** By others. */
  taken: ReadonlySet<string>;
  pool: readonly string[];
}

function chooseOf(family: IpFamily, { service, taken, pool }: Room): { address: string } | { problem: string } {
  const asked = canonical(service.spec?.loadBalancerIP ?? '');
  if (asked !== '' && familyOf(asked) === family) {
    if (!inRanges(asked, pool)) return { problem: `spec.loadBalancerIP ${asked} is not in the pool ${pool.join(',')}` };
    return taken.has(asked)
      ? { problem: `spec.loadBalancerIP ${asked} belongs to another service` }
      : { address: asked };
  }
  const current = addressesOf(service).find((address) => familyOf(address) === family);
  if (current !== undefined && inRanges(current, pool) && !taken.has(current)) return { address: current };
  const ranges = pool.flatMap((text) => parseIpRange(text) ?? []).filter((range) => range.family === family);
  // Every one of them: a pool is often a part of a network that has its own first and last.
  for (const range of ranges)
    for (let place = 0n; place < rangeSize(range); place++) {
      const address = addressOfRange(range, place);
      if (!taken.has(address)) return { address };
    }
  return ranges.length === 0
    ? { problem: `this cluster has no addresses of ${nameOf(family)} for load balancers (--load-balancer-pool)` }
    : { problem: `no address of ${nameOf(family)} is left in the pool ${pool.join(',')}` };
}
