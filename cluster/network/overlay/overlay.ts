/**
 * The overlay's contract: tells this node's engine which other hosts there are, so that every pod reaches every other by its own address.
 *
 * A node is a peer when its `spec.podCIDR` was given to it and its `status.addresses` have an `InternalIP`; whether it is ready does not
 * matter: its pods go on without their agent. When its object goes, so does the way to it. Nothing else is told: how packets travel, and
 * the hardware addresses on the way, follow from these two (`engine/overlay.ts`).
 */
import type { Client } from '../../client/client.ts';

export interface OverlayPeer {
  /** IPv4, of the host. */
  address: string;
  /** The addresses of its pods, `10.96.4.0/24`. */
  range: string;
  /** Of IPv6, where they have that. */
  range6?: string;
}

/** What of an engine is needed; an engine that was opened with an overlay is one. */
export interface PeerSink {
  /** All of them, each time. Rejects where not each of them can be reached. */
  setPeers(peers: readonly OverlayPeer[]): Promise<void>;
}

export interface OverlayOptions {
  client: Client;
  /** This node: no peer of its own. */
  nodeName: string;
  /** This node's range and address, which a peer may not claim. */
  own: OverlayPeer;
  /** What all nodes' ranges are of. */
  clusterCidr: string;
  ipv6?: { clusterCidr: string };
  engine: PeerSink;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface RunningOverlay {
  /** Resolves when the engine knew all nodes that were there at the start. */
  readonly ready: Promise<void>;
  /** Who is a peer now stays one. */
  close(): Promise<void>;
}
