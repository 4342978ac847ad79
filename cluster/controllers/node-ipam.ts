/**
 * Gives each node that has none its share of the cluster's pod range, once and for the node's life: `spec.podCIDR`, which never changes
 * after it was set. A range is free again when its Node is gone. A node that comes with a range of its own (the one that its
 * engine was opened with) keeps it.
 *
 * Where pods have IPv6 a node's range of that is the one at the same place (`ipv6CidrOf`): who has the one has the other.
 *
 * Ranges are given one after the other, and those that were given by this process but are not shown yet count as taken. One that
 * was freed longest ago is given first, so that stale routes of others meet nobody for long.
 */
import { createEventRecorder, type EventRecorder } from '../client/event-recorder.ts';
import type { Informer } from '../client/client.ts';
import { nodes as nodeResource } from '../kinds/resources.ts';
import type { Node } from '../kinds/types/core.ts';
import { addressOfRange, parseIpRange } from '#lib/ip-range.ts';
import { overlaps, parseCidr } from '#lib/routes.ts';
import type { Controller } from './controller.ts';
import { openInformer } from './objects.ts';

export interface NodeIpamOptions {
  /** Of all pods, `10.96.0.0/16`. */
  clusterCidr: string;
  /** Of all pods, of IPv6; a node has a /64 of it. */
  clusterCidr6?: string;
  /** Length of a node's prefix; default 24. */
  nodeBits?: number;
  /** Kept for nodes that may not have come yet. */
  reserved?: readonly { node: string; range: string }[];
}

export function createNodeIpamController({
  clusterCidr,
  clusterCidr6,
  nodeBits = 24,
  reserved = [],
}: NodeIpamOptions): Controller {
  const cluster = parseCidr(clusterCidr);
  const size = 2 ** (32 - nodeBits);
  const count = 2 ** (nodeBits - cluster.bits);
  let nodes: Informer<Node>;
  let events: EventRecorder;
  /** Given, and not yet shown by the informer: by node. */
  const given = new Map<string, string>();
  let cursor = 0;

  const rangeAt = (place: number): string => `${formatIpv4(cluster.address + place * size)}/${nodeBits}`;

  function taken(node: string): string[] {
    const shown = nodes.list().map(({ spec }) => spec?.podCIDR ?? '');
    const kept = reserved.filter((one) => one.node !== node).map(({ range }) => range);
    return [...shown, ...kept, ...given.values()].filter((range) => range !== '');
  }

  function free(node: string): string | undefined {
    const own = reserved.find((one) => one.node === node)?.range;
    const others = taken(node);
    if (own !== undefined && !others.some((other) => overlaps(other, own))) return own;
    for (let step = 0; step < count; step += 1) {
      const place = (cursor + step) % count;
      const range = rangeAt(place);
      if (others.some((other) => overlaps(other, range))) continue;
      cursor = (place + 1) % count;
      return range;
    }
    return undefined;
  }

  function without(): string[] {
    const waiting = nodes.list().filter(({ spec }) => !spec?.podCIDR);
    return waiting.map(({ metadata }) => metadata.name);
  }

  return {
    name: 'node-ipam',
    workers: 1,
    async start(context, enqueue) {
      nodes = openInformer(context, nodeResource);
      events = createEventRecorder({
        client: context.client,
        component: 'cidrAllocator',
        onError: (error) => context.log('warn', 'an event could not be written', { error: String(error) }),
      });
      nodes.onChange((now, old) => {
        const { name } = (now ?? old)?.metadata ?? {};
        if (name === undefined) return;
        if (now === undefined || now.spec?.podCIDR) given.delete(name);
        if (now !== undefined && !now.spec?.podCIDR) enqueue(name);
        // What it had is free: another may be waiting for one.
        if (now === undefined) for (const waiting of without()) enqueue(waiting);
      });
      await nodes.synced;
      // The search goes on behind the last one that is in use.
      const places = nodes.list().map(({ spec }) => (spec?.podCIDR ? placeOf(spec.podCIDR) : -1));
      cursor = (Math.max(-1, ...places) + 1) % count;
      for (const name of without()) enqueue(name);
    },
    keys: without,
    async reconcile(name, { client, log }) {
      const node = nodes.get(name);
      if (!node || node.spec?.podCIDR || given.has(name)) return;
      const range = free(name);
      if (range === undefined) {
        log('error', `no range is left of ${clusterCidr} for node ${name}: remove nodes that are gone`, { node: name });
        const message = `Node ${name} status is now: CIDRNotAvailable`;
        events.record(
          { apiVersion: 'v1', kind: 'Node', metadata: node.metadata },
          {
            type: 'Normal',
            reason: 'CIDRNotAvailable',
            message,
          },
        );
        return;
      }
      given.set(name, range);
      try {
        // A node that was replaced under its name meanwhile is another one: the write conflicts.
        await client.update(nodeResource, {
          ...node,
          spec: { ...node.spec, podCIDR: range, podCIDRs: rangesWith(range) },
        });
      } catch (error) {
        // Nobody has it: the next try takes it again.
        given.delete(name);
        cursor = Math.max(0, placeOf(range));
        throw error;
      }
    },
  };

  function rangesWith(range: string): string[] {
    const six = clusterCidr6 && ipv6CidrOf(range, { clusterCidr, clusterCidr6 });
    return [range, ...(six === undefined || six === '' ? [] : [six])];
  }

  function placeOf(range: string): number {
    const place = Math.floor((parseCidr(range).address - cluster.address) / size);
    return place >= 0 && place < count ? place : -1;
  }
}

function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

const NODE_BITS6 = 64;

/** The /64 that a node with this range of IPv4 has. Undefined where the cluster's ranges have no such place. */
export function ipv6CidrOf(
  range: string,
  { clusterCidr, clusterCidr6 }: { clusterCidr: string; clusterCidr6: string },
): string | undefined {
  const [node, cluster, six] = [parseIpRange(range), parseIpRange(clusterCidr), parseIpRange(clusterCidr6)];
  if (node?.family !== 4 || cluster?.family !== 4 || six?.family !== 6 || node.base < cluster.base) return undefined;
  const place = (node.base - cluster.base) >> BigInt(32 - node.bits);
  if (six.bits > NODE_BITS6 || place >= 1n << BigInt(NODE_BITS6 - six.bits)) return undefined;
  return `${addressOfRange(six, place << BigInt(128 - NODE_BITS6))}/${NODE_BITS6}`;
}
