/** The engine's contract for neighbours of this host: machines on the same links, that keep who has which address. */
export interface Neighbours {
  /**
   * Tells them, unasked, that these addresses of this host are here from now on: gratuitous ARP (RFC 5227, "ARP Announcement", in both
   * forms since some listen to one alone), or for IPv6 an unsolicited neighbour advertisement (RFC 4861, 7.2.6). On each Ethernet link with
   * a range that holds the address; of one that none holds nobody keeps anything but the way to a router. A datagram may be lost: who cares
   * says it again. What cannot be sent is logged.
   */
  announce(addresses: readonly string[]): void;
}
