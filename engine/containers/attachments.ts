/** The addresses of sandboxes in their networks: given out, taken back, and what the link has of them. */
import { EngineError, type Sandbox } from '../engine.ts';
import type { Attachment, NetworkWish } from '../networks.ts';
import { type AddressPool, gatewayOf, parseCidr } from '../network/addresses.ts';
import type { LinkAddress } from '../network/network.ts';
import type { UserNetworks } from '../network/user-networks.ts';

/** The network that pods are in. */
export const BRIDGE = 'bridge';

export interface AttachmentsOptions {
  pods: AddressPool;
  podCidr: string;
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
        const ip = network === BRIDGE ? this.#podAddress(wish, ready) : this.#options.networks.lease(network, wish);
        leased.push({ network, ip, aliases, links });
      }
      return leased;
    } catch (error) {
      this.free(leased.filter(({ ip }) => ip !== ready));
      throw error;
    }
  }

  free(attachments: readonly Attachment[]): void {
    for (const { network, ip } of attachments) {
      if (network === BRIDGE) this.#options.pods.free(ip);
      else this.#options.networks.free(network, ip);
    }
  }

  /** Of a sandbox of an earlier engine. */
  adopt(attachments: readonly Attachment[]): void {
    for (const { network, ip } of attachments) if (network !== BRIDGE) this.#options.networks.adopt(network, ip);
  }

  linkAddresses(attachments: readonly Attachment[]): LinkAddress[] {
    return attachments.flatMap(({ network, ip }): LinkAddress[] => {
      if (network === BRIDGE) return [{ ip, gateway: gatewayOf(parseCidr(this.#options.podCidr)), internal: false }];
      const known = this.#options.networks.get(network);
      if (known === undefined) return [];
      const { gateway, subnet, internal } = known;
      return [{ ip, gateway, subnet, internal }];
    });
  }

  /** Where published ports lead; undefined where it is in internal networks only. */
  publicIp(attachments: readonly Attachment[]): string | undefined {
    return this.linkAddresses(attachments).find(({ internal }) => !internal)?.ip;
  }

  #podAddress(wish: { ip?: string }, ready: string | undefined): string {
    if (wish.ip !== undefined)
      throw new EngineError('invalid', 'user specified IP address is supported on user defined networks only');
    return ready ?? this.#options.pods.take();
  }
}

export function attachmentsOf({ networks, ip }: Pick<Sandbox, 'networks' | 'ip'>): Attachment[] {
  return networks ?? [{ network: BRIDGE, ip, aliases: [], links: {} }];
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
