/**
 * Networks as Docker's clients know them: those of the engine, and the three that are always there. And what each container
 * was asked to be in: `<data>/engine/docker/endpoints/<container>.json`, which outlives its sandbox and even the networks, so that a start
 * can say what is missing. What the file says is the truth; on open, sandboxes are made to fit.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Container, EngineError, type Sandbox } from '../engine.ts';
import type { AddressRange, Attachment, Network, NetworkWish } from '../networks.ts';
import { readRecord, writeRecord } from '../containers/records.ts';
import type { DockerEngine } from './call.ts';
import { DockerError } from './errors.ts';
import type { EndpointWish, NetworksWish } from './network-request.ts';
import { SANDBOX_LABEL } from './settings.ts';

export interface DockerNetwork {
  id: string;
  name: string;
  driver: 'bridge' | 'host' | 'null';
  isPredefined: boolean;
  /** Of the engine; absent where it has no addresses. */
  engineId?: string;
  subnet?: string;
  gateway?: string;
  ipv6?: Pick<AddressRange, 'subnet' | 'gateway' | 'range'>;
  /** Absent for the three that are always there. */
  network?: Network;
}

/** A container in a network, as it was asked for. */
export interface Endpoint {
  networkId: string;
  networkName: string;
  aliases: string[];
  links: string[];
  ip?: string;
  ip6?: string;
  /** The addresses that it had last, to be had again. */
  address?: string;
  address6?: string;
}

/** Who it is for the names of a network. */
export interface Identity {
  id: string;
  name: string;
  hostname: string;
}

const plainWish: EndpointWish = { network: 'bridge', aliases: [], links: [] };

export const PREDEFINED = ['bridge', 'host', 'none'];

export class DockerNetworks {
  readonly #engine: DockerEngine;
  readonly #directory: string;
  readonly #endpoints = new Map<string, Endpoint[]>();
  readonly #predefined: DockerNetwork[];

  constructor(engine: DockerEngine, directory: string) {
    this.#engine = engine;
    this.#directory = join(directory, 'endpoints');
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const { instance, bridge } = engine.info();
    const id = (name: string): string => createHash('sha256').update(`${instance} ${name}`).digest('hex');
    this.#predefined = [
      { id: id('bridge'), name: 'bridge', driver: 'bridge', isPredefined: true, engineId: 'bridge', ...bridge },
      { id: id('host'), name: 'host', driver: 'host', isPredefined: true },
      { id: id('none'), name: 'none', driver: 'null', isPredefined: true },
    ];
  }

  /** @param containers  those that were made through the Docker API, each with its own sandbox or another's */
  async open(containers: readonly { container: Container; identity: Identity }[]): Promise<void> {
    const ids = new Set(containers.map(({ container }) => container.id));
    for (const name of readdirSync(this.#directory)) {
      const id = name.replace(/\.json$/, '');
      const path = join(this.#directory, name);
      const endpoints = ids.has(id) ? await readRecord(path, isEndpoints) : undefined;
      if (endpoints === undefined) rmSync(path);
      else this.#endpoints.set(id, endpoints);
    }
    for (const { container, identity } of containers) await this.#reconcile(container, identity);
  }

  list(): DockerNetwork[] {
    return [...this.#predefined, ...this.#engine.networks.list().map(asDocker)];
  }

  /** By whole name, by whole id, or by the beginning of the id. */
  find(text: string): DockerNetwork {
    const all = this.list();
    const exact = all.find(({ name }) => name === text) ?? all.find(({ id }) => id === text);
    if (exact !== undefined) return exact;
    const found = /^[0-9a-f]+$/.test(text) ? all.filter(({ id }) => id.startsWith(text)) : [];
    const [first] = found;
    if (first === undefined) throw new DockerError(404, `network ${text} not found`);
    if (found.length > 1)
      throw new DockerError(400, `network ${text} is ambiguous (${found.length} matches found based on ID prefix)`);
    return first;
  }

  /** One that asked for nothing has no file. */
  endpointsOf(containerId: string): Endpoint[] {
    return this.#endpoints.get(containerId) ?? [this.endpoint(plainWish, this.find('bridge'))];
  }

  /** What a create request asks for, checked against what there is. Nothing is made or written. */
  plan({ endpoints }: NetworksWish): Endpoint[] {
    const planned = endpoints.map((wish) => this.endpoint(wish, this.find(wish.network)));
    const names = new Set(planned.map(({ networkId }) => networkId));
    if (names.size < planned.length) throw new DockerError(400, 'a network is named twice');
    return planned;
  }

  endpoint(wish: EndpointWish, network: DockerNetwork): Endpoint {
    if (network.driver === 'host')
      throw new DockerError(400, 'container cannot be connected to host network: it is not supported');
    if (network.driver === 'null') {
      throw new DockerError(
        400,
        'container cannot be connected to multiple networks with one of the networks in private (none) mode',
      );
    }
    if (network.isPredefined && wish.aliases.length > 0) {
      throw new DockerError(400, 'network-scoped alias is supported only for containers in user defined networks');
    }
    const { ip, ip6 } = wish;
    if (network.isPredefined && (ip ?? ip6) !== undefined)
      throw new DockerError(400, 'user specified IP address is supported on user defined networks only');
    const isChosen =
      (ip === undefined || network.network?.chosen === true) &&
      (ip6 === undefined || network.network?.ipv6?.chosen === true);
    if (!isChosen) {
      throw new DockerError(
        400,
        `invalid config for network ${network.name}: invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks with user configured subnets`,
      );
    }
    return {
      networkId: network.id,
      networkName: network.name,
      aliases: [...new Set(wish.aliases)],
      links: wish.links,
      ...(ip === undefined ? {} : { ip }),
      ...(ip6 === undefined ? {} : { ip6 }),
    };
  }

  /** For `SandboxSpec.networks`: of the endpoints whose network is there. */
  wishes(endpoints: readonly Endpoint[], identity: Identity): NetworkWish[] {
    return endpoints.flatMap((endpoint): NetworkWish[] => {
      const network = this.list().find(({ id }) => id === endpoint.networkId);
      if (network?.engineId === undefined) return [];
      if (network.isPredefined) return [{ network: network.engineId }];
      return [
        {
          network: network.engineId,
          aliases: namesOf(endpoint, identity),
          links: Object.fromEntries(endpoint.links.map((link) => this.#link(link))),
          ...(endpoint.ip === undefined ? {} : { ip: endpoint.ip }),
          ...(endpoint.ip6 === undefined ? {} : { ip6: endpoint.ip6 }),
          ...(endpoint.address === undefined ? {} : { preferredIp: endpoint.address }),
          ...(endpoint.address6 === undefined ? {} : { preferredIp6: endpoint.address6 }),
        },
      ];
    });
  }

  /** Written before anything is made, so that what is made is never without. */
  write(containerId: string, endpoints: Endpoint[]): void {
    writeRecord(join(this.#directory, `${containerId}.json`), endpoints);
    this.#endpoints.set(containerId, endpoints);
  }

  /** Keeps the addresses that its sandbox got. */
  remember(containerId: string, sandbox: Sandbox): void {
    const endpoints = this.endpointsOf(containerId).map((endpoint) => {
      const { ip: address, ip6: address6 } = this.attachment(sandbox, endpoint) ?? {};
      if (address === undefined) return endpoint;
      return { ...endpoint, address, ...(address6 === undefined ? {} : { address6 }) };
    });
    this.write(containerId, endpoints);
  }

  forget(containerId: string): void {
    this.#endpoints.delete(containerId);
    rmSync(join(this.#directory, `${containerId}.json`), { force: true });
  }

  /** Whether a port of it can lead anywhere: not without a network, and not from internal ones alone. */
  isReachable(containerId: string): boolean {
    const endpoints = this.#endpoints.get(containerId);
    if (endpoints === undefined) return true;
    return endpoints.some(({ networkId }) => {
      const network = this.list().find(({ id }) => id === networkId);
      return network !== undefined && network.network?.internal !== true;
    });
  }

  /** How its sandbox is in the network of the endpoint; undefined where it is not. */
  attachment(sandbox: Sandbox | undefined, { networkId }: Pick<Endpoint, 'networkId'>): Attachment | undefined {
    const engineId = this.list().find(({ id }) => id === networkId)?.engineId;
    const attachments = sandbox?.networks ?? [{ network: 'bridge', ip: sandbox?.ip ?? '', aliases: [], links: {} }];
    return attachments.find(({ network }) => network === engineId);
  }

  /** Before a start: in every network that it was asked to be in. */
  async prepare(container: Container, identity: Identity): Promise<void> {
    for (const endpoint of this.endpointsOf(container.id)) {
      if (!this.list().some(({ id }) => id === endpoint.networkId)) {
        throw new DockerError(404, `failed to set up container networking: network ${endpoint.networkId} not found`);
      }
    }
    await this.#reconcile(container, identity);
  }

  async connect(container: Container, endpoint: Endpoint, identity: Identity): Promise<void> {
    const before = this.endpointsOf(container.id);
    if (before.some(({ networkId }) => networkId === endpoint.networkId)) {
      throw new DockerError(
        403,
        `endpoint with name ${container.name} already exists in network ${endpoint.networkName}`,
      );
    }
    this.write(container.id, [...before, endpoint]);
    try {
      const [wish] = this.wishes([endpoint], identity);
      if (wish === undefined) throw new DockerError(404, `network ${endpoint.networkName} not found`);
      await this.#engine.networks.connect(container.sandbox, wish);
      const sandbox = this.#engine.sandbox(container.sandbox);
      if (sandbox !== undefined) this.remember(container.id, sandbox);
    } catch (error) {
      this.write(container.id, before);
      throw error;
    }
  }

  async disconnect(container: Container, network: DockerNetwork): Promise<void> {
    const before = this.endpointsOf(container.id);
    const left = before.filter(({ networkId }) => networkId !== network.id);
    if (left.length === before.length) {
      throw new DockerError(500, `container ${container.id} is not connected to network ${network.name}`);
    }
    this.write(container.id, left);
    if (network.engineId !== undefined) await this.#engine.networks.disconnect(container.sandbox, network.engineId);
  }

  /** The others find it by its new name, and by the old one no more. */
  async renamed(container: Container, identity: Identity): Promise<void> {
    const sandbox = this.#engine.sandbox(container.sandbox);
    if (sandbox?.labels[SANDBOX_LABEL] !== container.id) return;
    for (const { network, aliases = [] } of this.wishes(this.endpointsOf(container.id), identity))
      if (network !== 'bridge') await this.#engine.networks.setAliases(sandbox.id, network, aliases);
  }

  /** Sandboxes in the network, with whether anything runs in them. */
  users({ engineId }: DockerNetwork): { sandbox: Sandbox; isRunning: boolean }[] {
    const running = new Set(
      this.#engine
        .containers()
        .filter(({ state }) => state === 'running')
        .map(({ sandbox }) => sandbox),
    );
    return this.#engine
      .sandboxes()
      .filter(({ networks }) => (networks ?? [{ network: 'bridge' }]).some(({ network }) => network === engineId))
      .map((sandbox) => ({ sandbox, isRunning: running.has(sandbox.id) }));
  }

  /** As Docker: those that only stopped containers are in go, and a start of such a container fails then. */
  async remove(network: DockerNetwork): Promise<void> {
    if (network.isPredefined || network.engineId === undefined)
      throw new DockerError(403, `${network.name} is a pre-defined network and cannot be removed`);
    const users = this.users(network);
    if (users.some(({ isRunning }) => isRunning)) {
      throw new DockerError(
        403,
        `error while removing network: network ${network.name} id ${network.id} has active endpoints`,
      );
    }
    for (const { sandbox } of users) await this.#engine.networks.disconnect(sandbox.id, network.engineId);
    try {
      await this.#engine.networks.remove(network.engineId);
    } catch (error) {
      if (error instanceof EngineError && error.code === 'conflict')
        throw new DockerError(403, error.message, { cause: error });
      throw error;
    }
  }

  /** The sandbox of the container is in what the file says, and in nothing else. */
  async #reconcile(container: Container, identity: Identity): Promise<void> {
    const endpoints = this.#endpoints.get(container.id);
    const sandbox = this.#engine.sandbox(container.sandbox);
    // Who joined another's sandbox takes it as it is.
    if (endpoints === undefined || sandbox?.labels[SANDBOX_LABEL] !== container.id) return;
    const wanted = this.wishes(endpoints, identity);
    const attached = sandbox.networks ?? [{ network: 'bridge' }];
    const missing = wanted.filter((wish) => !attached.some(({ network }) => network === wish.network));
    const extra = attached.filter((one) => !wanted.some(({ network }) => network === one.network));
    for (const { network } of extra) await this.#engine.networks.disconnect(sandbox.id, network);
    for (const wish of missing) await this.#engine.networks.connect(sandbox.id, wish);
    const now = this.#engine.sandbox(sandbox.id);
    if (now !== undefined && missing.length > 0) this.remember(container.id, now);
  }

  #link(text: string): [alias: string, name: string] {
    const { target, alias } = splitLink(text);
    const wanted = target.replace(/^\//, '');
    const found = this.#engine.containers().find(({ id, name }) => name === wanted || id.startsWith(wanted));
    return [alias.toLowerCase(), found?.name ?? wanted];
  }
}

function isEndpoints(value: unknown): value is Endpoint[] {
  return Array.isArray(value) && value.every((one: unknown) => typeof one === 'object' && one !== null);
}

export function splitLink(text: string): { target: string; alias: string } {
  const [target = '', alias = ''] = text.split(':', 2);
  return { target, alias: (alias || target).replace(/^.*\//, '') };
}

/** Its name first: that is what an address is told as. */
export function namesOf({ aliases }: Pick<Endpoint, 'aliases'>, { id, name, hostname }: Identity): string[] {
  return [...new Set([name, ...aliases, id.slice(0, 12), hostname].filter((one) => one !== ''))];
}

function asDocker(network: Network): DockerNetwork {
  const { id, name, driver, subnet, gateway, ipv6 } = network;
  const six = ipv6 === undefined ? {} : { ipv6 };
  return { id, name, driver, isPredefined: false, engineId: id, subnet, gateway, ...six, network };
}
