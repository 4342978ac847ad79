/** The network of one instance, by rtnetlink and nft. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { nft } from '#lib/nft.ts';
import { RuleWatch } from '#lib/rule-watch.ts';
import { run } from '#lib/run.ts';
import { stamped, TableWatch } from '#lib/table-watch.ts';
import { Turns } from '#lib/turns.ts';
import { EngineError } from '../engine.ts';
import type { Network as UserNetwork } from '../networks.ts';
import type { Peer } from '../overlay.ts';
import { hasCode } from '../sys/libc.ts';
import { gatewayOf, parseCidr } from './addresses.ts';
import { announce } from './announce.ts';
import { ForeignForward } from './forward.ts';
import { allowIpv6, forwardIpv6, hostHasIpv6 } from './ipv6-host.ts';
import { routeTo, setLinkAddresses } from './link-addresses.ts';
import { Links } from './links.ts';
import { bridgeName, linkName, linkPrefix, overlayName, tableName } from './names.ts';
import type { Ipv6Ranges, LinkAddress, NetworkOptions, PublishedRule, SandboxNetwork } from './network.ts';
import { OverlayDevice } from './overlay.ts';
import { checkIpv6, removeOldRanges } from './pod-ipv6.ts';
import { renderHosts, renderIsolated, renderNetwork, renderPublished, renderTable, sizesOf } from './rules.ts';
import type { NetworkKernel } from './user-networks.ts';

export interface OpenNetworkOptions extends NetworkOptions {
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

/** How long a link that goes is waited for; the kernel tells nobody but a netlink socket, which Node cannot wait for. */
const linkRests = [4, 8, 16, 32, 64, 128, 256, 512];

export class Network implements SandboxNetwork, NetworkKernel {
  readonly #options: OpenNetworkOptions;
  readonly #forward: ForeignForward;
  readonly #isolated = new Set<string>();
  readonly #networks = new Map<string, UserNetwork>();
  readonly #overlay: OverlayDevice | undefined;
  #mtu: number;
  #resolverPort: number | undefined;
  #published: readonly PublishedRule[] = [];
  #watches: { close(): void }[] = [];
  #ensured = false;
  #ensuring: Promise<void> | undefined;
  readonly #turns = new Turns();

  constructor(options: OpenNetworkOptions) {
    parseCidr(options.podCidr, 4);
    parseCidr(options.clusterCidr, 4);
    parseCidr(options.serviceCidr, 4);
    if (options.cni !== undefined && options.overlay !== undefined)
      throw new EngineError(
        'invalid',
        'network.cni: with network.overlay it cannot be; ways to other hosts are the plugins’',
      );
    const { ipv6, ...ipv4 } = options;
    if (ipv6 !== undefined) checkIpv6(ipv6, options.podCidr);
    const hasIpv6 = ipv6 !== undefined && hostHasIpv6();
    if (ipv6 !== undefined && !hasIpv6)
      options.log('warn', 'IPv6 is turned off on this host: pods have IPv4 alone until an engine opens where it is on');
    this.#options = hasIpv6 ? options : ipv4;
    this.#forward = new ForeignForward(options.instance);
    this.#mtu = options.mtu ?? 1500;
    const { instance, podCidr, clusterCidr, overlay } = options;
    if (overlay !== undefined)
      this.#overlay = new OverlayDevice({
        name: overlayName(instance),
        podCidr,
        clusterCidr,
        ...(hasIpv6 && { ipv6 }),
        overlay,
      });
  }

  /** What pods have of IPv6; undefined where the host has none. */
  get ipv6(): Ipv6Ranges | undefined {
    return this.#options.ipv6;
  }

  /** Calls that come while one is under way share it. */
  ensure(): Promise<void> {
    this.#ensuring ??= this.#ensure().finally(() => {
      this.#ensuring = undefined;
    });
    return this.#ensuring;
  }

  async #ensure(): Promise<void> {
    await writeFile('/proc/sys/net/ipv4/ip_forward', '1');
    this.ensureBridge();
    const state = { isolated: this.#isolated, published: this.#published, networks: this.#networks.values() };
    await this.#write(
      renderTable(this.#options, {
        ...state,
        hosts: this.#hosts(),
        ...(this.#resolverPort === undefined ? {} : { resolverPort: this.#resolverPort }),
      }),
    );
    await this.#forward.ensure();
    this.#ensured = true;
  }

  /** The bridge with its addresses, and routes for what has no sandbox. Idempotent. */
  ensureBridge(): void {
    const { instance, podCidr, ipv6 } = this.#options;
    if (this.#overlay !== undefined) this.#mtu = this.#options.mtu ?? this.#overlay.mtu;
    this.#overlay?.ensure();
    using links = new Links();
    const name = bridgeName(instance);
    links.createBridge(name, this.#mtu);
    const index = links.index(name);
    if (index === undefined) throw new EngineError('unavailable', `bridge ${name} was removed while it was set up`);
    links.setUp(index);
    if (ipv6 !== undefined) this.#allowIpv6();
    for (const range of [podCidr, ...(ipv6 === undefined ? [] : [ipv6.podCidr])]) {
      links.addAddress(index, gatewayOf(parseCidr(range)));
      // What has no sandbox is answered at once, instead of leaving by the default route. A plugin's links have routes of their own.
      if (this.#options.cni === undefined) links.setRoute(routeTo(range));
      else links.removeRoute(routeTo(range));
    }
    this.#removeOldRanges(links, index);
    for (const network of this.#networks.values()) {
      this.#prepare(network);
      for (const { subnet, gateway } of this.#ranges(network)) {
        links.setRoute(routeTo(subnet));
        links.addAddress(index, gateway);
      }
    }
  }

  async setPeers(peers: readonly Peer[]): Promise<void> {
    if (this.#overlay === undefined)
      throw new EngineError('invalid', 'this engine has no peers: open it with network.overlay');
    this.#overlay.check(peers);
    const hosts = peers.map(({ address }) => address);
    if (this.#ensured) await this.#write(renderHosts(this.#options.instance, hosts));
    this.#overlay.setPeers(peers);
  }

  peers(): Peer[] {
    return this.#overlay?.peers() ?? [];
  }

  announce(addresses: readonly string[]): void {
    for (const address of addresses) {
      try {
        announce(address);
      } catch (error) {
        this.#options.log('warn', 'neighbours could not be told of an address', { address, error: String(error) });
      }
    }
  }

  /** Networks that are there already when the engine opens; before `ensure`. */
  know(networks: readonly UserNetwork[]): void {
    for (const network of networks) this.#networks.set(network.id, network);
    const waiting = networks.filter(({ ipv6 }) => ipv6 !== undefined);
    if (waiting.length > 0 && !hostHasIpv6())
      this.#options.log(
        'warn',
        'IPv6 was turned off on this host: networks do without it until an engine opens where it is on',
        {
          networks: waiting.map(({ name }) => name),
        },
      );
  }

  /** Of IPv6 only where the host has it. */
  #ranges({ subnet, gateway, ipv6 }: UserNetwork): { subnet: string; gateway: string }[] {
    return [{ subnet, gateway }, ...(ipv6 !== undefined && hostHasIpv6() ? [ipv6] : [])];
  }

  #prepare({ ipv6 }: UserNetwork): void {
    if (ipv6 !== undefined && hostHasIpv6()) this.#allowIpv6();
  }

  #allowIpv6(): void {
    forwardIpv6();
    allowIpv6(bridgeName(this.#options.instance));
  }

  /** What pods had of IPv6 with an earlier engine. */
  #removeOldRanges(links: Links, bridge: number): void {
    const { ipv6 } = this.#options;
    const networks = [...this.#networks.values()].flatMap((network) => network.ipv6?.gateway ?? []);
    const own = ipv6 === undefined ? [] : [gatewayOf(parseCidr(ipv6.podCidr))];
    removeOldRanges(links, bridge, new Set([...networks, ...own]));
  }

  /** Where the server for names listens; before `ensure`. */
  setResolverPort(port: number): void {
    this.#resolverPort = port;
  }

  /** Where sandboxes ask for names. */
  get resolver(): string {
    return gatewayOf(parseCidr(this.#options.podCidr));
  }

  claimSubnet(subnet: string): boolean {
    using links = new Links();
    return links.claimRoute(routeTo(subnet));
  }

  releaseSubnet(subnet: string): void {
    using links = new Links();
    links.removeRoute(routeTo(subnet));
  }

  async addNetwork(network: UserNetwork): Promise<void> {
    const { instance } = this.#options;
    this.#networks.set(network.id, network);
    {
      using links = new Links();
      const index = links.index(bridgeName(instance));
      if (index === undefined) throw new EngineError('unavailable', `bridge ${bridgeName(instance)} is gone`);
      this.#prepare(network);
      for (const { gateway } of this.#ranges(network)) links.addAddress(index, gateway);
    }
    await this.#write(renderNetwork(instance, 'add', network));
  }

  async removeNetwork(network: UserNetwork): Promise<void> {
    const { instance } = this.#options;
    this.#networks.delete(network.id);
    // Adding what may not be there makes deleting it safe.
    await this.#write(renderNetwork(instance, 'add', network) + renderNetwork(instance, 'delete', network));
    using links = new Links();
    const index = links.index(bridgeName(instance));
    for (const { subnet, gateway } of this.#ranges(network)) {
      if (index !== undefined) links.removeAddress(index, gateway);
      links.removeRoute(routeTo(subnet));
    }
  }

  /** Puts rules back when somebody takes them out: any of ours, and those in others' chains. Ends with `close`. */
  watch(): void {
    if (this.#watches.length > 0) return;
    const onError = (error: unknown): void =>
      this.#options.log('error', 'cannot put the firewall rules back', { error: String(error) });
    this.#watches = [
      new TableWatch(tableName(this.#options.instance), {
        isKernels: (set) => set === 'askers',
        onLost: (heard) => void this.#repair(heard).catch(onError),
      }),
      new RuleWatch({
        // A rule's own text is not told any more when it is gone, so every loss in the usual filter tables counts.
        isLoss: (line) => /^delete (rule|chain|table) (ip6?|inet) (?!sampan-)/.test(line),
        onLost: () => void this.#forward.ensure().catch(onError),
      }),
    ];
  }

  /** @param isCertain  false: look before anything is said or done */
  async #repair(isCertain: boolean): Promise<void> {
    // Looked at while something is being written, it would be taken for broken.
    if (!isCertain && (await this.#turns.take(() => this.#isWhole()))) return;
    this.#options.log('warn', 'firewall rules of this instance were taken out by somebody else: putting them back');
    // One that is under way may have been before the loss.
    await this.#ensuring;
    await this.ensure();
  }

  /** Whether the table is there, with as many elements as there should be. */
  async #isWhole(): Promise<boolean> {
    const name = tableName(this.#options.instance);
    const { stdout, exitCode } = await run('nft', ['-j', 'list', 'table', 'inet', name], { allow: [1] });
    if (exitCode !== 0) return false;
    const { nftables } = JSON.parse(stdout) as { nftables: { set?: { name: string; elem?: unknown[] } }[] };
    const sizes = new Map(
      nftables.flatMap(({ set }) => (set === undefined ? [] : [[set.name, set.elem?.length ?? 0]])),
    );
    const wanted = sizesOf({ isolated: this.#isolated, networks: this.#networks.values(), hosts: this.#hosts() });
    return [...wanted].every(([set, size]) => (sizes.get(set) ?? 0) === size);
  }

  #hosts(): string[] {
    return this.peers().map(({ address }) => address);
  }

  close(): void {
    for (const watch of this.#watches) watch.close();
    this.#watches = [];
  }

  /** In order: a table that is written whole must not undo what was changed while it was on its way. */
  async #write(script: string): Promise<void> {
    await this.#turns.take(() => nft(stamped(tableName(this.#options.instance), script)));
  }

  async attach(link: { sandbox: string; namespacePath: string; ip: string; mac: string }): Promise<void> {
    const { instance, podCidr } = this.#options;
    const gateway = gatewayOf(parseCidr(podCidr));
    const name = linkName(instance, link.sandbox);
    {
      using host = new Links();
      host.createVeth(name, link.namespacePath, { mtu: this.#mtu, mac: link.mac });
      const index = host.index(name);
      if (index === undefined) throw new EngineError('unavailable', `link ${name} was removed while it was set up`);
      host.setRoute({ to: link.ip, prefix: 32, link: index, source: gateway });
    }
    using inside = new Links(link.namespacePath);
    const index = inside.index('eth0');
    if (index === undefined) throw new EngineError('unavailable', `sandbox ${link.sandbox} has no eth0`);
    inside.setUp(1);
    inside.addAddress(index, link.ip);
    inside.setUp(index);
    inside.setRoute({ to: '0.0.0.0', prefix: 0, link: index, gateway });
  }

  async detach(sandbox: string): Promise<void> {
    using links = new Links();
    // The other end and the route go with it.
    links.remove(linkName(this.#options.instance, sandbox));
  }

  async detached(sandbox: string): Promise<void> {
    const link = `/sys/class/net/${linkName(this.#options.instance, sandbox)}`;
    for (const milliseconds of linkRests) {
      if (!existsSync(link)) return;
      await delay(milliseconds);
    }
    // Something holds the namespace.
    await this.detach(sandbox);
  }

  setAddresses(link: { sandbox: string; namespacePath: string; addresses: LinkAddress[]; mac?: string }): void {
    const { sandbox, addresses, ...rest } = link;
    setLinkAddresses({
      ...rest,
      name: linkName(this.#options.instance, sandbox),
      addresses: addresses.filter(({ ip }) => !isIPv6(ip) || hostHasIpv6()),
      resolver: this.resolver,
    });
  }

  async setEgress(ip: string, egress: 'cluster' | 'internet'): Promise<void> {
    const changed = egress === 'internet' ? !this.#isolated.has(ip) : this.#isolated.has(ip);
    if (!changed) return;
    if (egress === 'internet') this.#isolated.add(ip);
    else this.#isolated.delete(ip);
    if (this.#ensured) await this.#write(renderIsolated(this.#options, egress === 'internet' ? 'add' : 'delete', ip));
  }

  async publish(ports: readonly PublishedRule[]): Promise<void> {
    const { instance } = this.#options;
    this.#published = [...ports];
    if (!this.#ensured) return;
    for (const { sandbox } of ports) {
      const setting = `/proc/sys/net/ipv4/conf/${linkName(instance, sandbox)}/route_localnet`;
      // So that what this host sends from its loopback address may come to the sandbox; nothing comes the other way, by a rule.
      if (existsSync(setting)) await writeFile(setting, '1');
    }
    await this.#write(renderPublished(this.#options, ports));
  }

  async sweep(keep: ReadonlySet<string>): Promise<void> {
    const { instance } = this.#options;
    const kept = new Set([...keep].map((sandbox) => linkName(instance, sandbox)));
    using links = new Links();
    for (const name of links.list().keys()) {
      if (name.startsWith(linkPrefix(instance)) && !kept.has(name)) links.remove(name);
    }
  }

  async purge(): Promise<void> {
    const { instance, podCidr, ipv6 } = this.#options;
    this.close();
    await this.sweep(new Set());
    {
      using links = new Links();
      const bridge = links.index(bridgeName(instance));
      if (bridge !== undefined) this.#removeOldRanges(links, bridge);
      links.remove(bridgeName(instance));
      links.remove(overlayName(instance));
      const ranges = [...this.#networks.values()].flatMap((network) => this.#ranges(network));
      const pods = [podCidr, ...(ipv6 === undefined ? [] : [ipv6.podCidr])];
      for (const subnet of [...pods, ...ranges.map((range) => range.subnet)]) links.removeRoute(routeTo(subnet));
    }
    this.#overlay?.remove();
    await this.#forward.purge();
    const table = `inet ${tableName(instance)}`;
    await this.#turns.take(() => nft(`table ${table} {}\ndelete table ${table}\n`));
    this.#ensured = false;
  }
}

/** Bytes received and sent by a sandbox, from its point of view. Undefined where it has no link. */
export async function readTraffic(
  instance: string,
  sandbox: string,
  read: (path: string) => Promise<string>,
): Promise<{ receivedBytes: number; sentBytes: number } | undefined> {
  const directory = `/sys/class/net/${linkName(instance, sandbox)}/statistics`;
  try {
    const [sent, received] = await Promise.all([read(`${directory}/rx_bytes`), read(`${directory}/tx_bytes`)]);
    return { receivedBytes: Number(received), sentBytes: Number(sent) };
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'EINVAL')) return undefined;
    throw error;
  }
}
