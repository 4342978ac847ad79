/**
 * The contract of network policies on one node: what NetworkPolicies (networking.k8s.io/v1) say of the pods that run here holds in the
 * kernel, in a table of this room's own.
 *
 * - A pod that no policy selects for a direction is open in it. One that is selected is closed but for what one of those policies allows: the
 *   union. Both sides must agree: egress is judged on the node of the sender, ingress on the node of the receiver.
 * - Judged in the forward hook, which every packet from and to a pod passes, after a Service's address was translated and before a source is: by
 *   addresses of pods. A port that is published by a Service is the pod's port here, as upstream.
 * - `podSelector` and `namespaceSelector` of peers are sets of addresses, ports by name are sets of address, protocol and port: a pod that comes
 *   or goes changes elements, in one transaction, and no rule.
 * - This node reaches its own pods (probes, the router), and a pod itself, whatever policies say. Pods in the host's network are exempt, and are
 *   nobody's peers: they are the node.
 * - Every packet of the direction that a connection was opened in is judged, not the first alone: a policy that takes a permission
 *   back cuts what is connected, as with Cilium, while other implementations let it go on. Answers, and errors about them, pass.
 * - A refused packet is dropped without an answer.
 * - Connections that a policy lets out are told to the kernel's log where an annotation of it says so: see `logging.ts`.
 * - Families: a rule holds for each that pods have addresses of; `ipBlock` for its own.
 *
 * Stricter than upstream's words, on purpose: they let a pod always reach its own node. Here egress to the node is judged like any other, by
 * `ipBlock`, since the router and the registry are there. The cluster's name server is seen as the pods that it is elsewhere: `k8s-app: kube-dns` in
 * kube-system, at its cluster IP, ports 53 (`dns`, `dns-tcp`); so policies that were written for other clusters hold.
 *
 * - No pod starts open: the agent waits (`admit`) until the rules have the pod's address before its first container starts. Static pods
 *   wait for no API: while it was never reached they start under the rules that are there.
 * - The rules stay while the agent is away. It takes the table over in one transaction when it knows everything, and puts back what
 *   somebody takes out of it.
 */
import type { IpFamily } from '#lib/ip-range.ts';
import type { Stored } from '../../kinds/kind.ts';
import type { Pod } from '../../kinds/types/core.ts';

export interface PolicyOptions {
  instance: string;
  nodeName: string;
  /** Of pods' addresses; default IPv4 alone. */
  families?: readonly IpFamily[];
  /** Where pods ask for names. */
  resolver: string;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface NetworkPolicies {
  /** Resolves when all is known, and holds. */
  readonly ready: Promise<void>;
  /** Resolves when what policies say of the pod holds for these addresses of it. Rejects where the kernel does not take it, or by the signal. */
  admit(pod: Stored<Pod>, ips: readonly string[], signal: AbortSignal): Promise<void>;
  /** Follows no more; the table stays. */
  close(): Promise<void>;
}

/** What of a pod policies look at. */
export interface PodFacts {
  uid: string;
  namespace: string;
  labels: Record<string, string>;
  /** One of each family at most. */
  ips: readonly string[];
  isHere: boolean;
  ports: { name: string; protocol: string; port: number }[];
}
