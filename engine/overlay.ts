/**
 * The engine's contract for networks over many hosts. Vocabulary, errors and general promises: `engine.ts`.
 *
 * An engine that was opened with `network.overlay` reaches sandboxes of other hosts, and is reached by theirs, by their own addresses:
 * packets between hosts travel in VXLAN (RFC 7348), unicast alone. Nothing is flooded or learned: who is where is said here.
 *
 * Promises
 *   - Only packets that come from a peer's address are taken, and inside them only those from an address of a peer's range. What sandboxes
 *     of this host send as if it were the overlay's leaves it nowhere.
 *   - Links of sandboxes carry at most what the overlay does: the MTU of the link that has `address`, less 50.
 *   - Who the peers are is kept by the kernel: packets flow while no engine is open, and the next one knows.
 */
export interface Overlay {
  /**
   * The other hosts: all of them, each time. `invalid` where the engine was opened without an overlay, where a range is this host's or
   * outside of the cluster's, or where two peers share a range or an address. Idempotent.
   */
  setPeers(peers: readonly Peer[]): Promise<void>;
  peers(): Peer[];
}

export interface Peer {
  /** Of the other host, IPv4: where it opened its engine's overlay. */
  address: string;
  /** Its `network.podCidr`. */
  range: string;
  /** Its `network.ipv6.podCidr`, which goes the same way. */
  range6?: string;
}

export interface OverlayOptions {
  /** 24 bits, the same on every host, and no other cluster's on any of them. */
  vni: number;
  /** UDP, the same on every host. */
  port: number;
  /** Of this host, IPv4: what the others have as its peer's. */
  address: string;
}
