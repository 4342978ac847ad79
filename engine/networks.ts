/** The engine's contract for networks of users. Vocabulary, errors and general promises: `engine.ts`. */

/**
 * Networks besides the one that every pod is in. That one is called `bridge` here; it cannot be made, removed or listed.
 *
 * Promises
 *   - A sandbox has one address in each of its networks. Two sandboxes reach each other only by addresses of one network that both
 *     are in; pods, services and other networks are out of reach, and so is everything but the network itself where it is `internal`.
 *     What is published on this host can be reached from everywhere.
 *   - In a network with IPv6 each sandbox has an address of either family, and all of this holds for both.
 *   - Sandboxes of a network find each other by name: `aliases`, of those whose containers run. Names are asked of this engine
 *     (`/etc/resolv.conf` says so); what it does not know it asks the sandbox's own servers, or this host's.
 *   - Networks survive a restart of the engine and of the machine; who is in them, as long as the sandbox.
 */
export interface Networks {
  /**
   * `unavailable` where IPv6 is wanted and this host has none. `conflict` where the name is taken, or where the range overlaps another network, pods, services or a route of this host;
   * `exhausted` where the instance's pool has no free range.
   */
  create(spec: NetworkSpec): Promise<Network>;
  /** `conflict` while a sandbox is in it. Idempotent. */
  remove(id: string): Promise<void>;
  list(): Network[];
  get(id: string): Network | undefined;
  /** `conflict` where it is in the network already, or where the address that was asked for is taken. */
  connect(sandbox: string, wish: NetworkWish): Promise<void>;
  /** Idempotent. */
  disconnect(sandbox: string, network: string): Promise<void>;
  /** Other names for one that is in the network; its address and its connections stay. */
  setAliases(sandbox: string, network: string, aliases: string[]): Promise<void>;
}

/** A range of addresses, as it is asked for. */
export interface RangeSpec {
  /** `172.20.0.0/24`, `fd00:1::/64`. Default: a free one of the instance's pool. */
  subnet?: string;
  /** An address of the range that is this host's; default the first. */
  gateway?: string;
  /** The part of the range that addresses are drawn from; others are given to those who ask for one. */
  range?: string;
  /** Never given to anybody. */
  reserved?: string[];
}

/** Its own range is of IPv4. */
export interface NetworkSpec extends RangeSpec {
  /** Unique; letters, digits and `_.-`. */
  name: string;
  /** Present where it has IPv6 beside IPv4. */
  ipv6?: RangeSpec;
  /** Nothing outside of the network is reached from it, this host neither. */
  internal?: boolean;
  /** Its sandboxes do not reach each other. */
  isolated?: boolean;
  labels?: Record<string, string>;
  options?: Record<string, string>;
}

export interface AddressRange {
  subnet: string;
  gateway: string;
  range?: string;
  reserved: string[];
  /** Whether the range was asked for: addresses are given by wish only there. */
  chosen: boolean;
}

export interface Network extends AddressRange {
  /** 64 lowercase hexadecimal digits. */
  id: string;
  name: string;
  driver: 'bridge';
  ipv6?: AddressRange;
  internal: boolean;
  isolated: boolean;
  labels: Record<string, string>;
  options: Record<string, string>;
  createdAt: number;
}

export interface NetworkWish {
  /** Id of a network, or `bridge`. */
  network: string;
  /** An address of the network that nobody has. */
  ip?: string;
  /** As `ip`; another one where it is taken. */
  preferredIp?: string;
  /** As those of IPv4, in a network that has IPv6. */
  ip6?: string;
  preferredIp6?: string;
  /** Names that the others in the network find it by, its own name first. */
  aliases?: string[];
  /** Names that only it knows: what each stands for is another's alias. */
  links?: Record<string, string>;
}

export interface Attachment {
  network: string;
  ip: string;
  /** In a network that has IPv6. */
  ip6?: string;
  aliases: string[];
  links: Record<string, string>;
}
