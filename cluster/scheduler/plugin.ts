/**
 * The scheduler's contract with its plugins: what Kubernetes calls the scheduling framework ("Scheduling Framework";
 * the default profile of kube-scheduler 1.30 is `profile.ts`).
 *
 * A pod is scheduled in one synchronous turn, so a plugin sees one state of the cluster from the first question to the
 * last, and nothing is copied:
 *
 * 1. `filter` is asked once for the pod, and works out what does not depend on the node. It says that it has no opinion
 *    (undefined: it costs nothing more), that no node will do (a `Rejection`), or answers for each node (`PodFilter`).
 * 2. `score` is asked once for the pod and the nodes that passed, then answers for each of these.
 * 3. `reserve` when the node is chosen, in the same turn.
 * 4. `preBind`, which may take its time, while other pods are scheduled. Then the pod is bound.
 *
 * Where anything fails from `reserve` on, `unreserve` is called on every plugin, in reverse order, whether it reserved or not:
 * it must do no harm then. The pod is tried again after its back-off.
 *
 * A pod that fits nowhere waits. What may help it are the plugins' `hints`: it is tried again when a hint of a plugin that
 * turned it away says so, and else every five minutes. A plugin without hints for what it looks at makes pods wait so long.
 */
import type { Client, ClientObject, Informer } from '../client/client.ts';
import type { IndexFunction } from '../client/object-cache.ts';
import type { ResourceRef, Stored, TypedResource } from '../kinds/kind.ts';
import type { Cluster } from './cluster.ts';
import type { NodeInfo } from './node-info.ts';
import type { PodInfo } from './pod-info.ts';

/** Why a node, or every node, will not do; in the words that Kubernetes uses, for people. Make one once and return it often. */
export interface Rejection {
  readonly reasons: readonly string[];
  /** It would be so even if every other pod went: pre-emption does not look at the node. */
  readonly unresolvable: boolean;
}

interface Likeness {
  /**
   * Given where an answer depends on nothing but the pod's likeness and the state of the node (a score may be volatile): two pods of one likeness
   * get the same answer. Many pods that are alike are then given nodes by one search (`batch.ts`).
   */
  readonly likeness?: string;
}

/** What a plugin worked out about one pod. Every function is called synchronously; none may throw. */
export interface PodFilter extends Likeness {
  /** Only nodes of these names can pass, whatever `check` says: the others are not even asked. */
  only?: ReadonlySet<string>;
  /** Undefined: the node will do. Called for many nodes: must not be slow. */
  check?(node: NodeInfo): Rejection | undefined;
  /**
   * "What if": while pre-emption or a nomination is tried out, `other` is put on the node or taken from it, and back. Only
   * the plugin's own counts change here; `node` already shows it. Whoever looks at nothing but `node` needs neither.
   */
  add?(other: PodInfo, node: NodeInfo): void;
  remove?(other: PodInfo, node: NodeInfo): void;
}

export interface PodScore extends Likeness {
  /** The answers depend on other nodes too: those of pods that are alike are asked for again for each of them. */
  readonly isVolatile?: boolean;
  score(node: NodeInfo): number;
  /** Brings the scores (of the nodes given to `Plugin.score`, in their order) to 0 to 100, in place; they are so already without. */
  normalize?(scores: Float64Array): void;
}

export interface Plugin {
  /** Kubernetes' own: `NodeAffinity`. */
  readonly name: string;
  /** Of its score; default 1. */
  readonly weight?: number;
  filter?(pod: PodInfo, cluster: Cluster): PodFilter | Rejection | undefined;
  score?(pod: PodInfo, cluster: Cluster, nodes: readonly NodeInfo[]): PodScore | undefined;
  /** Notes what the pod will take besides what `Cluster` counts. May throw: the node cannot be taken. */
  reserve?(pod: PodInfo, node: NodeInfo): void;
  unreserve?(pod: PodInfo, node: NodeInfo): void;
  /** Rejects when the pod cannot be bound there; its message is shown to people. */
  preBind?(pod: PodInfo, node: NodeInfo, signal: AbortSignal): Promise<void>;
  readonly hints?: readonly Hint[];
}

/**
 * A change that may make room for a pod. Of pods, only those on a node are told of: one that got there, changed there, or went
 * (`now` is undefined; a pod that ended has gone). Of other resources every change is.
 */
export interface Hint {
  readonly resource: ResourceRef;
  helps(pod: PodInfo, now: Stored<ClientObject> | undefined, old: Stored<ClientObject> | undefined): boolean;
}

/** A hint for objects of one type. */
export function hint<T extends ClientObject>(
  resource: TypedResource<T>,
  helps: (pod: PodInfo, now: Stored<T> | undefined, old: Stored<T> | undefined) => boolean,
): Hint {
  return { resource, helps: helps as unknown as Hint['helps'] };
}

/** What a plugin is made with. */
export interface PluginContext {
  client: Client;
  /** One informer for all of this process, closed with the scheduler; nothing is scheduled before it shows its first list. */
  informer<T extends ClientObject>(resource: TypedResource<T>, indexes?: Record<string, IndexFunction<T>>): Informer<T>;
  now: () => number;
}

export function isRejection(answer: PodFilter | Rejection): answer is Rejection {
  return 'reasons' in answer;
}

/** Room may come by a pod that goes. */
export function rejection(...reasons: string[]): Rejection {
  return { reasons, unresolvable: false };
}

/** No pod that goes would help. */
export function unresolvable(...reasons: string[]): Rejection {
  return { reasons, unresolvable: true };
}
