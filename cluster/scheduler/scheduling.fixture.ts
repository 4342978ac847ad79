/** Nodes and pods made of few words, for tables of what plugins decide. */
import type { Informer } from '../client/client.ts';
import { createObjectCache } from '../client/object-cache.ts';
import type { ResourceRef, Stored } from '../kinds/kind.ts';
import type { Node, NodeStatus, Pod, PodSpec, PodStatus, Taint } from '../kinds/types/core.ts';
import type { ObjectMeta } from '../kinds/types/meta.ts';
import { Cluster } from './cluster.ts';
import { beginFilters, isCycle } from './filter-cycle.ts';
import { createNominations } from './nominations.ts';
import type { Plugin, PluginContext } from './plugin.ts';
import { type PodInfo, podInfo } from './pod-info.ts';
import { askScores, rawScores, sumScores } from './rank.ts';

let names = 0;

export interface PodWords extends Partial<PodSpec> {
  name?: string;
  namespace?: string;
  labels?: Record<string, string>;
  metadata?: Partial<ObjectMeta>;
  status?: PodStatus;
  /** Of one container. */
  requests?: Record<string, string>;
}

export function makePod(words: PodWords = {}): Stored<Pod> {
  const { name = `p${++names}`, namespace = 'default', labels, metadata, status, requests, ...spec } = words;
  return {
    metadata: {
      name,
      namespace,
      uid: name,
      resourceVersion: '1',
      creationTimestamp: '',
      ...(labels && { labels }),
      ...metadata,
    },
    spec: { containers: [{ name: 'c', image: 'i', ...(requests && { resources: { requests } }) }], ...spec },
    ...(status && { status }),
  };
}

export function pod(words: PodWords = {}): PodInfo {
  return podInfo(makePod(words));
}

export interface NodeWords extends NodeStatus {
  name: string;
  labels?: Record<string, string>;
  taints?: Taint[];
  unschedulable?: boolean;
  /** Those on it. */
  pods?: PodInfo[];
}

export function makeNode({ name, labels, taints, unschedulable, pods: _pods, ...status }: NodeWords): Stored<Node> {
  return {
    metadata: { name, uid: name, resourceVersion: '1', creationTimestamp: '', ...(labels && { labels }) },
    spec: { ...(taints && { taints }), ...(unschedulable && { unschedulable }) },
    status: { allocatable: { cpu: '4', memory: '8Gi', pods: '110' }, ...status },
  };
}

export function clusterOf(...nodes: NodeWords[]): Cluster {
  const cluster = new Cluster();
  for (const node of nodes) {
    cluster.setNode(makeNode(node));
    for (const one of node.pods ?? []) cluster.place(one, node.name);
  }
  return cluster;
}

/** What plugins are made with, where there is no API: their informers show these objects, and nothing changes. */
export function contextWith(
  objects: { resource: ResourceRef; object: { metadata: ObjectMeta } }[] = [],
): PluginContext {
  return {
    client: {} as PluginContext['client'],
    now: () => 0,
    informer(resource, indexes = {}) {
      const cache = createObjectCache(indexes);
      for (const { resource: of, object } of objects)
        if (of.resource === resource.resource) cache.put(object as unknown as Parameters<typeof cache.put>[0]);
      return {
        get: (name: string, namespace = '') => cache.get(namespace, name),
        list: () => [...cache.all()],
        byIndex: cache.byIndex,
      } as unknown as Informer<never>;
    },
  };
}

/** What keeps the pod from each node; empty where nothing does. */
export function refusals(plugins: Plugin | Plugin[], subject: PodInfo, cluster: Cluster): Record<string, string> {
  const begun = beginFilters([plugins].flat(), subject, { cluster, nominations: createNominations() });
  return Object.fromEntries(
    cluster.nodes().map((node) => {
      const rejection = isCycle(begun) ? begun.check(node)?.rejection : begun.rejection;
      return [node.name, rejection?.reasons.join(', ') ?? ''];
    }),
  );
}

/** Names of the nodes that nothing keeps the pod from. */
export function fitting(plugins: Plugin | Plugin[], subject: PodInfo, cluster: Cluster): string[] {
  return Object.entries(refusals(plugins, subject, cluster)).flatMap(([name, reason]) => (reason === '' ? [name] : []));
}

/** Normalized. */
export function scores(plugin: Plugin, subject: PodInfo, cluster: Cluster): Record<string, number> {
  const nodes = cluster.nodes();
  const asked = askScores([{ ...plugin, weight: 1 }], subject, { cluster, nodes });
  const sums = sumScores(asked, rawScores(asked, nodes), nodes.length);
  return Object.fromEntries(nodes.map(({ name }, at) => [name, sums[at] ?? Number.NaN]));
}
