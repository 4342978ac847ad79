/**
 * The node agent's contract: makes the containers of the pods that are bound to its node, and says how they are.
 *
 * It speaks to the API server only over the network, with its own certificate and a node's rights, and to containers
 * only through `engine/engine.ts`. The pods it sees are the truth it works towards; the engine's sandboxes and
 * containers, found by their labels, are what is there: after a restart it adopts them and restarts nothing.
 *
 * Labels on every sandbox and container (the same that other tools know):
 *   io.kubernetes.pod.name, io.kubernetes.pod.namespace, io.kubernetes.pod.uid, io.kubernetes.container.name,
 *   node.sampan.dev/restart-count, node.sampan.dev/spec-hash
 * and, of the agent's own, on sandboxes node.sampan.dev/node and node.sampan.dev/grace-seconds, on containers
 * node.sampan.dev/crashes (the step of the restart back-off) and node.sampan.dev/exclusive-volumes (`exclusive-volumes.ts`).
 *
 * Annotations on a pod that it obeys:
 *   node.sampan.dev/egress: internet       builds: no way to this host, other pods or services
 *   node.sampan.dev/pids: "512"            process limit for each container
 *   node.sampan.dev/memory: 256Mi          what all containers may have together, where that is less than the sum of their limits
 *   node.sampan.dev/backoff: cloudfoundry  restarts three times at once, then after 30 s doubling to 16 min
 *   node.sampan.dev/log-bytes-per-second: "1024"  what collectors of its logs get at most of each container, see `log-collector.ts`
 *   node.sampan.dev/named-users: "true"    with `runAsNonRoot` an image may name its user: who that is, is looked up in the image. A kubelet refuses names
 *   node.sampan.dev/host-ca: "true"        mounts the host's CA bundle read-only at /etc/ssl/certs/ca-certificates.crt
 * Disk: `resources.limits["ephemeral-storage"]` is the size of the writable layer; 1Gi where absent.
 *
 * Where it differs from a kubelet, on purpose:
 *   - Until a startup or readiness probe has succeeded once it is asked every 10 to 250 ms rather than every
 *     `periodSeconds`, so that a pod is Ready as soon as it listens (`probes.ts`).
 *   - A container that ends badly makes a Warning event, `Exited` or `OOMKilling`, that says how it ended.
 *   - An emptyDir on disk without `sizeLimit` has 1Gi, and the writable layer too: no pod can fill the host's disk.
 *   - Probes and hooks with a `host` ask it from inside the pod's network, not from the node's.
 *   - hostPath, host namespaces, privileged containers, unfiltered system calls and an unmasked /proc are refused unless the node allows them: the pod is Failed with the reason `PodRefused`. So is a
 *     hostPort of SCTP; one that is taken holds the pod's start up.
 *   - Statistics of volumes are those of file systems of their own and of what CSI drivers say, of no other volume.
 *   - A node is short of disk below 2Gi, not below a tenth (`pressure.ts`).
 *   - Containers may not gain privileges (`no_new_privs`) unless `allowPrivilegeEscalation` says true.
 *   - With `shareProcessNamespace` the first process is one of the agent's own, with the files of the first container's image.
 *
 * Its HTTPS endpoint is the kubelet's, for the API server alone (client certificate of the instance's CA, common name
 * `system:apiserver`):
 *   GET  /healthz
 *   GET  /containerLogs/{namespace}/{pod}/{container}?follow&previous&tailLines&sinceTime&sinceSeconds&limitBytes&timestamps&stream&untilTime&collect
 *   GET  /exec/{namespace}/{pod}/{container}?command=…&input=1&output=1&error=1&tty=1    upgrade to WebSocket
 *        (v5.channel.k8s.io or v4.channel.k8s.io), or of any method to SPDY/3.1 (v4.channel.k8s.io)
 *   GET  /attach/…                                                                       the same without a command
 *   GET  /portForward/{namespace}/{pod}              upgrade to WebSocket (SPDY/3.1+portforward.k8s.io), or of any
 *        method to SPDY/3.1 (portforward.k8s.io)
 *   GET  /stats/summary                                                                  the kubelet's Summary API
 */
import type { Engine } from '#engine/engine.ts';
import type { Client } from '../client/client.ts';
import type { EvictionOptions } from './eviction.ts';
import type { Stored } from '../kinds/kind.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { NodeSettings } from './node-settings.ts';
import type { ClusterNames } from './pod-dns.ts';

export interface AgentOptions {
  nodeName: string;
  client: Client;
  engine: Engine;
  /** Of this host, where the API server reaches the endpoint. */
  address: string;
  /** Of this host too, of IPv6, where pods have that. */
  address6?: string;
  /** 0 picks a free one; it is published in the node's `status.daemonEndpoints.kubeletEndpoint`. */
  port: number;
  tls: { certificate: string; key: string; clientCa: string };
  dataDirectory: string;
  /** Where pods ask for names; absent: of the host's servers. */
  names?: ClusterNames;
  /** Awaited before a container starts: what policies say of the pod holds for its addresses. */
  admit?: (pod: Stored<Pod>, ips: readonly string[], signal: AbortSignal) => Promise<void>;
  /** Lease renewal, milliseconds; default 10,000. The lease says four times that; the server's own grace decides. */
  leaseInterval?: number;
  /** Milliseconds after which service account tokens in volumes are renewed; default: four fifths of their life. */
  renewTokensAfter?: number;
  /** Directory of manifests, a file for each static pod; none by default. */
  staticPods?: string;
  /** When pods are taken away for want of memory, disk or process numbers. */
  eviction?: EvictionOptions;
  /** What an administrator keeps back, and says of the node; its thresholds are those of `eviction`. */
  settings?: Omit<NodeSettings, 'thresholds'>;
  /** Grace for `terminationGracePeriodSeconds` absent: 30 s. */
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface Agent {
  readonly port: number;
  /** Resolves when the node is registered and Ready. */
  readonly ready: Promise<void>;
  /** What the containers of its pods use now. One that ends meanwhile is left out. */
  measure(): Promise<ContainerMeasure[]>;
  /** Stops the agent; pods go on. */
  close(): Promise<void>;
}

export interface ContainerMeasure {
  namespace: string;
  pod: string;
  container: string;
  /** Share of one processor since the measure before; undefined in a container's first. */
  cpu?: number;
  cpuSeconds: number;
  memoryBytes: number;
  memoryLimitBytes?: number;
  diskBytes: number;
  diskLimitBytes?: number;
  /** Of its log, as far as it was collected: what came, and how many lines were left out. */
  log: LogCount;
}

export interface LogCount {
  bytes: number;
  lines: number;
  droppedLines: number;
}
