/** Gives sandboxes their links by CNI plugins, and takes them away: see `cni.ts`. */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { join } from 'node:path';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { readRecord } from '../../containers/records.ts';
import { EngineError } from '../../engine.ts';
import { Links } from '../links.ts';
import type { EngineOptions } from '../../options.ts';
import { type CniResult, type CniRoom, type NetworkConfig, type PlugRequest, type Plugged, defaultCni } from './cni.ts';
import { readNetworkConfig } from './config.ts';
import { type PluginCall, callPlugin } from './plugin.ts';

/** Of one sandbox, from before ADD until after DEL. */
interface PlugRecord extends PlugRequest {
  network: NetworkConfig;
  /** Where its plugins were found: whoever takes it back may have been told of others. */
  binDirectories: readonly string[];
  /** Absent: ADD did not end, as far as anybody knows. */
  result?: CniResult;
}

export class CniNetwork {
  readonly #room: CniRoom;
  readonly #records = new Map<string, PlugRecord>();

  private constructor(room: CniRoom) {
    this.#room = room;
  }

  /** Knows what earlier engines added. */
  static async open(room: CniRoom): Promise<CniNetwork> {
    const opened = new CniNetwork(room);
    mkdirSync(room.directory, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(room.directory)) {
      const path = join(room.directory, name);
      const record = /^[0-9a-f]{64}\.json$/.test(name) ? await readRecord(path, isPlugRecord) : undefined;
      if (record !== undefined) opened.#records.set(record.sandbox, record);
      else rmSync(path, { force: true });
    }
    return opened;
  }

  /** Whether links of new sandboxes are made by plugins. */
  get isActive(): boolean {
    return this.#room.isActive;
  }

  has(sandbox: string): boolean {
    return this.#records.has(sandbox);
  }

  /** Leaves nothing where it fails, but what DEL could not take back, which is tried again. */
  async add(request: PlugRequest): Promise<Plugged> {
    const { configDirectory, binDirectories } = this.#room;
    const network = readNetworkConfig(configDirectory);
    const record: PlugRecord = { ...request, network, binDirectories };
    await this.#keep(record);
    try {
      raiseLoopback(request.namespacePath);
      let previous: CniResult | undefined;
      for (const plugin of network.plugins)
        previous = await callPlugin({ command: 'ADD', plugin, ...callOf(record, previous) });
      const result = previous ?? {};
      const plugged = pluggedOf(result, network.name);
      await this.#keep({ ...record, result });
      return plugged;
    } catch (error) {
      await this.del(request.sandbox).catch((failure: unknown) => this.#tell(request.sandbox, failure));
      throw error;
    }
  }

  /** The last plugin first. Idempotent. */
  async del(sandbox: string): Promise<void> {
    const record = this.#records.get(sandbox);
    if (record === undefined) return;
    for (const plugin of record.network.plugins.toReversed())
      await callPlugin({ command: 'DEL', plugin, ...callOf(record, record.result) });
    rmSync(this.#file(sandbox), { force: true });
    this.#records.delete(sandbox);
  }

  /** Rejects where the link is not as it was made. */
  async check(sandbox: string): Promise<void> {
    const record = this.#records.get(sandbox);
    if (record?.result === undefined || record.network.disableCheck === true) return;
    // The verb is younger than the oldest version.
    if (['0.3.0', '0.3.1'].includes(record.network.cniVersion)) return;
    for (const plugin of record.network.plugins)
      await callPlugin({ command: 'CHECK', plugin, ...callOf(record, record.result) });
  }

  /** DEL for everything that nobody has any more; what fails is logged, and left for the next time. */
  async collect(keep: ReadonlySet<string>): Promise<void> {
    for (const sandbox of [...this.#records.keys()])
      if (!keep.has(sandbox)) await this.del(sandbox).catch((error: unknown) => this.#tell(sandbox, error));
  }

  #tell(sandbox: string, error: unknown): void {
    this.#room.log('warn', 'a CNI plugin left something behind; it is tried again at the next start', {
      sandbox,
      error: String(error),
    });
  }

  /** Synced: what a plugin gave out is on disk as well, and stays taken after a power failure. */
  async #keep(record: PlugRecord): Promise<void> {
    await writeFileAtomic(this.#file(record.sandbox), JSON.stringify(record), { mode: 0o600 });
    this.#records.set(record.sandbox, record);
  }

  #file(sandbox: string): string {
    return join(this.#room.directory, `${sandbox}.json`);
  }
}

function callOf(
  { result: _ofAll, ...call }: PlugRecord,
  previous: CniResult | undefined,
): Omit<PluginCall, 'command' | 'plugin'> {
  return { ...call, ...(previous !== undefined && { previous }) };
}

/** As an engine is opened; where its network is built in, what plugins of an earlier one made is still taken back by them. */
export async function openCni({ network }: EngineOptions, directory: string, log: CniRoom['log']): Promise<CniNetwork> {
  return await CniNetwork.open({ ...defaultCni, ...network.cni, isActive: network.cni !== undefined, directory, log });
}

/** Which the specification leaves to whoever calls. */
function raiseLoopback(namespacePath: string): void {
  using inside = new Links(namespacePath);
  inside.setUp(1);
}

/** The sandbox's own address of each family. */
function pluggedOf({ ips = [], interfaces = [] }: CniResult, network: string): Plugged {
  // One without an index is the sandbox's own, and so is one inside of it.
  const own = ips.filter(({ interface: index }) => index === undefined || Boolean(interfaces[index]?.sandbox));
  const addresses = own.map(({ address = '' }) => address.split('/')[0] ?? '');
  const ip = addresses.find((address) => isIPv4(address));
  if (ip === undefined)
    throw new EngineError('unavailable', `the CNI network ${network} gave no address of IPv4, which every pod has`);
  const ip6 = addresses.find((address) => address.includes(':'));
  const mac = interfaces.find(({ sandbox, name }) => Boolean(sandbox) && name === 'eth0')?.mac;
  return { ip, ...(ip6 !== undefined && { ip6 }), ...(mac && { mac }) };
}

function isPlugRecord(value: unknown): value is PlugRecord {
  return (
    typeof value === 'object' && value !== null && 'sandbox' in value && 'network' in value && 'namespacePath' in value
  );
}
