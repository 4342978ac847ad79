/**
 * Gives Services of type LoadBalancer an address of the instance's pool; the nodes' service rules take it from there.
 *
 * `spec.loadBalancerIP` is kept to, where it is of the pool and nobody has it. Those with a `loadBalancerClass` of somebody else's are
 * that one's. Without a pool, or where it is used up, a Service stays pending, and an event says why; node ports serve meanwhile.
 * An address stays with its Service until that is no load balancer any more: nothing is remembered but what is in the statuses.
 */
import { isIPv4 } from 'node:net';
import { ipv4Number, ipv4Text } from '#lib/ipv4.ts';
import { overlaps } from '#lib/routes.ts';
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

  /** The address that the Service shall have; an error's message where it can have none. */
  function choose(service: Stored<Service>): { address: string } | { problem: string } {
    const others = services.list().filter(({ metadata }) => metadata.uid !== service.metadata.uid);
    const taken = new Set(others.flatMap((other) => (isOurs(other) ? addressesOf(other) : [])));
    const asked = service.spec?.loadBalancerIP;
    if (pool.length === 0)
      return { problem: 'this cluster has no addresses for load balancers (--load-balancer-pool)' };
    if (asked) {
      if (!inPool(asked, pool)) return { problem: `spec.loadBalancerIP ${asked} is not in the pool ${pool.join(',')}` };
      return taken.has(asked)
        ? { problem: `spec.loadBalancerIP ${asked} belongs to another service` }
        : { address: asked };
    }
    const [current] = addressesOf(service);
    if (current !== undefined && inPool(current, pool) && !taken.has(current)) return { address: current };
    for (const address of addressesIn(pool)) if (!taken.has(address)) return { address };
    return { problem: `no address is left in the pool ${pool.join(',')}` };
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
        // One that gives its address back makes room for those that wait.
        if (old !== undefined && addressesOf(old).length > 0 && addressesOf(now).length === 0)
          for (const waiting of services.list())
            if (isOurs(waiting) && addressesOf(waiting).length === 0) enqueue(keyOf(waiting.metadata));
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
        choice !== undefined && 'address' in choice ? [{ ip: choice.address, ipMode: 'VIP' }] : [];
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

function inPool(address: string, pool: readonly string[]): boolean {
  return isIPv4(address) && pool.some((range) => overlaps(`${address}/32`, range));
}

/** Every one of them: a pool is often a part of a network that has its own first and last. */
function* addressesIn(pool: readonly string[]): Generator<string> {
  for (const range of pool) {
    const [base = '', bits = '32'] = range.split('/');
    const first = ipv4Number(base);
    for (let offset = 0; offset < 2 ** (32 - Number(bits)); offset++) yield ipv4Text(first + offset);
  }
}
