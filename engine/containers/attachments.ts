/** The addresses of sandboxes in their networks: given out, taken back, and what the link has of them. */
import { isIPv4, isIPv6 } from 'node:net';
import { EngineError, type Sandbox } from '../engine.ts';
import type { Attachment, NetworkWish } from '../networks.ts';
import { type AddressPool, counterpart, gatewayOf, parseCidr } from '../network/addresses.ts';
import type { LinkAddress } from '../network/network.ts';
import type { UserNetworks } from '../network/user-networks.ts';

/** The network that pods are in. */
export const BRIDGE = 'bridge';

export interface AttachmentsOptions {
  pods: AddressPool;
  podCidr: string;
  /** Of IPv6, where pods have that. */
  podCidr6?: string;
  networks: UserNetworks;
}

export class Attachments {
  readonly #options: AttachmentsOptions;

  constructor(options: AttachmentsOptions) {
    this.#options = options;
  }

  /** @param ready  an address of the pod range that is its already */
  lease(wishes: readonly NetworkWish[], ready?: string): Attachment[] {
    const leased: Attachment[] = [];
    try {
      for (const { network, aliases = [], links = {}, ...wish } of wishes) {
        if (leased.some((one) => one.network === network))
          throw new EngineError('invalid', `networks: ${network} is named twice`);
        checkNames([...aliases, ...Object.keys(links), ...Object.values(links)]);
        const addresses =
          network === BRIDGE ? this.#podAddress(wish, ready) : this.#options.networks.lease(network, wish);
        leased.push({ network, ...addresses, aliases, links });
      }
      return leased;
    } catch (error) {
      this.free(leased.filter(({ ip }) => ip !== ready));
      throw error;
    }
  }

  free(attachments: readonly Attachment[]): void {
    for (const one of attachments) {
      if (one.network === BRIDGE) this.#options.pods.free(one.ip);
      else this.#options.networks.free(one);
    }
  }

  /** Of a sandbox of an earlier engine. */
  adopt(attachments: readonly Attachment[]): void {
    for (const one of attachments) if (one.network !== BRIDGE) this.#options.networks.adopt(one);
  }

  /** The pod range's, of either family. */
  podAddresses(ip: string): Pick<Attachment, 'ip' | 'ip6'> {
    const { podCidr, podCidr6 } = this.#options;
    const ip6 = podCidr6 && counterpart(ip, parseCidr(podCidr), parseCidr(podCidr6));
    return { ip, ...(ip6 === undefined || ip6 === '' ? {} : { ip6 }) };
  }

  linkAddresses(attachments: readonly Attachment[]): LinkAddress[] {
    const { podCidr, podCidr6 } = this.#options;
    return attachments.flatMap(({ network, ip, ip6 }): LinkAddress[] => {
      if (network === BRIDGE) {
        const pod = (address: string, range: string): LinkAddress => ({
          ip: address,
          gateway: gatewayOf(parseCidr(range)),
          internal: false,
        });
        return [pod(ip, podCidr), ...(ip6 === undefined || podCidr6 === undefined ? [] : [pod(ip6, podCidr6)])];
      }
      const known = this.#options.networks.get(network);
      if (known === undefined) return [];
      const { gateway, subnet, internal, ipv6 } = known;
      const ipv4 = { ip, gateway, subnet, internal };
      if (ip6 === undefined || ipv6 === undefined) return [ipv4];
      return [ipv4, { ip: ip6, gateway: ipv6.gateway, subnet: ipv6.subnet, internal }];
    });
  }

  /** Where published ports lead; nowhere where it is in internal networks only. */
  publicAddresses(attachments: readonly Attachment[]): { ip?: string; ip6?: string } {
    const outward = this.linkAddresses(attachments).filter(({ internal }) => !internal);
    const ip = outward.find((one) => isIPv4(one.ip))?.ip;
    const ip6 = outward.find((one) => isIPv6(one.ip))?.ip;
    return { ...(ip === undefined ? {} : { ip }), ...(ip6 === undefined ? {} : { ip6 }) };
  }

  #podAddress(wish: Pick<NetworkWish, 'ip' | 'ip6'>, ready: string | undefined): Pick<Attachment, 'ip' | 'ip6'> {
    if (wish.ip !== undefined || wish.ip6 !== undefined)
      throw new EngineError('invalid', 'user specified IP address is supported on user defined networks only');
    return this.podAddresses(ready ?? this.#options.pods.take());
  }
}

export function attachmentsOf({ networks, ip, ip6 }: Pick<Sandbox, 'networks' | 'ip' | 'ip6'>): Attachment[] {
  return networks ?? [{ network: BRIDGE, ip, ...(ip6 === undefined ? {} : { ip6 }), aliases: [], links: {} }];
}

/** Locally administered, and of no group; made from the address, as Docker does. */
export function macOf(ip: string): string {
  const bytes = ip.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  return ['02', '42', ...bytes].join(':');
}

export function checkMac(mac: string): string {
  const lower = mac.toLowerCase();
  const isAddress = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(lower) && lower !== '00:00:00:00:00:00';
  if (!isAddress || (Number.parseInt(lower.slice(0, 2), 16) & 1) !== 0)
    throw new EngineError(
      'invalid',
      `mac: ${JSON.stringify(mac)} is no address of one machine such as 02:42:ac:14:00:07`,
    );
  return lower;
}

export function checkNames(names: readonly string[]): void {
  for (const name of names)
    if (!/^[!-~]{1,253}$/.test(name))
      throw new EngineError('invalid', `networks.aliases: ${JSON.stringify(name)} is not a name`);
}
